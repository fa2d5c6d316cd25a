#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/metrics.h"
#include "common/status.h"
#include "scheduler/request/catalogue.h"
#include "scheduler/service/decide.h"
#include "scheduler/service/fleet.h"
#include "scheduler/service/placement_client.h"

namespace berth::scheduler {

// What a cloud controller asks for.
struct InstanceRequest {
  Uuid uuid;  // nil: the scheduler chooses one
  std::string name;
  std::string flavor;
  Properties image_properties;
  std::vector<PortRequest> ports;
  placement::InstanceSpec boot;  // kernel, initramfs, cmdline, disks and nets
  std::string host;              // only this one (name or UUID); empty: any
  bool dry_run = false;
};

struct InstanceAnswer {
  Status status;
  std::optional<placement::Claim> claim;  // made, or with dry_run the one that would be
  std::string host_name;
  Decision decision;  // reasons: with dry_run, and when nothing fits
};

// Finds a host and an exact place on it, and claims it in placement before it answers. It keeps a mirror of
// the fleet. Create and Delete block and must be called from one thread at a time; the rest is thread-safe
// and never waits for them.
class Scheduler {
 public:
  using Clock = std::function<uint64_t()>;  // milliseconds since 1970

  // `client` and `metrics` must outlive the scheduler. Begins to watch placement.
  Scheduler(std::shared_ptr<const Catalogue> catalogue, PlacementClient& client, MetricsRegistry& metrics,
            Clock clock);
  // Stops watching.
  ~Scheduler();
  Scheduler(const Scheduler&) = delete;
  Scheduler& operator=(const Scheduler&) = delete;

  // kResourceExhausted: no host fits, the reasons are in the decision. kInvalidArgument: the request.
  // kUnavailable: placement is not reachable, or the fleet not known yet. kAlreadyExists: the name is taken,
  // or the UUID by another instance. The same UUID with the same name and flavor answers as the first time.
  InstanceAnswer Create(const InstanceRequest& request);
  Result<placement::Claim> Delete(const std::string& instance);

  Result<Mirror::FoundClaim> Find(const std::string& instance) const;
  std::vector<Mirror::FoundClaim> List() const;  // ascending by name
  const Catalogue& catalogue() const { return *catalogue_; }
  bool ready() const { return mirror_.synced(); }
  const Mirror& mirror() const { return mirror_; }

 private:
  InstanceAnswer Answer(const InstanceRequest& request);
  Status CheckRequest(const InstanceRequest& request) const;
  // The instance of this UUID if there is one already.
  std::optional<InstanceAnswer> AnswerAgain(const InstanceRequest& request) const;
  InstanceAnswer AnswerKnown(const InstanceRequest& request, const placement::Claim& claim,
                             const std::string& host_name) const;
  InstanceAnswer DecideAndClaim(const InstanceRequest& request, const RequestSpec& spec);
  placement::Claim MakeClaim(const InstanceRequest& request, const Uuid& consumer, const RequestSpec& spec,
                             const Choice& choice) const;
  // After a refused claim: fetches what placement says about the host now. kOk: decide again.
  Status Refresh(const Choice& choice, const Status& refusal);

  std::shared_ptr<const Catalogue> catalogue_;  // shared with whoever loaded it
  PlacementClient& client_;
  Clock clock_;
  Counter& creates_;
  Counter& no_fits_;
  Counter& retries_;
  Counter& undecided_;
  CandidateCache candidates_;
  Mirror mirror_;
};

}  // namespace berth::scheduler
