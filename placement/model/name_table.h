#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "common/persistent_hash.h"
#include "common/persistent_vector.h"
#include "common/uuid.h"

namespace berth::placement {

// Names are small dense numbers everywhere but at the edges. Each kind is a type of its own.
enum class ResourceClassId : uint32_t {};
enum class TraitId : uint32_t {};
enum class AggregateId : uint32_t {};
enum class ProjectId : uint32_t {};
enum class UserId : uint32_t {};
// 0: the consumer has none; the API calls it "unknown".
enum class ConsumerTypeId : uint32_t {};

inline constexpr ConsumerTypeId kNoConsumerType{0};

// Numbers of one kind, those of removed names included: what a table holds for good (some 64 bytes each) and
// a store may contain.
inline constexpr uint32_t kMostNames = 1U << 24;
// The last of them are for what must not be refused: standard names of later versions, what a host's report
// shows when a claim goes.
inline constexpr uint32_t kSpareNames = 1U << 16;

// Names by number and numbers by name. Numbers are given in order of creation and never again; a name that is
// removed leaves its number empty. A persistent value: copies cost nothing and stay as they are.
template <class Id, class Name = std::string>
class NameTable {
 public:
  struct Entry {
    Name name;
    uint64_t created_at_ms = 0;
    uint64_t updated_at_ms = 0;  // 0: never
    bool live = false;
  };

  // Numbers given so far, the empty ones included: ids are 0 .. slots() - 1.
  size_t slots() const { return entries_.size(); }
  // Whether a name has this number now.
  bool Has(Id id) const { return Index(id) < entries_.size() && entries_[Index(id)].live; }
  // `id` must be below slots().
  const Name& name(Id id) const { return entries_[Index(id)].name; }
  const Entry& entry(Id id) const { return entries_[Index(id)]; }
  template <class Key>
  std::optional<Id> Find(const Key& name) const {
    const Slot* found =
        by_name_.Find(HashOf(name), [&](const Slot& slot) { return entries_[slot.index].name == name; });
    return found == nullptr ? std::nullopt : std::optional<Id>(Id{found->index});
  }
  // Live ones in order of creation: visit(id, entry).
  template <class F>
  void ForEach(F&& visit) const {
    entries_.ForEach([&](size_t i, const Entry& entry) {
      if (entry.live) visit(Id{static_cast<uint32_t>(i)}, entry);
    });
  }

  // The caller has looked whether the name is free.
  Id Add(EditId edit, Name name, uint64_t at_ms) {
    Id id{static_cast<uint32_t>(entries_.size())};
    Restore(edit, id, std::move(name), at_ms, 0);
    return id;
  }
  // With the number that it has had; the numbers between stay empty. Must be free.
  void Restore(EditId edit, Id id, Name name, uint64_t created_at_ms, uint64_t updated_at_ms) {
    while (entries_.size() <= Index(id)) entries_.PushBack(edit, {});
    by_name_.Add(edit, {HashOf(name), Index(id)});
    entries_.Edit(edit, Index(id)) = {std::move(name), created_at_ms, updated_at_ms, true};
  }
  void Rename(EditId edit, Id id, Name name, uint64_t at_ms) {
    Forget(edit, id);
    by_name_.Add(edit, {HashOf(name), Index(id)});
    Entry& entry = entries_.Edit(edit, Index(id));
    entry.name = std::move(name);
    entry.updated_at_ms = at_ms;
  }
  void Remove(EditId edit, Id id) {
    Forget(edit, id);
    entries_.Edit(edit, Index(id)).live = false;
  }

 private:
  // Numbers by the hash of their names; the names lie in the entries.
  struct Slot {
    uint64_t hash = 0;
    uint32_t index = 0;
  };
  struct SlotHash {
    uint64_t operator()(const Slot& slot) const { return slot.hash; }
  };

  static uint32_t Index(Id id) { return static_cast<uint32_t>(id); }
  static uint64_t HashOf(std::string_view name) { return std::hash<std::string_view>()(name); }
  static uint64_t HashOf(const Uuid& name) { return std::hash<Uuid>()(name); }
  void Forget(EditId edit, Id id) {
    by_name_.Erase(edit, HashOf(entries_[Index(id)].name),
                   [&](const Slot& slot) { return slot.index == Index(id); });
  }

  PersistentVector<Entry> entries_;
  PersistentHash<Slot, SlotHash> by_name_;
};

using ResourceClassTable = NameTable<ResourceClassId>;
using TraitTable = NameTable<TraitId>;
using AggregateTable = NameTable<AggregateId, Uuid>;

}  // namespace berth::placement
