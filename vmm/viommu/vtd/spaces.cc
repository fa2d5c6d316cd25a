#include "vmm/viommu/vtd/spaces.h"

#include <algorithm>

#include "common/log.h"

namespace berth::vmm::vtd {
namespace {

// Domains of the engine for devices that reach nothing, and for those that pass through; all units share
// them. Others are numbered below by the unit's segment.
constexpr uint32_t kNothing = 0x8000'0000;
constexpr uint32_t kPassThrough = 0x8000'0001;
constexpr uint32_t kDomainBits = 24;

constexpr int kWidenings = 8;
// Of one space: 256 GiB of the smallest pages.
constexpr uint64_t kMaxTables = uint64_t{1} << 17;
constexpr uint64_t kMappingsPerTable = 16;  // that take as long as to read a table
constexpr uint64_t kTold = 16;              // a guest can cause them at will

// Whether `runs`, which are as long as can be, say the same of the whole of `mapping`.
bool Says(const std::vector<IommuMapping>& runs, const IommuMapping& mapping) {
  auto run =
      std::upper_bound(runs.begin(), runs.end(), mapping.first,
                       [](uint64_t address, const IommuMapping& other) { return address < other.first; });
  if (run == runs.begin()) return false;
  --run;
  return run->last >= mapping.last && run->gpa + (mapping.first - run->first) == mapping.gpa &&
         run->read == mapping.read && run->write == mapping.write;
}

// The parts of `runs` that no kept mapping covers. Both sorted.
std::vector<IommuMapping> Without(const std::vector<IommuMapping>& runs,
                                  const std::vector<IommuMapping>& kept) {
  std::vector<IommuMapping> rest;
  auto next = kept.begin();
  for (const IommuMapping& run : runs) {
    uint64_t from = run.first;
    auto add = [&](uint64_t last) {
      rest.push_back({from, last, run.gpa + (from - run.first), run.read, run.write});
    };
    bool open = true;
    for (; next != kept.end() && next->first <= run.last; ++next) {
      if (next->first > from) add(next->first - 1);
      open = next->last < run.last;
      from = next->last + 1;
      if (!open) {
        ++next;
        break;
      }
    }
    if (open) add(run.last);
  }
  return rest;
}

}  // namespace

void Spaces::AddDevice(uint16_t source) {
  Update(source, devices_[source]);
}

void Spaces::RemoveDevice(uint16_t source) {
  auto found = devices_.find(source);
  if (found == devices_.end()) return;
  Leave(source, found->second);
  devices_.erase(found);
}

void Spaces::SetRoot(std::optional<uint64_t> root) {
  root_ = root;
  for (auto& [source, device] : devices_) Update(source, device);
  // A new root ends everything that was known (ESRTPS).
  if (root_) Invalidate({.kind = Invalidation::Kind::kMappings});
}

void Spaces::Invalidate(const Invalidation& what) {
  if (what.kind == Invalidation::Kind::kContext) {
    for (auto& [source, device] : devices_) {
      const bool other = what.scope == Invalidation::Scope::kPart &&
                         ((source ^ what.source) & ~what.source_mask & 0xffff) != 0;
      const bool elsewhere = what.scope == Invalidation::Scope::kDomain &&
                             device.state == Device::State::kSpace && device.guest_domain != what.domain;
      if (!other && !elsewhere) Update(source, device);
    }
    return;
  }
  if (!root_) return;
  std::set<TableKey> named;
  for (const auto& [source, device] : devices_) {
    if (device.state != Device::State::kSpace) continue;
    if (what.scope == Invalidation::Scope::kGlobal || device.guest_domain == what.domain) {
      named.insert(device.table);
    }
  }
  const bool pages = what.scope == Invalidation::Scope::kPart;
  for (const TableKey& key : named) {
    Sync(key, spaces_.at(key), pages ? what.first : 0, pages ? what.last : UINT64_MAX);
  }
}

void Spaces::Update(uint16_t source, Device& device) {
  if (!root_) return Bypass(source, device);
  const ContextResult found = FindContext(memory_, *root_, source, limits_);
  if (found.reason != Reason::kNone) return Block(source, device);
  device.guest_domain = found.context.domain;
  if (found.context.kind == Context::Kind::kPassThrough) return Bypass(source, device);
  Enter(source, device, found.context);
}

void Spaces::Bypass(uint16_t source, Device& device) {
  if (device.state == Device::State::kBypass) return;
  if (Status status = domains_.Attach(kPassThrough, EndpointOf(source), true); !status.ok()) {
    LOG(kError, "iommu_bypass_failed", {{"endpoint", EndpointOf(source)}, {"error", status}});
    return Block(source, device);
  }
  Leave(source, device);
  device.state = Device::State::kBypass;
}

void Spaces::Block(uint16_t source, Device& device) {
  if (device.state == Device::State::kBlocked) return;
  if (Status status = domains_.Attach(kNothing, EndpointOf(source), false); !status.ok()) {
    LOG(kError, "iommu_block_failed", {{"endpoint", EndpointOf(source)}, {"error", status}});
    domains_.Cut(EndpointOf(source));
  }
  Leave(source, device);
  device.state = Device::State::kBlocked;
}

// Only the unit's own books; the engine's domain goes with its last endpoint.
void Spaces::Leave(uint16_t source, Device& device) {
  if (device.state != Device::State::kSpace) return;
  auto space = spaces_.find(device.table);
  space->second.devices.erase(source);
  if (space->second.devices.empty()) spaces_.erase(space);
  device.state = Device::State::kBlocked;
}

void Spaces::Enter(uint16_t source, Device& device, const Context& context) {
  const TableKey key(context.table, context.levels);
  if (device.state == Device::State::kSpace && device.table == key) return;
  auto [space, fresh] = spaces_.try_emplace(key);
  if (fresh) {
    const auto taken = [this](uint32_t number) {
      return std::any_of(spaces_.begin(), spaces_.end(),
                         [number](const auto& other) { return other.second.domain == number; });
    };
    do {
      last_domain_ = (last_domain_ + 1) & ((1u << kDomainBits) - 1);
    } while (taken(segment_ << kDomainBits | last_domain_));
    space->second.domain = segment_ << kDomainBits | last_domain_;
  }
  if (Status status = domains_.Attach(space->second.domain, EndpointOf(source), false); !status.ok()) {
    LOG(kError, "iommu_attach_failed", {{"endpoint", EndpointOf(source)}, {"error", status}});
    if (fresh) spaces_.erase(space);
    return Block(source, device);
  }
  space->second.devices.insert(source);
  Leave(source, device);
  device.state = Device::State::kSpace;
  device.table = key;
  if (fresh) Sync(key, space->second, 0, UINT64_MAX);
}

void Spaces::Sync(const TableKey& key, const Space& space, uint64_t first, uint64_t last) {
  Context context;
  context.table = key.first;
  context.levels = key.second;
  TableReader reader(memory_, limits_);
  std::vector<IommuMapping> runs, mapped;
  // A mapping is compared as a whole, and a page is mapped as a whole: both may reach beyond what was named.
  // A page that has the interrupt range in its midst is mapped on both sides of it.
  if (first <= kInterruptLast && last >= kInterruptFirst) {
    first = std::min(first, kInterruptFirst - 1);
    last = std::max(last, kInterruptLast + 1);
  }
  for (int i = 0; i < kWidenings; ++i) {
    const uint64_t low = first, high = last;
    mapped = domains_.MappingsIn(space.domain, first, last);
    if (!mapped.empty()) {
      first = std::min(first, mapped.front().first);
      last = std::max(last, mapped.back().last);
    }
    reader.budget = kMaxTables;
    const bool whole = reader.Read(context, first, last, runs);
    work_ += kMaxTables - reader.budget + runs.size() / kMappingsPerTable;
    if (!whole) {
      LOG(kWarning, "iommu_tables_too_large", {{"table", key.first}});
      runs.clear();
      break;
    }
    if (!runs.empty()) {
      first = std::min(first, runs.front().first);
      last = std::max(last, runs.back().last);
    }
    if (first == low && last == high) break;
  }
  std::vector<IommuMapping> kept;
  for (const IommuMapping& mapping : domains_.MappingsIn(space.domain, first, last)) {
    if (Says(runs, mapping)) {
      kept.push_back(mapping);
      continue;
    }
    if (Status status = domains_.Unmap(space.domain, mapping.first, mapping.last); !status.ok()) {
      // The engine has cut the devices off.
      LOG(kError, "iommu_unmap_failed", {{"address", mapping.first}, {"error", status}});
    }
  }
  for (const IommuMapping& run : Without(runs, kept)) Map(space.domain, run);
}

void Spaces::Map(uint32_t domain, const IommuMapping& mapping) {
  Status status = domains_.Map(domain, mapping);
  if (status.ok()) return;
  if (status.code() != StatusCode::kOutOfRange) return CountNotMapped(mapping, status);
  // Parts of it are no RAM, or nothing that the host's IOMMU maps.
  const uint64_t end = mapping.gpa + mapping.size();
  uint64_t done = mapping.gpa;
  for (const MemoryRegion& ram : memory_.PresentRuns()) {
    const uint64_t from = std::max(Raw(ram.base), mapping.gpa);
    const uint64_t to = std::min(Raw(ram.base) + ram.size, end);
    if (from >= to) continue;
    const IommuMapping part{mapping.first + (from - mapping.gpa), mapping.first + (to - mapping.gpa) - 1,
                            from, mapping.read, mapping.write};
    if (part == mapping) break;  // tried already
    if (from > done) CountNotMapped({mapping.first + (done - mapping.gpa), part.first - 1, done}, status);
    if (Status mapped = domains_.Map(domain, part); !mapped.ok()) CountNotMapped(part, mapped);
    done = to;
  }
  if (done < end) CountNotMapped({mapping.first + (done - mapping.gpa), mapping.last, done}, status);
}

void Spaces::CountNotMapped(const IommuMapping& mapping, const Status& why) {
  not_mapped_ += mapping.size() >> 12;
  if (told_++ >= kTold) return;
  LOG(kWarning, "iommu_not_mapped",
      {{"address", mapping.first}, {"bytes", mapping.size()}, {"to", mapping.gpa}, {"error", why}});
}

}  // namespace berth::vmm::vtd
