#include "tests/scheduler/service/fake_placement.h"

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
    Send({PlacementEvent::Kind::kHostChanged, uuid, host.generation, host.report, {}});
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

Status FakePlacement::Take(Host& host, placement::Claim claim) {
  TRY(placement::CheckClaim(host.report, host.usage, claim));
  placement::AddClaim(claim, host.usage);
  ++host.generation;
  host.claims[claim.consumer] = claim;
  Send({PlacementEvent::Kind::kClaimChanged, host.report.uuid, host.generation, {}, std::move(claim)});
  return OkStatus();
}

Result<CreatedClaim> FakePlacement::CreateClaim(const placement::Claim& claim, uint64_t expected_generation) {
  std::lock_guard lock(mutex_);
  ++create_calls_;
  TRY(failure);
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

Result<HostState> FakePlacement::GetHost(const Uuid& uuid) {
  std::lock_guard lock(mutex_);
  TRY(failure);
  auto host = hosts_.find(uuid);
  if (host == hosts_.end()) return NotFound("no such host");
  HostState state{host->second.report, {}, host->second.generation};
  for (const auto& [consumer, claim] : host->second.claims) state.claims.push_back(claim);
  return state;
}

void FakePlacement::ReportHost(placement::HostReport report) {
  std::lock_guard lock(mutex_);
  Host& host = hosts_[report.uuid];
  ++host.generation;
  host.report = report;
  Uuid uuid = report.uuid;
  Send({PlacementEvent::Kind::kHostChanged, uuid, host.generation, std::move(report), {}});
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
