#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "common/status.h"
#include "common/uuid.h"
#include "placement/model/claim.h"
#include "placement/model/host.h"

namespace berth::scheduler {

// One change of the fleet, as placement tells it.
struct PlacementEvent {
  enum class Kind {
    kReset,  // a whole new picture begins; it is complete at the next kSynced
    kHostChanged,
    kHostDeleted,
    kClaimChanged,
    kClaimDeleted,
    kSynced,
  };
  Kind kind = Kind::kReset;
  Uuid host;
  uint64_t generation = 0;                      // the host's, after this event
  std::optional<placement::HostReport> report;  // of kHostChanged
  std::optional<placement::Claim> claim;        // of kClaimChanged; of kClaimDeleted: consumer and name
  // Of kHostChanged: what the Placement model says of the host. Traits of its root and its cells.
  std::vector<std::string> traits = {};
  std::vector<Uuid> aggregates = {};
};

// A host as placement holds it at one generation.
struct HostState {
  placement::HostReport report;
  std::vector<placement::Claim> claims;
  uint64_t generation = 0;
  std::vector<std::string> traits = {};
  std::vector<Uuid> aggregates = {};
};

struct CreatedClaim {
  placement::Claim claim;
  uint64_t generation = 0;  // the host's, after the claim
};

// A claim that is asked for, and the generation of its host that it was decided on, own claims before it in
// the same call counted.
struct AskedClaim {
  placement::Claim claim;
  uint64_t expected_generation = 0;
};
struct ClaimResult {
  Status status;
  uint64_t generation = 0;     // the host's, after the claim
  uint64_t created_at_ms = 0;  // as stored
};

// What the scheduler needs of placement. Calls block until answered and are thread-safe.
class PlacementClient {
 public:
  virtual ~PlacementClient() = default;

  // Calls `sink` for every event, in order, from one thread of the client's own: kReset, the present state,
  // kSynced, then changes as they come. A lost connection is resumed where it broke, or begun anew with
  // kReset.
  virtual void StartWatch(std::function<void(PlacementEvent)> sink) = 0;
  // After the return `sink` is not called any more. Idempotent.
  virtual void StopWatch() = 0;

  // All or nothing, durable when it returns. kAborted: the host's generation is another one; kAlreadyExists:
  // consumer or name is known with another content.
  virtual Result<CreatedClaim> CreateClaim(const placement::Claim& claim, uint64_t expected_generation) = 0;
  // Several, in order, durable when it returns. `all_or_nothing`: one record; the first refusal is the
  // function's error, its field "claims[N]...". Otherwise each has its own result.
  virtual Result<std::vector<ClaimResult>> CreateClaims(const std::vector<AskedClaim>& claims,
                                                        bool all_or_nothing) = 0;
  // Whether schedulers may choose the host (name or UUID). kNotFound.
  virtual Status SetHostStatus(const std::string& host, bool enabled, const std::string& reason) = 0;
  // All members of a server group.
  virtual Result<std::vector<placement::Claim>> ListGroup(const std::string& group) = 0;
  // By consumer UUID or name; kNotFound.
  virtual Result<placement::Claim> GetClaim(const std::string& instance) = 0;
  virtual Result<placement::Claim> ReleaseClaim(const std::string& instance) = 0;
  // Adds a device to an active claim, or asks one back. kAborted: the host's generation is another one.
  enum class DeviceChange { kAdd, kLeave };
  virtual Result<placement::Claim> ChangeDevice(const Uuid& consumer, DeviceChange change,
                                                const placement::DeviceBinding& device,
                                                std::optional<uint64_t> expected_generation) = 0;
  // Exchanges what the instance's claim and the claim reserved for it hold, unless `swapped` is so already.
  // The instance's claim.
  virtual Result<placement::Claim> SwapClaims(const Uuid& consumer, const Uuid& reservation,
                                              bool swapped) = 0;
  virtual Result<HostState> GetHost(const Uuid& host) = 0;
};

}  // namespace berth::scheduler
