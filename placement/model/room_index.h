#pragma once

#include <cstdint>
#include <vector>

#include "common/persistent_vector.h"
#include "placement/model/provider_tree.h"
#include "placement/model/slot_set.h"

namespace berth::placement {

// For each resource class and tree, the most that one provider of the tree could still give in one
// allocation: what tells a search without a look at the tree that it is full. A persistent value, kept in
// step by ResourceDraft.
class RoomIndex {
 public:
  // 0: no provider of the tree has anything left (or none has the class).
  int32_t MostRoom(ResourceClassId resource_class, TreeSlot slot) const {
    const auto i = static_cast<size_t>(resource_class);
    if (i >= by_class_.size() || slot >= by_class_[i].size()) return 0;
    return by_class_[i][slot];
  }

  // The tree in the slot was `before` and is `after` now; nullptr: none.
  void Update(EditId edit, TreeSlot slot, const ProviderTree* before, const ProviderTree* after);

 private:
  void Set(EditId edit, ResourceClassId resource_class, TreeSlot slot, int32_t room);

  PersistentVector<PersistentVector<int32_t>> by_class_;  // by class, then by slot; either may be shorter
};

}  // namespace berth::placement
