#include "placement/engine/resource_engine.h"

#include <algorithm>
#include <set>

namespace berth::placement {
namespace {

template <class T>
void SortUnique(std::vector<T>& list) {
  std::sort(list.begin(), list.end());
  list.erase(std::unique(list.begin(), list.end()), list.end());
}

std::string NameText(const std::string& name) {
  return name;
}
std::string NameText(const Uuid& name) {
  return name.ToString();
}

template <class Id, class Name>
void StoreTable(db::NameKind kind, const NameTable<Id, Name>& table, std::vector<Id> ids,
                std::vector<db::Change>& changes) {
  SortUnique(ids);
  for (Id id : ids) {
    auto number = static_cast<uint32_t>(id);
    if (!table.Has(id)) {
      changes.emplace_back(db::DeleteName{kind, number});
      continue;
    }
    const auto& entry = table.entry(id);
    changes.emplace_back(
        db::PutName{{kind, number, NameText(entry.name), entry.created_at_ms, entry.updated_at_ms}});
  }
}

std::string NoNumber(std::string_view kind, uint32_t most) {
  return "There have been " + std::to_string(most) + " different " + std::string(kind) +
         ", deleted ones included, which is the most that this service can know: no new name is taken.";
}

// All but generation and usage, which are stored apart or not at all.
bool SameRecord(const Provider& a, const Provider& b) {
  return a.uuid == b.uuid && a.name == b.name && a.parent == b.parent && a.guest == b.guest &&
         a.inventories == b.inventories && a.traits == b.traits && a.aggregates == b.aggregates &&
         a.created_at_ms == b.created_at_ms && a.updated_at_ms == b.updated_at_ms &&
         a.inventories_at_ms == b.inventories_at_ms;
}

bool SameGenerations(const ProviderTree& a, const ProviderTree& b) {
  for (uint32_t i = 0; i < a.size(); ++i) {
    if (a.generation(i) != b.generation(i)) return false;
  }
  return true;
}

}  // namespace

void ResourceEngine::Begin(const Command& command) {
  at_ms_ = command.at_ms;
  actor_ = command.actor;
  before_ = draft_.view();
  draft_.NextEdit();
}

void ResourceEngine::Abandon() {
  draft_.Reset(before_);
}

void ResourceEngine::End(std::string_view action, std::string subject, Outcome& outcome) {
  ResourceDraft::Touched touched = draft_.TakeTouched();
  const size_t first = outcome.changes.size();
  StoreNames(touched, outcome.changes);
  StoreTrees(touched.trees, outcome.changes);
  StoreConsumers(touched.consumers, outcome.changes);
  if (!touched.trees.empty() || !touched.consumers.empty() || outcome.changes.size() > first) changed_ = true;
  if (outcome.changes.size() == first) return;
  outcome.changed = true;
  if (action.empty()) return;  // told by the events of hosts and claims
  outcome.changes.emplace_back(
      db::AddAudit{{++audit_, at_ms_, actor_, std::string(action), std::move(subject)}});
}

void ResourceEngine::StoreNames(const ResourceDraft::Touched& touched,
                                std::vector<db::Change>& changes) const {
  const ResourceView& view = draft_.view();
  StoreTable(db::NameKind::kResourceClass, view.resource_classes(), touched.classes, changes);
  StoreTable(db::NameKind::kTrait, view.traits(), touched.traits, changes);
  StoreTable(db::NameKind::kAggregate, view.aggregates(), touched.aggregates, changes);
  StoreTable(db::NameKind::kProject, view.projects(), touched.projects, changes);
  StoreTable(db::NameKind::kUser, view.users(), touched.users, changes);
  StoreTable(db::NameKind::kConsumerType, view.consumer_types(), touched.types, changes);
}

void ResourceEngine::StoreTrees(std::vector<TreeSlot> slots, std::vector<db::Change>& changes) const {
  SortUnique(slots);
  const ResourceView& after = draft_.view();
  std::vector<db::Change> puts;
  for (TreeSlot slot : slots) {
    const ProviderTree* old_tree = slot < before_.slots() ? before_.tree(slot).get() : nullptr;
    const std::shared_ptr<const ProviderTree>& new_tree = after.tree(slot);
    if (old_tree != nullptr && new_tree && old_tree->SharesShape(*new_tree)) {
      if (!SameGenerations(*old_tree, *new_tree)) changes.emplace_back(db::PutGenerations{new_tree});
      continue;
    }
    for (uint32_t i = 0; old_tree != nullptr && i < old_tree->size(); ++i) {
      ProviderRef now = after.FindProvider(old_tree->uuid(i));
      if (!now) changes.emplace_back(db::DeleteProvider{old_tree->uuid(i)});
      if (i == 0 && (!now || now.index != 0)) changes.emplace_back(db::DeleteGenerations{old_tree->uuid(i)});
    }
    if (!new_tree) continue;
    for (uint32_t i = 0; i < new_tree->size(); ++i) {
      ProviderRef was = before_.FindProvider(new_tree->uuid(i));
      if (!was || !SameRecord(was.tree->At(was.index), new_tree->At(i))) {
        puts.emplace_back(db::PutProvider{new_tree, i});
      }
    }
    puts.emplace_back(db::PutGenerations{new_tree});
  }
  std::move(puts.begin(), puts.end(), std::back_inserter(changes));
}

void ResourceEngine::StoreConsumers(std::vector<Uuid> consumers, std::vector<db::Change>& changes) const {
  SortUnique(consumers);
  for (const Uuid& uuid : consumers) {
    std::shared_ptr<const Consumer> was = before_.FindConsumer(uuid);
    std::shared_ptr<const Consumer> now = draft_.view().FindConsumer(uuid);
    if (now && !now->is_instance) {
      changes.emplace_back(db::PutConsumer{std::move(now)});
    } else if (!now && was && !was->is_instance) {
      changes.emplace_back(db::DeleteConsumer{uuid});
    }
  }
}

std::shared_ptr<const ResourceView> ResourceEngine::Commit() {
  committed_audit_ = audit_;
  if (!std::exchange(changed_, false)) return nullptr;
  draft_.set_sequence(audit_);
  committed_ = draft_.view();
  draft_.NextEdit();
  return std::make_shared<const ResourceView>(committed_);
}

void ResourceEngine::Rollback() {
  draft_.Reset(committed_);
  audit_ = committed_audit_;
  changed_ = false;
}

Status ResourceEngine::CheckNames() const {
  const ResourceView& now = view();
  auto check = [&](const auto& table, const auto& before, std::string_view kind) -> Status {
    if (table.slots() <= most_names_ || table.slots() == before.slots()) return OkStatus();
    return Refuse(Refusal::kConflict, NoNumber(kind, most_names_));
  };
  TRY(check(now.resource_classes(), before_.resource_classes(), "resource classes"));
  TRY(check(now.traits(), before_.traits(), "traits"));
  TRY(check(now.aggregates(), before_.aggregates(), "aggregates"));
  TRY(check(now.projects(), before_.projects(), "projects"));
  TRY(check(now.users(), before_.users(), "users"));
  return check(now.consumer_types(), before_.consumer_types(), "consumer types");
}

Status ResourceEngine::CheckHostNames(const std::vector<ProjectedProvider>& providers) const {
  std::set<std::string_view> classes;
  std::set<std::string_view> traits;
  for (const ProjectedProvider& provider : providers) {
    for (const auto& [name, inventory] : provider.inventories) {
      if (!view().resource_classes().Find(std::string_view(name))) classes.insert(name);
    }
    for (const std::string& name : provider.traits) {
      if (!view().traits().Find(std::string_view(name))) traits.insert(name);
    }
  }
  auto check = [&](const std::set<std::string_view>& fresh, size_t slots, std::string_view kind) -> Status {
    if (fresh.empty() || slots + fresh.size() <= most_names_) return OkStatus();
    return ResourceExhausted(
        NoNumber(kind, most_names_) + " The report's first new one is " + std::string(*fresh.begin()) + ".",
        "devices");
  };
  TRY(check(classes, view().resource_classes().slots(), "resource classes"));
  return check(traits, view().traits().slots(), "traits");
}

Result<ProviderRef> ResourceEngine::Find(const Uuid& uuid, std::string detail) const {
  ProviderRef at = view().FindProvider(uuid);
  if (!at) return Refuse(Refusal::kNotFound, std::move(detail));
  return at;
}

Result<ProviderRef> ResourceEngine::Find(const Uuid& uuid) const {
  return Find(uuid, "No resource provider with uuid " + uuid.ToString() + " found");
}

void ResourceEngine::Store(const ProviderRef& at, std::vector<Provider> providers) {
  draft_.ReplaceTree(at.slot, ProviderTree::Make(std::move(providers), at.tree->owner()));
}

void ResourceEngine::Show(const Uuid& provider, Outcome& outcome) const {
  outcome.provider = view().FindProvider(provider);
  if (outcome.provider) outcome.generation = outcome.provider.generation();
}

Status ResourceEngine::RefuseIfAgents(const ProviderRef& at, std::string_view what) const {
  if (at.tree->owner(at.index) != TreeOwner::kAgent) return OkStatus();
  return Refuse(Refusal::kConflict, "Unable to change " + std::string(what) + " of resource provider " +
                                        at.uuid().ToString() + ": they follow from the report of host " +
                                        std::string(at.tree->name(0)) + ".");
}

}  // namespace berth::placement
