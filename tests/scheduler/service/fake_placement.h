#pragma once

#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "placement/model/usage.h"
#include "scheduler/service/placement_client.h"

namespace berth::scheduler {

// Placement in memory: refuses every claim that CheckClaim refuses. Events are delivered at once, by the
// caller's thread, unless they are held back. Thread-safe.
class FakePlacement final : public PlacementClient {
 public:
  void StartWatch(std::function<void(PlacementEvent)> sink) override;
  void StopWatch() override;
  Result<CreatedClaim> CreateClaim(const placement::Claim& claim, uint64_t expected_generation) override;
  Result<std::vector<ClaimResult>> CreateClaims(const std::vector<AskedClaim>& claims,
                                                bool all_or_nothing) override;
  Status SetHostStatus(const std::string& host, bool enabled, const std::string& reason) override;
  Result<std::vector<placement::Claim>> ListGroup(const std::string& group) override;
  Result<placement::Claim> GetClaim(const std::string& instance) override;
  Result<placement::Claim> ReleaseClaim(const std::string& instance) override;
  Result<placement::Claim> ChangeDevice(const Uuid& consumer, DeviceChange change,
                                        const placement::DeviceBinding& device,
                                        std::optional<uint64_t> expected_generation) override;
  Result<placement::Claim> SwapClaims(const Uuid& consumer, const Uuid& reservation, bool swapped) override;
  Result<HostState> GetHost(const Uuid& host) override;

  void ReportHost(placement::HostReport report);
  void DeleteHost(const Uuid& host);
  // A claim by somebody else, checked like any other.
  Status ClaimByOther(placement::Claim claim);
  // Frees a claim, as an agent's confirmation does.
  void Finalize(const Uuid& consumer);
  // What an agent says of its instance.
  void ReportStatus(const Uuid& consumer, placement::InstanceState state);
  // While true, events wait; false delivers them.
  void HoldEvents(bool hold);
  // A lost connection: the whole picture is sent again.
  void SendSnapshot();
  // Called before each CreateClaim is looked at.
  std::function<void(const placement::Claim&)> before_claim;
  // When not OK, every call fails with it.
  Status failure;

  std::vector<placement::Claim> Claims() const;
  uint32_t create_calls() const { return create_calls_; }
  // What the Placement model says of a host; told with its next report, or by SetHostStatus.
  void SetFacts(const Uuid& host, std::vector<std::string> traits, std::vector<Uuid> aggregates = {});
  // The agent's word about an instance.
  void ReportStatus(const Uuid& consumer, placement::InstanceStatus status);
  // Do not answer the watch at all until SendSnapshot.
  bool silent = false;

 private:
  struct Host {
    placement::HostReport report;
    placement::HostUsage usage;
    std::map<Uuid, placement::Claim> claims;
    uint64_t generation = 1;
    std::vector<std::string> traits;
    std::vector<Uuid> aggregates;
  };

  Status Take(Host& host, placement::Claim claim);
  Status Check(const placement::Claim& claim, const Host& host) const;
  Result<CreatedClaim> Create(const placement::Claim& claim, uint64_t expected_generation);
  void TellHost(const Host& host);
  placement::Claim* Find(const std::string& instance, Host** host);
  void Send(PlacementEvent event);
  void SendAll();

  mutable std::recursive_mutex mutex_;  // hooks call back in
  std::map<Uuid, Host> hosts_;
  std::function<void(PlacementEvent)> sink_;
  std::vector<PlacementEvent> held_;
  bool hold_ = false;
  uint32_t create_calls_ = 0;
};

// A host with `cells` cells: each has 2 shared CPUs, `dedicated` dedicated ones, 8 GiB of base pages and 1024
// pages of 2 MiB; socket = cell / 2.
placement::HostReport MakeHost(const std::string& name, uint32_t cells, uint32_t dedicated);
// Adds a PF (not assignable) with VFs (assignable) on a node, at 0000:<bus>:00.0 and following.
void AddVfs(placement::HostReport& host, uint8_t bus, uint32_t count, placement::NumaNode node);

}  // namespace berth::scheduler
