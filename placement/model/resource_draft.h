#pragma once

#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "placement/model/resource_view.h"

namespace berth::placement {

// Makes the next ResourceView from one: keeps its indexes, usages and directories in step with its trees and
// consumers. Checks no rule of the API (placement/engine does), only that what it is given is consistent. One
// thread. A copy of view() taken before a change stays as it was if NextEdit() was called after the copy.
class ResourceDraft {
 public:
  ResourceDraft() = default;

  const ResourceView& view() const { return view_; }
  // Goes back to (or on from) another view, which may share parts with this one.
  void Reset(const ResourceView& view) {
    view_ = view;
    touched_ = {};
    NextEdit();
  }
  // What exists now is changed no more: a copy of view() may be handed out or kept for Reset.
  void NextEdit() { edit_ = NewEditId(); }

  // What has been changed since the last call: for those who store it. Slots and consumers may be named
  // twice.
  struct Touched {
    std::vector<TreeSlot> trees;
    std::vector<Uuid> consumers;
    std::vector<ResourceClassId> classes;
    std::vector<TraitId> traits;
    std::vector<AggregateId> aggregates;
    std::vector<ProjectId> projects;
    std::vector<UserId> users;
    std::vector<ConsumerTypeId> types;
  };
  Touched TakeTouched() { return std::exchange(touched_, {}); }

  // No names at all, to begin a restore with.
  void ClearNames();
  // Standard names that are not there get numbers.
  void AddStandardNames();

  // --- names; the caller has checked that new ones are free and old ones there ---
  ResourceClassId AddResourceClass(std::string name, uint64_t at_ms) {
    return touched_.classes.emplace_back(view_.classes_.Add(edit_, std::move(name), at_ms));
  }
  void RenameResourceClass(ResourceClassId id, std::string name, uint64_t at_ms) {
    view_.classes_.Rename(edit_, id, std::move(name), at_ms);
    touched_.classes.push_back(id);
  }
  void RemoveResourceClass(ResourceClassId id) {
    view_.classes_.Remove(edit_, id);
    touched_.classes.push_back(id);
  }
  TraitId AddTrait(std::string name, uint64_t at_ms) {
    return touched_.traits.emplace_back(view_.traits_.Add(edit_, std::move(name), at_ms));
  }
  void RemoveTrait(TraitId id) {
    view_.traits_.Remove(edit_, id);
    touched_.traits.push_back(id);
  }
  // The number of a name, which is made if need be.
  AggregateId EnsureAggregate(const Uuid& uuid, uint64_t at_ms) {
    return Ensure(view_.aggregates_, touched_.aggregates, uuid, at_ms);
  }
  ProjectId EnsureProject(const std::string& name, uint64_t at_ms) {
    return Ensure(view_.projects_, touched_.projects, name, at_ms);
  }
  UserId EnsureUser(const std::string& name, uint64_t at_ms) {
    return Ensure(view_.users_, touched_.users, name, at_ms);
  }
  ConsumerTypeId EnsureConsumerType(const std::string& name, uint64_t at_ms) {
    return Ensure(view_.types_, touched_.types, name, at_ms);
  }
  // From a store: with the numbers that they had.
  template <class Id, class Name>
  void RestoreName(Id id, Name name, uint64_t created_at_ms, uint64_t updated_at_ms) {
    TableOf(id).Restore(edit_, id, std::move(name), created_at_ms, updated_at_ms);
  }

  // --- trees ---
  TreeSlot AddTree(std::shared_ptr<const ProviderTree> tree);
  // `tree` may have other providers than the one before; those may not be in another tree at that moment.
  void ReplaceTree(TreeSlot slot, const std::shared_ptr<const ProviderTree>& tree);
  void RemoveTree(TreeSlot slot);

  // --- consumers: their trees' usage follows; every provider and inventory named must be there ---
  void PutConsumer(const std::shared_ptr<const Consumer>& consumer);
  void RemoveConsumer(const Uuid& consumer);
  // Many new ones at once. The first that names a provider or inventory that is not there, if one does (the
  // draft is of no use then), or nullptr.
  const Consumer* AddConsumers(const std::vector<std::shared_ptr<const Consumer>>& consumers);
  // One more for each provider, once each.
  void RaiseGenerations(std::span<const Uuid> providers);

  void set_sequence(uint64_t sequence) { view_.sequence_ = sequence; }

 private:
  template <class Id, class Name>
  Id Ensure(NameTable<Id, Name>& table, std::vector<Id>& touched, const Name& name, uint64_t at_ms) {
    if (auto found = table.Find(name)) return *found;
    return touched.emplace_back(table.Add(edit_, name, at_ms));
  }
  ResourceClassTable& TableOf(ResourceClassId) { return view_.classes_; }
  TraitTable& TableOf(TraitId) { return view_.traits_; }
  AggregateTable& TableOf(AggregateId) { return view_.aggregates_; }
  NameTable<ProjectId>& TableOf(ProjectId) { return view_.projects_; }
  NameTable<UserId>& TableOf(UserId) { return view_.users_; }
  NameTable<ConsumerTypeId>& TableOf(ConsumerTypeId) { return view_.types_; }

  void IndexProviders(TreeSlot slot, const ProviderTree* before, const ProviderTree* after);
  void IndexContents(TreeSlot slot, const ProviderTree* before, const ProviderTree* after);
  template <class Id>
  void Diff(ResourceView::SetIndex& index, TreeSlot slot, const std::vector<Id>& before,
            const std::vector<Id>& after);
  void ChangeUsage(const Consumer& consumer, int64_t sign);
  void ChangeGroup(const Consumer& consumer, int64_t sign);
  void MergeGroup(const UsageGroup& part, int64_t sign);
  void AddHolders(const Uuid& provider, std::span<const Uuid> consumers);
  void DropHolder(const Uuid& provider, const Uuid& consumer);
  void Enter(const std::shared_ptr<const Consumer>& consumer);

  ResourceView view_;
  Touched touched_;
  EditId edit_ = NewEditId();
};

}  // namespace berth::placement
