#include <algorithm>
#include <string>

#include "placement/engine/resource_engine.h"

// Providers, their place in trees, their traits and aggregates.
namespace berth::placement {
namespace {

template <class T>
void SortUnique(std::vector<T>& list) {
  std::sort(list.begin(), list.end());
  list.erase(std::unique(list.begin(), list.end()), list.end());
}

std::string Duplicate(const std::string& what) {
  return "Conflicting resource provider " + what + " already exists.";
}

constexpr char kStaleGeneration[] =
    "Resource provider's generation already changed. Please update the generation and try again.";

}  // namespace

Status ResourceEngine::Do(const CreateProvider& command, Outcome& outcome) {
  const std::string unable =
      "Unable to create resource provider \"" + command.name + "\", " + command.uuid.ToString() + ": ";
  auto bad_parent = [&](std::string_view reason) {
    return Refuse(Refusal::kBadRequest,
                  unable + "Object action create failed because: " + std::string(reason));
  };
  if (command.uuid.is_nil()) return Refuse(Refusal::kBadRequest, unable + "the nil UUID names nothing.");
  ProviderRef parent;
  if (command.parent) {
    if (*command.parent == command.uuid) {
      return bad_parent(
          "parent provider UUID cannot be same as UUID. Please set parent provider UUID to None if there is "
          "no "
          "parent.");
    }
    parent = view().FindProvider(*command.parent);
    if (!parent) return bad_parent("parent provider UUID does not exist.");
  }
  const bool known_uuid = static_cast<bool>(view().FindProvider(command.uuid));
  const bool known_name = static_cast<bool>(view().FindProvider(command.name));
  if (known_uuid || known_name) {
    std::string what = known_uuid ? "uuid: " + command.uuid.ToString() : "";
    if (known_name) what += (what.empty() ? "name: " : ", name: ") + command.name;
    return Refuse(Refusal::kDuplicateName, Duplicate(what));
  }
  Provider provider;
  provider.uuid = command.uuid;
  provider.name = command.name;
  provider.created_at_ms = at_ms_;
  if (parent) {
    provider.parent = *command.parent;
    provider.guest = parent.tree->owner() == TreeOwner::kAgent;
    std::vector<Provider> providers = parent.tree->Unpack();
    providers.push_back(std::move(provider));
    Store(parent, std::move(providers));
  } else {
    draft_.AddTree(ProviderTree::Make({std::move(provider)}, TreeOwner::kClients));
  }
  Show(command.uuid, outcome);
  return OkStatus();
}

Status ResourceEngine::Do(const UpdateProvider& command, Outcome& outcome) {
  TRY_ASSIGN(ProviderRef at, Find(command.uuid));
  const Uuid own_parent = at.index == 0 ? Uuid{} : at.tree->uuid(at.tree->parent(at.index));
  auto bad_parent = [&](std::string_view action, std::string_view reason) {
    return Refuse(Refusal::kBadRequest, "Unable to save resource provider " + command.uuid.ToString() +
                                            ": Object action " + std::string(action) +
                                            " failed because: " + std::string(reason));
  };
  ProviderRef parent;
  const bool moves = command.set_parent && command.parent.value_or(Uuid{}) != own_parent;
  if (command.set_parent && command.parent) {
    parent = view().FindProvider(*command.parent);
    if (!parent) return bad_parent("create", "parent provider UUID does not exist.");
    if (!own_parent.is_nil() && own_parent != *command.parent && !command.allow_reparenting) {
      return bad_parent("update", "re-parenting a provider is not currently allowed.");
    }
    if (parent.slot == at.slot && at.tree->InSubtree(parent.index, at.index)) {
      return bad_parent("update", "creating loop in the provider tree is not allowed.");
    }
  } else if (command.set_parent && !own_parent.is_nil() && !command.allow_reparenting) {
    return bad_parent("update", "un-parenting a provider is not currently allowed.");
  }
  ProviderRef named = view().FindProvider(command.name);
  if (named && named.uuid() != command.uuid) return Refuse(Refusal::kDuplicateName, Duplicate(command.name));
  if (!moves && at.name() == command.name) {
    Show(command.uuid, outcome);
    return OkStatus();
  }
  TRY(RefuseIfAgents(at, "name and parent"));

  std::vector<Provider> providers = at.tree->Unpack();
  Provider& own = providers[at.index];
  own.name = command.name;
  own.updated_at_ms = at_ms_;
  if (moves) own.parent = command.parent.value_or(Uuid{});
  if (!moves || (parent && parent.slot == at.slot)) {
    Store(at, std::move(providers));
    Show(command.uuid, outcome);
    return OkStatus();
  }
  // The subtree leaves: for another tree, or to be one.
  auto first = providers.begin() + at.index;
  auto last = providers.begin() + at.tree->end(at.index);
  std::vector<Provider> subtree(std::make_move_iterator(first), std::make_move_iterator(last));
  providers.erase(first, last);
  if (providers.empty()) {
    draft_.RemoveTree(at.slot);
  } else {
    Store(at, std::move(providers));
  }
  if (parent) {
    for (Provider& moved : subtree) moved.guest = parent.tree->owner() == TreeOwner::kAgent;
    std::vector<Provider> joined = parent.tree->Unpack();
    joined.insert(joined.end(), std::make_move_iterator(subtree.begin()),
                  std::make_move_iterator(subtree.end()));
    Store(parent, std::move(joined));
  } else {
    draft_.AddTree(ProviderTree::Make(std::move(subtree), TreeOwner::kClients));
  }
  Show(command.uuid, outcome);
  return OkStatus();
}

Status ResourceEngine::Do(const DeleteProvider& command, Outcome&) {
  const std::string uuid = command.uuid.ToString();
  TRY_ASSIGN(ProviderRef at,
             Find(command.uuid, "No resource provider with uuid " + uuid + " found for delete"));
  if (at.tree->end(at.index) != at.index + 1) {
    return Refuse(Refusal::kProviderIsParent,
                  "Unable to delete parent resource provider " + uuid + ": It has child resource providers.");
  }
  if (at.tree->InUse(at.index)) {
    return Refuse(Refusal::kProviderInUse,
                  "Unable to delete resource provider " + uuid + ": Resource provider has allocations.");
  }
  TRY(RefuseIfAgents(at, "the tree"));
  if (at.index == 0) {
    draft_.RemoveTree(at.slot);
    return OkStatus();
  }
  std::vector<Provider> providers = at.tree->Unpack();
  providers.erase(providers.begin() + at.index);
  Store(at, std::move(providers));
  return OkStatus();
}

Status ResourceEngine::Do(const SetTraits& command, Outcome& outcome) {
  TRY_ASSIGN(ProviderRef at, Find(command.provider));
  if (command.generation && *command.generation != at.generation()) {
    return Refuse(Refusal::kConcurrentUpdate, kStaleGeneration);
  }
  std::vector<TraitId> traits;
  std::string unknown;
  for (const std::string& name : command.traits) {
    if (auto id = view().traits().Find(name)) {
      traits.push_back(*id);
    } else {
      unknown += (unknown.empty() ? "" : ", ") + name;
    }
  }
  if (!unknown.empty()) return Refuse(Refusal::kBadRequest, "No such trait " + unknown);
  SortUnique(traits);
  if (!std::equal(traits.begin(), traits.end(), at.tree->traits(at.index).begin(),
                  at.tree->traits(at.index).end())) {
    std::vector<Provider> providers = at.tree->Unpack();
    providers[at.index].traits = std::move(traits);
    ++providers[at.index].generation;
    Store(at, std::move(providers));
  }
  Show(command.provider, outcome);
  return OkStatus();
}

Status ResourceEngine::Do(const SetAggregates& command, Outcome& outcome) {
  TRY_ASSIGN(ProviderRef at, Find(command.provider));
  if (command.generation && *command.generation != at.generation()) {
    return Refuse(Refusal::kConcurrentUpdate, kStaleGeneration);
  }
  std::vector<Provider> providers = at.tree->Unpack();
  std::vector<AggregateId>& own = providers[at.index].aggregates;
  own.clear();
  for (const Uuid& aggregate : command.aggregates) own.push_back(draft_.EnsureAggregate(aggregate, at_ms_));
  SortUnique(own);
  if (command.raise_generation) ++providers[at.index].generation;
  Store(at, std::move(providers));
  Show(command.provider, outcome);
  return OkStatus();
}

}  // namespace berth::placement
