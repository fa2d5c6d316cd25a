#include "tests/scheduler/service/fake_placement.h"

#include <algorithm>
#include <utility>

namespace berth::scheduler {

void FakePlacement::StartWatch(std::function<void(PlacementEvent)> sink) {
  std::lock_guard lock(mutex_);
  sink_ = std::move(sink);
  if (!silent) SendAll();
}

void FakePlacement::StopWatch() {
  std::lock_guard lock(mutex_);
  sink_ = nullptr;
}

void FakePlacement::Send(PlacementEvent event) {
  if (hold_) {
    held_.push_back(std::move(event));
  } else if (sink_) {
    sink_(std::move(event));
  }
}

void FakePlacement::SendAll() {
  Send({PlacementEvent::Kind::kReset, {}, 0, {}, {}});
  for (const auto& [uuid, host] : hosts_) {
    TellHost(host);
    for (const auto& [consumer, claim] : host.claims) {
      Send({PlacementEvent::Kind::kClaimChanged, uuid, host.generation, {}, claim});
    }
  }
  Send({PlacementEvent::Kind::kSynced, {}, 0, {}, {}});
}

void FakePlacement::SendSnapshot() {
  std::lock_guard lock(mutex_);
  SendAll();
}

void FakePlacement::HoldEvents(bool hold) {
  std::lock_guard lock(mutex_);
  hold_ = hold;
  if (hold) return;
  for (PlacementEvent& event : std::exchange(held_, {})) Send(std::move(event));
}

placement::Claim* FakePlacement::Find(const std::string& instance, Host** owner) {
  for (auto& [uuid, host] : hosts_) {
    for (auto& [consumer, claim] : host.claims) {
      if (claim.name != instance && consumer.ToString() != instance) continue;
      *owner = &host;
      return &claim;
    }
  }
  return nullptr;
}

void FakePlacement::TellHost(const Host& host) {
  Send({PlacementEvent::Kind::kHostChanged,
        host.report.uuid,
        host.generation,
        host.report,
        {},
        host.traits,
        host.aggregates});
}

// The promises of groups, as placement/engine/group_book.h keeps them.
Status FakePlacement::Check(const placement::Claim& claim, const Host& host) const {
  if (!claim.group) return OkStatus();
  uint32_t here = 0;
  uint32_t elsewhere = 0;
  for (const auto& [uuid, other] : hosts_) {
    for (const auto& [consumer, member] : other.claims) {
      if (!member.group || member.group->name != claim.group->name) continue;
      if (*member.group != *claim.group) return InvalidArgument("the group has another policy", "group");
      ++(&other == &host ? here : elsewhere);
    }
  }
  using enum placement::ServerGroupPolicy;
  bool apart = claim.group->policy == kAntiAffinity && here >= claim.group->max_per_host;
  bool together = claim.group->policy == kAffinity && elsewhere > 0;
  if (apart || together) return Status(StatusCode::kAborted, "the group does not allow the host", "group");
  return OkStatus();
}

Status FakePlacement::Take(Host& host, placement::Claim claim) {
  TRY(Check(claim, host));
  TRY(placement::CheckClaim(host.report, host.usage, claim));
  placement::AddClaim(claim, host.usage);
  ++host.generation;
  host.claims[claim.consumer] = claim;
  Send({PlacementEvent::Kind::kClaimChanged, host.report.uuid, host.generation, {}, std::move(claim)});
  return OkStatus();
}

Result<CreatedClaim> FakePlacement::Create(const placement::Claim& claim, uint64_t expected_generation) {
  if (before_claim) before_claim(claim);
  Host* owner = nullptr;
  if (Find(claim.name, &owner) != nullptr || Find(claim.consumer.ToString(), &owner) != nullptr) {
    return AlreadyExists("consumer or name is known");
  }
  auto host = hosts_.find(claim.host);
  if (host == hosts_.end()) return NotFound("no such host");
  if (host->second.generation != expected_generation) return Aborted("the host has another generation");
  TRY(Take(host->second, claim));
  return CreatedClaim{claim, host->second.generation};
}

Result<CreatedClaim> FakePlacement::CreateClaim(const placement::Claim& claim, uint64_t expected_generation) {
  std::lock_guard lock(mutex_);
  ++create_calls_;
  TRY(failure);
  return Create(claim, expected_generation);
}

Result<std::vector<ClaimResult>> FakePlacement::CreateClaims(const std::vector<AskedClaim>& claims,
                                                             bool all_or_nothing) {
  std::lock_guard lock(mutex_);
  ++create_calls_;
  TRY(failure);
  std::map<Uuid, Host> before;
  if (all_or_nothing) before = hosts_;
  bool held = std::exchange(hold_, true);
  size_t events = held_.size();
  std::vector<ClaimResult> results;
  Status refused;
  for (size_t i = 0; i < claims.size() && refused.ok(); ++i) {
    auto made = Create(claims[i].claim, claims[i].expected_generation);
    ClaimResult result{made.status(), made.has_value() ? made->generation : 0, 1};
    results.push_back(result);
    if (!made.has_value() && all_or_nothing)
      refused = Status(made.error()).WithField("claims[" + std::to_string(i) + "]." + made.error().field());
  }
  hold_ = held;
  if (!refused.ok()) {
    hosts_ = std::move(before);
    held_.resize(events);
  }
  if (!hold_) {
    for (PlacementEvent& event : std::exchange(held_, {})) Send(std::move(event));
  }
  if (!refused.ok()) return refused;
  return results;
}

Status FakePlacement::SetHostStatus(const std::string& name, bool enabled, const std::string& /*reason*/) {
  std::lock_guard lock(mutex_);
  TRY(failure);
  for (auto& [uuid, host] : hosts_) {
    if (host.report.name != name && uuid.ToString() != name) continue;
    std::erase(host.traits, "COMPUTE_STATUS_DISABLED");
    if (!enabled) host.traits.emplace_back("COMPUTE_STATUS_DISABLED");
    ++host.generation;
    TellHost(host);
    return OkStatus();
  }
  return NotFound("no such host", "host");
}

Result<std::vector<placement::Claim>> FakePlacement::ListGroup(const std::string& group) {
  std::lock_guard lock(mutex_);
  TRY(failure);
  std::vector<placement::Claim> out;
  for (const auto& [uuid, host] : hosts_) {
    for (const auto& [consumer, claim] : host.claims) {
      if (claim.group && claim.group->name == group) out.push_back(claim);
    }
  }
  return out;
}

void FakePlacement::SetFacts(const Uuid& uuid, std::vector<std::string> traits,
                             std::vector<Uuid> aggregates) {
  std::lock_guard lock(mutex_);
  Host& host = hosts_.at(uuid);
  host.traits = std::move(traits);
  host.aggregates = std::move(aggregates);
  ++host.generation;
  TellHost(host);
}

void FakePlacement::ReportStatus(const Uuid& consumer, placement::InstanceStatus status) {
  std::lock_guard lock(mutex_);
  Host* owner = nullptr;
  placement::Claim* claim = Find(consumer.ToString(), &owner);
  if (claim == nullptr) return;
  claim->status = std::move(status);
  Send({PlacementEvent::Kind::kClaimChanged, owner->report.uuid, owner->generation, {}, *claim});
}

Status FakePlacement::ClaimByOther(placement::Claim claim) {
  std::lock_guard lock(mutex_);
  return Take(hosts_.at(claim.host), std::move(claim));
}

Result<placement::Claim> FakePlacement::GetClaim(const std::string& instance) {
  std::lock_guard lock(mutex_);
  TRY(failure);
  Host* owner = nullptr;
  const placement::Claim* claim = Find(instance, &owner);
  if (claim == nullptr) return NotFound("no such claim");
  return *claim;
}

Result<placement::Claim> FakePlacement::ReleaseClaim(const std::string& instance) {
  std::lock_guard lock(mutex_);
  TRY(failure);
  Host* owner = nullptr;
  placement::Claim* claim = Find(instance, &owner);
  if (claim == nullptr) return NotFound("no such claim");
  claim->phase = placement::ClaimPhase::kReleasing;
  ++owner->generation;
  Send({PlacementEvent::Kind::kClaimChanged, owner->report.uuid, owner->generation, {}, *claim});
  return *claim;
}

void FakePlacement::Finalize(const Uuid& consumer) {
  std::lock_guard lock(mutex_);
  Host* owner = nullptr;
  placement::Claim* found = Find(consumer.ToString(), &owner);
  if (found == nullptr) return;
  placement::Claim claim = *found;
  placement::RemoveClaim(claim, owner->usage);
  owner->claims.erase(consumer);
  ++owner->generation;
  Send({PlacementEvent::Kind::kClaimDeleted, owner->report.uuid, owner->generation, {}, std::move(claim)});
}

Result<placement::Claim> FakePlacement::ChangeDevice(const Uuid& consumer, DeviceChange change,
                                                     const placement::DeviceBinding& device,
                                                     std::optional<uint64_t> expected_generation) {
  std::lock_guard lock(mutex_);
  TRY(failure);
  Host* owner = nullptr;
  placement::Claim* claim = Find(consumer.ToString(), &owner);
  if (claim == nullptr) return NotFound("no such claim");
  if (expected_generation && *expected_generation != owner->generation) return Aborted("another generation");
  placement::Claim next = *claim;
  if (change == DeviceChange::kAdd) {
    next.devices.push_back(device);
  } else {
    auto held = std::find_if(next.devices.begin(), next.devices.end(),
                             [&](const auto& one) { return one.address == device.address; });
    if (held == next.devices.end()) {
      return NotFound(
          "device " + device.address.ToString() + " of instance \"" + claim->name + "\" is not held",
          "device.address");
    }
    held->leaving = true;
  }
  placement::HostUsage without = owner->usage;
  placement::RemoveClaim(*claim, without);
  TRY(placement::CheckClaim(owner->report, without, next));
  placement::AddClaim(next, without);
  owner->usage = without;
  *claim = next;
  ++owner->generation;
  Send({PlacementEvent::Kind::kClaimChanged, owner->report.uuid, owner->generation, {}, next});
  return next;
}

// In the engine's order of events.
Result<placement::Claim> FakePlacement::SwapClaims(const Uuid& consumer, const Uuid& reservation,
                                                   bool swapped) {
  std::lock_guard lock(mutex_);
  TRY(failure);
  Host* one = nullptr;
  Host* other = nullptr;
  placement::Claim* claim = Find(consumer.ToString(), &one);
  placement::Claim* reserved = Find(reservation.ToString(), &other);
  if (claim == nullptr || reserved == nullptr) return NotFound("no such claim");
  if (reserved->reserved_for != consumer) return FailedPrecondition("not reserved for it");
  if (reserved->swapped == swapped) return *claim;
  const placement::Claim before = *claim;
  const placement::Claim before_reserved = *reserved;
  placement::Claim moved = before;
  placement::Claim left = before_reserved;
  for (auto [to, from] : {std::pair{&moved, &before_reserved}, std::pair{&left, &before}}) {
    to->host = from->host;
    to->cells = from->cells;
    to->devices = from->devices;
    to->spec = from->spec;
  }
  moved.status = {};
  moved.stays_stopped = before_reserved.stays_stopped;
  left.swapped = swapped;
  placement::RemoveClaim(before, one->usage);
  placement::RemoveClaim(before_reserved, other->usage);
  one->claims.erase(consumer);
  other->claims.erase(reservation);
  placement::AddClaim(left, one->usage);
  placement::AddClaim(moved, other->usage);
  one->claims[reservation] = left;
  other->claims[consumer] = moved;
  Send({PlacementEvent::Kind::kClaimChanged, one->report.uuid, ++one->generation, {}, left});
  Send({PlacementEvent::Kind::kClaimChanged, other->report.uuid, ++other->generation, {}, moved});
  if (one != other) {
    Send({PlacementEvent::Kind::kClaimDeleted, one->report.uuid, ++one->generation, {}, before});
    Send({PlacementEvent::Kind::kClaimDeleted, other->report.uuid, ++other->generation, {}, before_reserved});
  }
  return moved;
}

void FakePlacement::ReportStatus(const Uuid& consumer, placement::InstanceState state) {
  std::lock_guard lock(mutex_);
  Host* owner = nullptr;
  placement::Claim* claim = Find(consumer.ToString(), &owner);
  if (claim == nullptr) return;
  claim->status = {state, "", 1};
  Send({PlacementEvent::Kind::kClaimChanged, owner->report.uuid, owner->generation, {}, *claim});
}

Result<HostState> FakePlacement::GetHost(const Uuid& uuid) {
  std::lock_guard lock(mutex_);
  TRY(failure);
  auto host = hosts_.find(uuid);
  if (host == hosts_.end()) return NotFound("no such host");
  HostState state{
      host->second.report, {}, host->second.generation, host->second.traits, host->second.aggregates};
  for (const auto& [consumer, claim] : host->second.claims) state.claims.push_back(claim);
  return state;
}

void FakePlacement::ReportHost(placement::HostReport report) {
  std::lock_guard lock(mutex_);
  Host& host = hosts_[report.uuid];
  ++host.generation;
  host.report = std::move(report);
  TellHost(host);
}

void FakePlacement::DeleteHost(const Uuid& host) {
  std::lock_guard lock(mutex_);
  hosts_.erase(host);
  Send({PlacementEvent::Kind::kHostDeleted, host, 0, {}, {}});
}

std::vector<placement::Claim> FakePlacement::Claims() const {
  std::lock_guard lock(mutex_);
  std::vector<placement::Claim> out;
  for (const auto& [uuid, host] : hosts_) {
    for (const auto& [consumer, claim] : host.claims) out.push_back(claim);
  }
  return out;
}

placement::HostReport MakeHost(const std::string& name, uint32_t cells, uint32_t dedicated) {
  placement::HostReport host;
  host.uuid = Uuid::FromName(Uuid{}, name);
  host.name = name;
  host.agent_endpoint = name + ":7703";
  host.can_run_guests = true;
  uint32_t cpu = 0;
  for (uint32_t i = 0; i < cells; ++i) {
    placement::Cell cell;
    cell.id = i;
    cell.socket = i / 2;
    cell.shared_cpus = CpuSet::Range(cpu, cpu + 1);
    if (dedicated > 0) cell.dedicated_cpus = CpuSet::Range(cpu + 2, cpu + 1 + dedicated);
    for (uint32_t end = cpu + 2 + dedicated; cpu < end; ++cpu) cell.siblings.push_back(CpuSet{cpu});
    cell.memory_bytes = uint64_t{8} << 30;
    cell.pages = {{4096, uint64_t{8} << 18, 0}, {uint64_t{2} << 20, 1024, 0}};
    host.cells.push_back(std::move(cell));
  }
  return host;
}

void AddVfs(placement::HostReport& host, uint8_t bus, uint32_t count, placement::NumaNode node) {
  placement::Device pf;
  pf.address = {0, bus, 0, 0};
  pf.vendor_id = "8086";
  pf.product_id = "1572";
  pf.type = placement::DeviceType::kPf;
  pf.numa_node = node;
  pf.remote_managed = false;
  pf.resource_class = "CUSTOM_PCI_8086_1572";
  host.devices.push_back(pf);
  for (uint32_t i = 0; i < count; ++i) {
    placement::Device vf = pf;
    vf.address = {0, bus, static_cast<uint8_t>(2 + i / 8), static_cast<uint8_t>(i % 8)};
    vf.product_id = "154c";
    vf.type = placement::DeviceType::kVf;
    vf.parent = pf.address;
    vf.assignable = true;
    vf.resource_class = "CUSTOM_PCI_8086_154C";
    host.devices.push_back(vf);
  }
}

}  // namespace berth::scheduler
