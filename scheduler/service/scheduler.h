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
#include "scheduler/service/agent_control.h"
#include "scheduler/service/decide.h"
#include "scheduler/service/fleet.h"
#include "scheduler/service/host_limits.h"
#include "scheduler/service/host_policy.h"
#include "scheduler/service/instance_feed.h"
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
  // Server group that it is to be a member of. `policy_given`: false: as the group that is there says.
  std::optional<placement::ServerGroup> group = {};
  bool group_policy_given = true;
  // Names or UUIDs of instances: on none of their hosts; on the host of one of them.
  std::vector<std::string> different_host = {};
  std::vector<std::string> same_host = {};
  std::string availability_zone = {};
  std::string project = {};
};

struct InstanceAnswer {
  Status status;
  std::optional<placement::Claim> claim;  // made, or with dry_run the one that would be
  std::string host_name;
  Decision decision;                         // reasons: with dry_run, and when nothing fits
  std::vector<std::string> alternates = {};  // hosts that come next, best first, if asked for
};

// Several instances at once.
struct BatchRequest {
  std::vector<InstanceRequest> instances;
  // All of them in one durable record, or none.
  bool all_or_nothing = false;
  // Only find places: nothing is claimed. Each place counts with those before it.
  bool dry_run = false;
  uint32_t alternates = 0;  // with dry_run: further hosts to name for each
};
struct BatchAnswer {
  // Of the whole: with all_or_nothing the first refusal, and then no answer has a claim.
  Status status;
  size_t refused = 0;                   // with all_or_nothing: the instance that had no place
  std::vector<InstanceAnswer> answers;  // in the order of the request
};

// Where an instance, or what it is, is to be changed while it exists.
struct MoveRequest {
  std::string instance;  // UUID or name
  std::string flavor;    // empty: the present one
  Properties image_properties;
  std::vector<PortRequest> ports;
  std::string host;       // only this one (name or UUID); empty: any other, or with another flavor any
  bool evacuate = false;  // its host is down for good
  bool dry_run = false;   // changes nothing and asks no agent
  std::string availability_zone = {};  // as at its creation: neither is kept with the instance
  std::string project = {};
};
enum class MovePhase {
  kNone,      // it does not move
  kStopping,  // both places are held, the guest is being shut down
  kStarting,  // it is at its new place, and is being started
  kDecide,    // it runs (or failed) at its new place: confirm or revert
  kEnding,    // being put back, or its old place being given up
};
struct MoveAnswer {
  MovePhase phase = MovePhase::kNone;
  placement::Claim claim;  // the instance's, as it is now; of a dry run as it would be
  std::string host_name;   // where it is, or will be
};
// The consumer of the claim that is reserved for an instance that moves.
Uuid ReservationOf(const Uuid& instance);

// Finds a host and an exact place on it, and claims it in placement before it answers. It keeps a mirror of
// the fleet. Create and Delete block and must be called from one thread at a time, as must, together, what
// moves instances and changes their devices; the rest is thread-safe and never waits for them.
class Scheduler {
 public:
  using Clock = std::function<uint64_t()>;  // milliseconds since 1970

  // `client` and `metrics` must outlive the scheduler. Begins to watch placement.
  Scheduler(std::shared_ptr<const Catalogue> catalogue, PlacementClient& client, MetricsRegistry& metrics,
            Clock clock, HostPolicy policy = DefaultPolicy());
  // Stops watching.
  ~Scheduler();
  Scheduler(const Scheduler&) = delete;
  Scheduler& operator=(const Scheduler&) = delete;

  // kResourceExhausted: no host fits, the reasons are in the decision. kInvalidArgument: the request.
  // kUnavailable: placement is not reachable, or the fleet not known yet. kAlreadyExists: the name is taken,
  // or the UUID by another instance. The same UUID with the same name and flavor answers as the first time.
  InstanceAnswer Create(const InstanceRequest& request);
  // The same for several, with what it costs to make them durable paid once. Statuses as of Create, in the
  // answers; kInvalidArgument of the whole: the batch. Blocks; from the thread of Create and Delete.
  BatchAnswer CreateMany(const BatchRequest& batch);
  Result<placement::Claim> Delete(const std::string& instance);
  // Takes a host (name or UUID) out, or puts it back: whether it may be chosen. Blocks; thread-safe.
  Status SetHostStatus(const std::string& host, bool enabled, const std::string& reason);

  // Everything that an instance asks for as one value.
  Result<RequestSpec> Resolve(const InstanceRequest& request) const;

  // Resize, cold migration, evacuation: does what can be done now and says how far it is. To be called again,
  // with the same request, until kDecide; resources of both places are held until ConfirmMove or RevertMove,
  // each of which is called until kNone. kResourceExhausted: no host fits; kUnavailable: an agent that is
  // needed is not reachable.
  Result<MoveAnswer> Move(const MoveRequest& request, AgentControl& agents);
  // With `dry_run`: what the call would lead to, and nothing is done.
  Result<MovePhase> ConfirmMove(const std::string& instance, bool dry_run = false);
  Result<MovePhase> RevertMove(const std::string& instance, AgentControl& agents, bool dry_run = false);

