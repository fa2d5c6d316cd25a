#include "placement/engine/state_audit.h"

#include <map>
#include <set>
#include <tuple>

#include "placement/model/projection.h"

namespace berth::placement {
namespace {

using Amounts = std::map<std::pair<Uuid, std::string>, int64_t>;

class StateAudit {
 public:
  StateAudit(const Engine& engine, const db::Contents& contents)
      : view_(engine.resources()), contents_(contents) {
    for (const db::NameRecord& name : contents.names) names_[{name.kind, name.id}] = name.name;
    for (const db::HostRecord& host : contents.hosts) hosts_[host.effective->uuid] = host.effective.get();
  }

  std::vector<AuditFinding> Run() {
    CountStored();
    CheckProviders();
    CheckUsages();
    CheckHosts();
    return std::move(findings_);
  }

 private:
  void Error(std::string text) { findings_.push_back({true, std::move(text)}); }
  void Warn(std::string text) { findings_.push_back({false, std::move(text)}); }

  std::string Name(db::NameKind kind, uint32_t id) const {
    auto at = names_.find({kind, id});
    return at == names_.end() ? std::string() : at->second;
  }

  void CountStored() {
    std::set<Uuid> stored;
    for (const auto& consumer : contents_.consumers) {
      stored.insert(consumer->uuid);
      std::string project = Name(db::NameKind::kProject, static_cast<uint32_t>(consumer->project));
      std::string user = Name(db::NameKind::kUser, static_cast<uint32_t>(consumer->user));
      std::string type = Name(db::NameKind::kConsumerType, static_cast<uint32_t>(consumer->type));
      for (const Allocation& a : consumer->allocations) {
        std::string name = Name(db::NameKind::kResourceClass, static_cast<uint32_t>(a.resource_class));
        used_[{a.provider, name}] += a.amount;
        usages_[{project, user, type.empty() ? "unknown" : type, name}] += a.amount;
        if (OnHost(a.provider)) bound_[consumer->uuid][{a.provider, name}] = a.amount;
      }
    }
    for (const auto& claim : contents_.claims) {
      const HostReport* host = hosts_[claim->host];
      if (host == nullptr) continue;  // refused by Restore
      Amounts held;
      for (const ProjectedAllocation& p : ProjectClaim(*host, *claim))
        held[{p.provider, p.resource_class}] = p.amount;
      if (stored.contains(claim->consumer)) {
        if (bound_[claim->consumer] != held) {
          Error("claim \"" + claim->name + "\" does not hold what its consumer's allocations say");
        }
        bound_.erase(claim->consumer);
        continue;
      }
      std::string incomplete(kIncompleteId);
      for (const auto& [key, amount] : held) {
        used_[key] += amount;
        usages_[{incomplete, incomplete, "unknown", key.second}] += amount;
      }
    }
    for (const auto& [consumer, amounts] : bound_) {
      Error("consumer " + consumer.ToString() + " has allocations on a host but no claim there");
    }
  }

  bool OnHost(const Uuid& provider) const {
    ProviderRef at = view_.FindProvider(provider);
    return at && at.tree->owner(at.index) == TreeOwner::kAgent;
  }

  void CheckProviders() {
    for (TreeSlot slot = 0; slot < view_.slots(); ++slot) {
      const ProviderTree* tree = view_.tree(slot).get();
      for (uint32_t i = 0; tree != nullptr && i < tree->size(); ++i) CheckProvider(*tree, slot, i);
    }
    for (const auto& [key, amount] : used_) {
      if (amount != 0) {
        Error("allocations of " + std::to_string(amount) + " " + key.second + " of provider " +
              key.first.ToString() + " count nowhere");
      }
    }
  }

  void CheckProvider(const ProviderTree& tree, TreeSlot slot, uint32_t i) {
    const std::string what = "provider " + tree.uuid(i).ToString() + " (" + std::string(tree.name(i)) + ")";
    for (const ProviderRef& found : {view_.FindProvider(tree.uuid(i)), view_.FindProvider(tree.name(i))}) {
      if (!found || found.slot != slot || found.index != i) Error(what + " is not found by its name or UUID");
    }
    for (size_t k = 0; k < tree.inventories(i).size(); ++k) {
      const Inventory& inventory = tree.inventories(i)[k];
      std::string name = Name(db::NameKind::kResourceClass, static_cast<uint32_t>(inventory.resource_class));
      int64_t counted = std::exchange(used_[{tree.uuid(i), name}], 0);
      if (counted != tree.used(i)[k]) {
        Error(what + ": " + std::to_string(tree.used(i)[k]) + " " + name +
              " are shown as used, allocations hold " + std::to_string(counted));
      }
      if (static_cast<double>(counted) > inventory.Capacity()) {
        Warn(what + " is over capacity: " + std::to_string(counted) + " of " +
             std::to_string(inventory.Capacity()) + " " + name);
      }
      if (!view_.TreesWith(inventory.resource_class).Has(slot))
        Error(what + " is not in the index of " + name);
    }
    for (TraitId id : tree.traits(i)) {
      if (!view_.TreesWith(id).Has(slot)) Error(what + " is not in the index of " + view_.traits().name(id));
    }
    for (AggregateId id : tree.aggregates(i)) {
      if (!view_.TreesIn(id).Has(slot)) Error(what + " is not in the index of its aggregates");
    }
  }

  void CheckUsages() {
    view_.projects().ForEach([&](ProjectId project, const auto& entry) {
      view_.ForEachUsage(project, {}, [&](const UsageGroup& group) {
        for (const auto& [id, amount] : group.used) {
          int64_t& counted =
              usages_[{entry.name, view_.users().name(group.user), view_.consumer_types().name(group.type),
                       view_.resource_classes().name(id)}];
          if (counted != amount) {
            Error("project " + entry.name + " uses " + std::to_string(amount) + " " +
                  view_.resource_classes().name(id) + ", allocations hold " + std::to_string(counted));
          }
          counted = 0;
        }
      });
    });
    for (const auto& [key, amount] : usages_) {
      if (amount != 0) Error("usage of project " + std::get<0>(key) + " lacks " + std::to_string(amount));
    }
  }

  // A host's tree has at least what its report says; more is what claims keep.
  void CheckHosts() {
    for (const auto& [uuid, report] : hosts_) {
      for (const ProjectedProvider& projected : ProjectHost(*report)) {
        ProviderRef at = view_.FindProvider(projected.uuid);
        if (!at || at.tree->owner(at.index) != TreeOwner::kAgent || at.name() != projected.name) {
          Error("host " + report->name + " reports " + projected.name + ", which is no provider of its tree");
          continue;
        }
        for (const auto& [name, inventory] : projected.inventories) {
          auto id = view_.resource_classes().Find(name);
          const Inventory* shown = id ? at.tree->Find(at.index, *id).inventory : nullptr;
          if (shown == nullptr || shown->total != inventory.total) {
            Error("host " + report->name + ": the inventory of " + name + " of " + projected.name +
                  " is not what it reports");
          }
        }
      }
    }
  }

  const ResourceView& view_;
  const db::Contents& contents_;
  std::map<std::pair<db::NameKind, uint32_t>, std::string> names_;
  std::map<Uuid, const HostReport*> hosts_;
  Amounts used_;
  std::map<std::tuple<std::string, std::string, std::string, std::string>, int64_t> usages_;
  std::map<Uuid, Amounts> bound_;
  std::vector<AuditFinding> findings_;
};

}  // namespace

std::vector<AuditFinding> AuditState(const Engine& engine, const db::Contents& contents) {
  return StateAudit(engine, contents).Run();
}

}  // namespace berth::placement
