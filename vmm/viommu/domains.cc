#include "vmm/viommu/domains.h"

#include <string>
#include <utility>
#include <vector>

#include "common/log.h"

namespace berth::vmm {
namespace {

constexpr uint64_t kPageMask = 0xfff;
constexpr size_t kSavedMapping = 3 * 8 + 2;

Status NoEndpoint(uint32_t id) {
  return NotFound("no endpoint " + std::to_string(id) + " behind the IOMMU");
}

}  // namespace

Status IommuDomains::AddEndpoint(uint32_t id, std::shared_ptr<IommuEndpoint> endpoint) {
  std::lock_guard lock(mutex_);
  if (members_.contains(id)) return AlreadyExists("endpoint " + std::to_string(id) + " exists already");
  Idle(*endpoint);
  members_[id] = {std::move(endpoint), std::nullopt};
  return OkStatus();
}

void IommuDomains::RemoveEndpoint(uint32_t id) {
  std::lock_guard lock(mutex_);
  auto found = members_.find(id);
  if (found == members_.end()) return;
  Leave(id, found->second);
  members_.erase(found);
}

Result<std::vector<IovaRange>> IommuDomains::Reserved(uint32_t id) const {
  std::lock_guard lock(mutex_);
  auto member = members_.find(id);
  if (member == members_.end()) return NoEndpoint(id);
  return member->second.endpoint->Reserved();
}

Status IommuDomains::Enter(IommuEndpoint& endpoint, const Domain& domain) {
  return domain.bypass ? endpoint.Bypass() : endpoint.Enter(domain.mappings);
}

void IommuDomains::Idle(IommuEndpoint& endpoint) const {
  if (!bypass_) return endpoint.Block();
  if (Status status = endpoint.Bypass(); !status.ok()) {
    LOG(kError, "iommu_bypass_failed", {{"error", status}});
    endpoint.Block();
  }
}

// Forgets that the endpoint is in its domain; the endpoint itself is not told.
void IommuDomains::Leave(uint32_t id, Member& member) {
  if (!member.domain.has_value()) return;
  auto domain = domains_.find(*member.domain);
  domain->second.endpoints.erase(id);
  if (domain->second.endpoints.empty()) domains_.erase(domain);
  member.domain.reset();
}

Status IommuDomains::Attach(uint32_t domain, uint32_t endpoint, bool bypass) {
  std::lock_guard lock(mutex_);
  auto member = members_.find(endpoint);
  if (member == members_.end()) return NoEndpoint(endpoint);
  auto target = domains_.find(domain);
  if (target != domains_.end() && target->second.bypass != bypass) {
    return InvalidArgument("domain " + std::to_string(domain) + " exists and is of the other kind");
  }
  if (member->second.domain == domain) return OkStatus();
  Domain fresh;
  fresh.bypass = bypass;
  TRY(Enter(*member->second.endpoint, target == domains_.end() ? fresh : target->second));
  Leave(endpoint, member->second);
  Domain& joined = domains_.try_emplace(domain, std::move(fresh)).first->second;
  joined.endpoints.insert(endpoint);
  member->second.domain = domain;
  return OkStatus();
}

Status IommuDomains::Detach(uint32_t domain, uint32_t endpoint) {
  std::lock_guard lock(mutex_);
  auto member = members_.find(endpoint);
  if (member == members_.end()) return NoEndpoint(endpoint);
  if (member->second.domain != domain) {
    return InvalidArgument("endpoint " + std::to_string(endpoint) + " is not in domain " +
                           std::to_string(domain));
  }
  Leave(endpoint, member->second);
  Idle(*member->second.endpoint);
  return OkStatus();
}

void IommuDomains::Cut(uint32_t endpoint) {
  std::lock_guard lock(mutex_);
  if (auto member = members_.find(endpoint); member != members_.end()) member->second.endpoint->Block();
}

Status IommuDomains::Map(uint32_t domain, const IommuMapping& mapping) {
  std::lock_guard lock(mutex_);
  auto target = domains_.find(domain);
  if (target == domains_.end()) return NotFound("no domain " + std::to_string(domain));
  if (target->second.bypass) return InvalidArgument("a domain that bypasses the IOMMU has no mappings");
  TRY(target->second.mappings.Map(mapping));
  std::vector<IommuEndpoint*> told;
  for (uint32_t id : target->second.endpoints) {
    IommuEndpoint& endpoint = *members_.at(id).endpoint;
    Status status = endpoint.Map(mapping);
    if (status.ok()) {
      told.push_back(&endpoint);
      continue;
    }
    for (IommuEndpoint* undo : told) {
      if (Status undone = undo->Unmap(mapping); !undone.ok()) {
        LOG(kError, "iommu_mapping_not_undone", {{"error", undone}});
        undo->Block();  // rather nothing than too much
      }
    }
    CHECK(target->second.mappings.Unmap(mapping.first, mapping.last).has_value());
    return status;
  }
  return OkStatus();
}

Status IommuDomains::Unmap(uint32_t domain, uint64_t first, uint64_t last) {
  std::lock_guard lock(mutex_);
  auto target = domains_.find(domain);
  if (target == domains_.end()) return NotFound("no domain " + std::to_string(domain));
  if (target->second.bypass) return InvalidArgument("a domain that bypasses the IOMMU has no mappings");
  TRY_ASSIGN(const std::vector<IommuMapping> removed, target->second.mappings.Unmap(first, last));
  Status failed;
  for (uint32_t id : target->second.endpoints) {
    for (const IommuMapping& mapping : removed) {
      Status status = members_.at(id).endpoint->Unmap(mapping);
      if (failed.ok()) failed = status;
    }
  }
  // The guest may use the memory for something else now: a device that could still reach it must not.
  if (!failed.ok()) {
    LOG(kError, "iommu_unmap_failed", {{"error", failed}});
    for (uint32_t id : target->second.endpoints) members_.at(id).endpoint->Block();
  }
  return failed;
}

std::vector<IommuMapping> IommuDomains::MappingsIn(uint32_t domain, uint64_t first, uint64_t last) const {
  std::lock_guard lock(mutex_);
  auto found = domains_.find(domain);
  return found == domains_.end() ? std::vector<IommuMapping>() : found->second.mappings.In(first, last);
}

void IommuDomains::SetBypass(bool bypass) {
  std::lock_guard lock(mutex_);
  if (std::exchange(bypass_, bypass) == bypass) return;
  for (auto& [id, member] : members_) {
    if (!member.domain.has_value()) Idle(*member.endpoint);
  }
}

bool IommuDomains::bypass() const {
  std::lock_guard lock(mutex_);
  return bypass_;
}

void IommuDomains::Reset(bool bypass) {
  std::lock_guard lock(mutex_);
  domains_.clear();
  bypass_ = bypass;
  for (auto& [id, member] : members_) {
    member.domain.reset();
    Idle(*member.endpoint);
  }
}

Result<IommuDomains::Translation> IommuDomains::Translate(uint32_t endpoint, uint64_t address,
                                                          bool write) const {
  std::lock_guard lock(mutex_);
  auto member = members_.find(endpoint);
  if (member == members_.end()) return NoEndpoint(endpoint);
  const Translation same{address, UINT64_MAX - address};
  if (!member->second.domain.has_value()) {
    if (bypass_) return same;
    return FailedPrecondition("the endpoint is in no domain");
  }
  const Domain& domain = domains_.at(*member->second.domain);
  if (domain.bypass) return same;
  const IommuMapping* mapping = domain.mappings.Find(address);
  if (mapping == nullptr) return NotFound("the address is not mapped");
  if (write ? !mapping->write : !mapping->read) {
    return Status(StatusCode::kPermissionDenied, "the mapping does not allow this access");
  }
  return Translation{mapping->gpa + (address - mapping->first), mapping->last - address + 1};
}

// ---- Snapshots

void IommuDomains::Save(StateWriter& out) const {
  std::lock_guard lock(mutex_);
  out.Put(bypass_);
  out.Put(static_cast<uint32_t>(domains_.size()));
  for (const auto& [id, domain] : domains_) {
    out.Put(id);
    out.Put(domain.bypass);
    out.Put(static_cast<uint32_t>(domain.mappings.count()));
    for (const IommuMapping& mapping : domain.mappings.all()) {
      for (uint64_t value : {mapping.first, mapping.last, mapping.gpa}) out.Put(value);
      out.Put(mapping.read);
      out.Put(mapping.write);
    }
    out.Put(static_cast<uint32_t>(domain.endpoints.size()));
    for (uint32_t endpoint : domain.endpoints) out.Put(endpoint);
  }
}

void IommuDomains::Load(StateReader& in) {
  std::lock_guard lock(mutex_);
  CHECK(domains_.empty());
  bypass_ = in.Get<bool>();
  // A domain has an endpoint.
  const uint32_t count = in.GetCount(static_cast<uint32_t>(members_.size()), 4 + 1 + 4 + 4 + 4);
  for (uint32_t i = 0; in.ok() && i < count; ++i) LoadDomain(in);
  if (!in.ok()) {
    domains_.clear();
    bypass_ = true;
  }
  for (auto& [id, member] : members_) {
    if (!in.ok()) member.domain.reset();
    if (!member.domain.has_value()) Idle(*member.endpoint);
  }
}

void IommuDomains::LoadDomain(StateReader& in) {
  const auto id = in.Get<uint32_t>();
  Domain domain;
  domain.bypass = in.Get<bool>();
  const uint32_t mappings = in.GetCount(IommuMappings::kMax, kSavedMapping);
  if (domain.bypass && mappings != 0)
    in.Fail(InvalidArgument("a domain that bypasses the IOMMU has mappings"));
  for (uint32_t i = 0; in.ok() && i < mappings; ++i) {
    IommuMapping mapping;
    for (uint64_t* value : {&mapping.first, &mapping.last, &mapping.gpa}) in.Get(*value);
    in.Get(mapping.read);
    in.Get(mapping.write);
    if (!in.ok()) return;
    // Whoever walks through pages of it relies on that.
    const bool whole = ((mapping.first | mapping.gpa | (mapping.last + 1)) & kPageMask) == 0;
    if (!whole || mapping.last < mapping.first || mapping.gpa > UINT64_MAX - (mapping.last - mapping.first)) {
      return in.Fail(InvalidArgument("a mapping of the IOMMU that is none of whole pages"));
    }
    if (Status status = domain.mappings.Map(mapping); !status.ok()) return in.Fail(std::move(status));
  }
  const uint32_t endpoints = in.GetCount(static_cast<uint32_t>(members_.size()), 4);
  if (in.ok() && (endpoints == 0 || (!domains_.empty() && id <= domains_.rbegin()->first))) {
    in.Fail(InvalidArgument("domain " + std::to_string(id) + " of the IOMMU is empty or out of order"));
  }
  for (uint32_t i = 0; in.ok() && i < endpoints; ++i) {
    const auto endpoint = in.Get<uint32_t>();
    const auto member = members_.find(endpoint);
    if (member == members_.end()) {
      in.Fail(NoEndpoint(endpoint));
    } else if (member->second.domain.has_value()) {
      in.Fail(InvalidArgument("endpoint " + std::to_string(endpoint) + " is in two domains of the IOMMU"));
    } else if (Status status = Enter(*member->second.endpoint, domain); !status.ok()) {
      in.Fail(std::move(status));
    } else {
      member->second.domain = id;
      domain.endpoints.insert(endpoint);
    }
  }
  if (in.ok()) domains_.emplace(id, std::move(domain));
}

size_t IommuDomains::domains() const {
  std::lock_guard lock(mutex_);
  return domains_.size();
}

}  // namespace berth::vmm