  // Claims a free device of the alias on the instance's host (`address`: only that one), by the exact rules
  // of creation; its agent gives it to the guest. kResourceExhausted: there is none.
  Result<placement::DeviceBinding> AttachDevice(const std::string& instance, const std::string& alias,
                                                const std::optional<PciAddress>& address,
                                                bool dry_run = false);
  // Asks it back; it is free when the guest has let go of it.
  Status DetachDevice(const std::string& instance, const PciAddress& address, bool dry_run = false);

  Result<Mirror::FoundClaim> Find(const std::string& instance) const;
  std::vector<Mirror::FoundClaim> List() const;  // ascending by name
  const HostPolicy& policy() const { return policy_; }
  InstanceFeed& feed() { return feed_; }
  // "host:port" of a host's agent; by name or UUID.
  Result<std::string> AgentOf(const std::string& host) const;
  const Catalogue& catalogue() const { return *catalogue_; }
  bool ready() const { return mirror_.synced(); }
  // kUnavailable until placement has told its whole state once: before that every list would be empty.
  Status CheckReady() const;
  const Mirror& mirror() const { return mirror_; }

 private:
  friend class MultiCreate;

  InstanceAnswer Answer(const InstanceRequest& request);
  Status CheckRequest(const InstanceRequest& request) const;
  // The instance of this UUID if there is one already.
  std::optional<InstanceAnswer> AnswerAgain(const InstanceRequest& request) const;
  InstanceAnswer AnswerKnown(const InstanceRequest& request, const placement::Claim& claim,
                             const std::string& host_name) const;
  InstanceAnswer DecideAndClaim(const InstanceRequest& request, const RequestSpec& spec);
  // The rules of the request's group: its own, or those of the group that is there. kInvalidArgument.
  Result<std::optional<placement::ServerGroup>> GroupOf(const InstanceRequest& request) const;
  // The best host under what the request says of other instances. `every_verdict`: with a verdict of each
  // host.
  Result<Decision> DecideOnce(const InstanceRequest& request, const RequestSpec& spec,
                              const std::optional<placement::ServerGroup>& group, bool every_verdict);
  // Hosts of the named instances. kNotFound: one of them is not known.
  Result<std::vector<Uuid>> HostsOf(const std::vector<std::string>& instances, const char* field) const;
  // Which hosts are meant, one step of the wishes of soft groups after another, the best first.
  Result<std::vector<HostLimits>> LimitsOf(const InstanceRequest& request,
                                           const std::optional<placement::ServerGroup>& group,
                                           std::shared_ptr<const Fleet>& fleet) const;
  // Where an instance may move: it does not count in its own group. `only`: a host's name or UUID, or empty;
  // `except`: not this host, or nil.
  Decision DecideMove(const placement::Claim& claim, const RequestSpec& spec, const std::string& only,
                      const Uuid& except) const;
  // Fetches where a group's members are now.
  Status RefreshGroup(const std::string& group);
  placement::Claim MakeClaim(const InstanceRequest& request, const Uuid& consumer, const RequestSpec& spec,
                             const Choice& choice, const std::optional<placement::ServerGroup>& group) const;
  // After a refused claim: fetches what placement says about the host now. kOk: decide again.
  Status Refresh(const Choice& choice, const Status& refusal);
  // Whether another decision may succeed where this claim was refused: the host changed under us.
  static bool WorthRetrying(StatusCode code);
  Result<placement::Claim> Movable(const std::string& instance) const;
  Result<std::optional<placement::Claim>> Reservation(const Uuid& instance) const;
  Result<placement::Claim> Reserve(const MoveRequest& request, const placement::Claim& claim);
  Result<MoveAnswer> Foresee(const MoveRequest& request, placement::Claim claim,
                             const std::optional<placement::Claim>& reserved);
  Status CheckSameWish(const MoveRequest& request, const placement::Claim& claim,
                       const placement::Claim& reserved) const;
  Result<bool> CarryDisks(const placement::Claim& claim, const placement::Claim& reserved,
                          AgentControl& agents);
  Result<RequestSpec> DeviceRequest(const std::string& alias, const placement::Claim& claim) const;
  std::string EndpointOf(const Uuid& host) const;
  std::string NameOf(const Uuid& host) const;

  std::shared_ptr<const Catalogue> catalogue_;  // shared with whoever loaded it
  PlacementClient& client_;
  Clock clock_;
  Counter& creates_;
  Counter& no_fits_;
  Counter& retries_;
  Counter& undecided_;
  const HostPolicy policy_;
  CandidateCache candidates_;
  Mirror mirror_;
  InstanceFeed feed_;
};

}  // namespace berth::scheduler
