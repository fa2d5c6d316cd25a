#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "db/store.h"
#include "placement/engine/command.h"
#include "placement/engine/refusal.h"
#include "placement/model/projection.h"
#include "placement/model/resource_draft.h"

namespace berth::placement {

// What holds exact CPUs, pages and devices for consumers that name amounts only (Engine implements it).
class ClaimBinder {
 public:
  virtual ~ClaimBinder() = default;
  // The consumer's claim, if it has one, is gone.
  virtual void Drop(const Uuid& consumer) = 0;
  // Finds exact resources for the consumer's allocations on trees that agents own, and takes them. An error's
  // message says what is not there.
  virtual Status Bind(const Consumer& consumer) = 0;
};

// OpenStack Placement's model inside the engine: applies the commands of resource_command.h, and what hosts
// and claims mean in that model, to a draft above the committed view. Deterministic, one thread. The order of
// checks and the texts of refusals are those of the API.
class ResourceEngine {
 public:
  // `most_names`: commands that would number more names of one kind are refused.
  explicit ResourceEngine(uint32_t most_names = kMostNames - kSpareNames)
      : most_names_(most_names), committed_(draft_.view()) {}

  // From a store. kDataLoss: contents that contradict themselves. What it adds (standard names) is in
  // StartupChanges.
  Status Restore(const db::Contents& contents);
  std::vector<db::Change> StartupChanges() { return std::exchange(startup_, {}); }
  void Export(db::Contents& contents) const;

  const ResourceView& view() const { return draft_.view(); }
  // Number of the last audit row, the draft included.
  uint64_t audit() const { return audit_; }

  // One command's changes are between Begin and End (which gives what to store) or Abandon (which takes them
  // back).
  void Begin(const Command& command);
  void End(std::string_view action, std::string subject, Outcome& outcome);
  void Abandon();
  // The draft becomes the state, and a value for readers if it changed; or it is dropped.
  std::shared_ptr<const ResourceView> Commit();
  void Rollback();

  // Whether the command that was just done has left every kind of name within its limit; else it must be
  // abandoned.
  Status CheckNames() const;

  // After an error the command must be abandoned.
  Status Do(const CreateProvider& command, Outcome& outcome);
  Status Do(const UpdateProvider& command, Outcome& outcome);
  Status Do(const DeleteProvider& command, Outcome& outcome);
  Status Do(const SetInventories& command, Outcome& outcome);
  Status Do(const AddInventory& command, Outcome& outcome);
  Status Do(const UpdateInventory& command, Outcome& outcome);
  Status Do(const RemoveInventory& command, Outcome& outcome);
  Status Do(const RemoveInventories& command, Outcome& outcome);
  Status Do(const CreateResourceClass& command, Outcome& outcome);
  Status Do(const RenameResourceClass& command, Outcome& outcome);
  Status Do(const DeleteResourceClass& command, Outcome& outcome);
  Status Do(const CreateTrait& command, Outcome& outcome);
  Status Do(const DeleteTrait& command, Outcome& outcome);
  Status Do(const SetTraits& command, Outcome& outcome);
  Status Do(const SetAggregates& command, Outcome& outcome);
  Status Do(const SetAllocations& command, ClaimBinder& binder);
  Status Do(const DeleteAllocations& command, ClaimBinder& binder);
  Status Do(const Reshape& command, ClaimBinder& binder);

  // Hosts: whether the names that a report's providers would have are free, and whether there are numbers for
  // its traits and resource classes.
  Status CheckHost(const HostReport& report) const;
  // A host as it is now; `before` as it was, nullptr: new. `claims`: all that it has. What consumers hold
  // stays, as inventory that nobody else gets.
  void PutHost(const HostReport* before, const HostReport& report,
               const std::vector<std::shared_ptr<const Claim>>& claims);
  // Whether anybody holds something of the host's tree; then it must not be dropped.
  bool HostInUse(const HostReport& report) const;
  void DropHost(const HostReport& report);
  // A claim made through gRPC comes or goes; the host must be there.
  void PutInstance(const HostReport& host, const Claim& claim);
  void DropInstance(const Uuid& consumer);

 private:
  friend class ConsumerWriter;

  // A provider of a command, or its absence: `detail` ends the text, which the API words in several ways.
  Result<ProviderRef> Find(const Uuid& uuid, std::string detail) const;
  Result<ProviderRef> Find(const Uuid& uuid) const;
  // Replaces the tree after a change of one provider.
  void Store(const ProviderRef& at, std::vector<Provider> providers);
  void Show(const Uuid& provider, Outcome& outcome) const;
  // For a provider that follows from a host's report: the refusal.
  Status RefuseIfAgents(const ProviderRef& at, std::string_view what) const;
  Result<Inventory> MakeInventory(const InventoryInput& input) const;
  Status ReplaceInventories(const ProviderRef& at, std::vector<Inventory> inventories);
  std::shared_ptr<const Consumer> InstanceConsumer(const HostReport& host, const Claim& claim);
  std::vector<Provider> ProjectedTree(const HostReport* before, const HostReport& report, ProviderRef known);
  std::vector<TraitId> TraitIds(const std::vector<std::string>& names);
  Status CheckHostNames(const std::vector<ProjectedProvider>& providers) const;
  Status RestoreNames(const db::Contents& contents);
  Status RestoreTrees(const db::Contents& contents);
  Status RestoreConsumers(const db::Contents& contents);
  void StoreNames(const ResourceDraft::Touched& touched, std::vector<db::Change>& changes) const;
  void StoreTrees(std::vector<TreeSlot> slots, std::vector<db::Change>& changes) const;
  void StoreConsumers(std::vector<Uuid> consumers, std::vector<db::Change>& changes) const;

  const uint32_t most_names_;
  ResourceDraft draft_;
  ResourceView committed_;
  ResourceView before_;  // the command
  uint64_t at_ms_ = 0;
  std::string actor_;
  uint64_t audit_ = 0;  // number of the last row, the draft included
  uint64_t committed_audit_ = 0;
  bool changed_ = false;  // since the last commit
  std::vector<db::Change> startup_;
};

}  // namespace berth::placement
