#pragma once

#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "common/status.h"
#include "db/store.h"
#include "placement/engine/claim_plan.h"
#include "placement/engine/command.h"
#include "placement/engine/group_book.h"
#include "placement/engine/host_version.h"
#include "placement/engine/resource_engine.h"
#include "placement/engine/undo_map.h"

namespace berth::placement {

// The source of truth as a deterministic state machine: no clock, no randomness, no I/O. Commands are applied
// one after another to a draft; Commit makes the draft the state, Rollback drops it. Between Apply and Commit
// the caller makes the changes durable. One thread.
class Engine final : private ClaimPlan::Source {
 public:
  // From a store's contents. kDataLoss: they contradict themselves (a claim without host, a name twice, a
  // device held twice).
  // `most_names`: as ResourceEngine.
  static Result<std::unique_ptr<Engine>> Restore(const db::Contents& contents,
                                                 uint32_t most_names = kMostNames - kSpareNames);

  // Errors leave the draft as it was:
  //   kInvalidArgument     the command makes no sense by itself (field names the place);
  //   kNotFound            no such host or claim;
  //   kAlreadyExists       the name belongs to another host or claim, or the consumer is known with other
  //   content; kFailedPrecondition  the host has claims, the claim is not in the right phase, something named
  //   is not free; kResourceExhausted   too little is free; kAborted             the generation is not the
  //   expected one.
  Result<Outcome> Apply(const Command& command);

  // What the draft changed, for the readers.
  struct Committed {
    std::vector<std::shared_ptr<const HostVersion>> hosts;
    std::vector<Uuid> deleted_hosts;
    std::vector<std::shared_ptr<const Event>> events;
    uint64_t sequence = 0;
    std::shared_ptr<const ResourceView> resources;  // nullptr: unchanged
  };
  Committed Commit();
  void Rollback();

  // Of the last event, the draft included.
  uint64_t sequence() const { return sequence_; }
  // What a restore has added (standard names of the Placement model): to be stored before the first command's
  // changes.
  std::vector<db::Change> StartupChanges() { return resources_.StartupChanges(); }
  // Number of the last audit row, the draft included.
  uint64_t audit() const { return resources_.audit(); }
  // The Placement model, the draft included.
  const ResourceView& resources() const { return resources_.view(); }
  // The whole state without its events, in canonical order. Of a committed state only.
  db::Contents Export() const;
  // What a store that holds nothing must be told to hold this state, events and audit rows aside.
  std::vector<db::Change> AllChanges() const;
  // All hosts of the committed state, in no order.
  std::vector<std::shared_ptr<const HostVersion>> Hosts() const;

 private:
  explicit Engine(uint32_t most_names) : resources_(most_names) {}

  using Version = std::shared_ptr<HostVersion>;

  Result<Outcome> Do(const ReportHost& command, uint64_t at_ms);
  Result<Outcome> Do(const DeleteHost& command, uint64_t at_ms);
  Result<Outcome> Do(const CreateClaim& command, uint64_t at_ms);
  Result<Outcome> Do(const CreateClaims& command, uint64_t at_ms);
  Result<Outcome> Do(const SetHostStatus& command, uint64_t at_ms);
  Result<Outcome> Do(const ReleaseClaim& command, uint64_t at_ms);
  Result<Outcome> Do(const ChangeDevice& command, uint64_t at_ms);
  Result<Outcome> Do(const SwapClaims& command, uint64_t at_ms);
  Result<Outcome> Do(const FinalizeClaim& command, uint64_t at_ms);
  Result<Outcome> Do(const ReportStatus& command, uint64_t at_ms);

  // Commands of the Placement model.
  template <class Body>
  Result<Outcome> DoResource(const Body& command, uint64_t at_ms);
  // What a command's plan says about claims becomes so.
  void Execute(const ClaimPlan& plan, uint64_t at_ms, Outcome& outcome);
  // A claim that is there, or that has been checked. What was kept for a claim that is dropped stays until
  // RenewAfterDrop of its host, which comes last in the command.
  void DropClaim(const Claim& claim, uint64_t at_ms, Outcome& outcome);
  void RenewAfterDrop(const Uuid& host, uint64_t at_ms, Outcome& outcome);
  void PutClaim(const std::shared_ptr<const Claim>& claim, uint64_t at_ms, Outcome& outcome);

  const HostVersion* HostOf(const Uuid& host) const override { return FindHost(host); }
  const Uuid* ClaimHostOf(const Uuid& consumer) const override { return claim_hosts_.Find(consumer); }
  const Uuid* NameHolder(const std::string& name) const override { return claim_names_.Find(name); }

  // Whether the claim may be made, but for what its host has room for and its group says.
  Status CheckNewClaim(const CreateClaim& command) const;
  Status CheckGroup(const Claim& claim);
  // Whether all may be made one after another. Leaves the draft as it was.
  Status CheckNewClaims(const std::vector<CreateClaim>& claims);
  // Makes a claim that has been checked.
  void MakeClaim(const Claim& asked, uint64_t at_ms, Outcome& outcome);
  // Tells followers that what the Placement model says of a host has changed, if `provider` is of its tree.
  void TellOfProvider(const Uuid& provider, uint64_t at_ms, Outcome& outcome);
  Result<Outcome> RepeatedClaim(const Claim& known, const Claim& asked) const;
  const Claim* FindClaim(const Uuid& consumer) const;
  const HostVersion* FindHost(const Uuid& uuid) const;
  // The draft of a host that exists; copies the committed version at the first touch.
  HostVersion& Draft(const Uuid& uuid);
  void ReplaceClaim(HostVersion& host, std::shared_ptr<const Claim> claim);
  void AddClaimEvent(const HostVersion& host, EventKind kind, std::shared_ptr<const Claim> claim,
                     uint64_t at_ms, Outcome& outcome);
  void AddHostEvent(const HostVersion& host, EventKind kind, uint64_t at_ms, Outcome& outcome);
  void AddEvent(Event event, Outcome& outcome);
  // After a claim has gone or a report has come: what is kept, and the record, if either changed.
  bool Renew(HostVersion& host, std::shared_ptr<const HostReport> reported,
             std::vector<std::string>& warnings);
  Status RestoreHosts(const db::Contents& contents);
  Status RestoreClaims(const db::Contents& contents);

  UndoMap<Uuid, Version> hosts_;
  UndoMap<std::string, Uuid> host_names_;
  UndoMap<Uuid, Uuid> claim_hosts_;         // consumer -> host
  UndoMap<std::string, Uuid> claim_names_;  // name -> consumer
  GroupBook groups_;
  uint64_t sequence_ = 0;
  uint64_t committed_sequence_ = 0;
  std::unordered_map<Uuid, bool> drafts_;  // hosts touched since the last Commit
  std::vector<std::shared_ptr<const Event>> events_;
  ResourceEngine resources_;
};

}  // namespace berth::placement
