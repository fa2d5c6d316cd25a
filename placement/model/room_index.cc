#include "placement/model/room_index.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace berth::placement {
namespace {

int32_t RoomOf(const Inventory& inventory, int64_t used) {
  const double free = std::floor(inventory.Capacity()) - static_cast<double>(used);
  return static_cast<int32_t>(std::clamp(free, 0.0, static_cast<double>(inventory.max_unit)));
}

using Rooms = std::vector<std::pair<ResourceClassId, int32_t>>;

// Few classes a tree: a list is quicker than a map.
Rooms RoomsOf(const ProviderTree* tree) {
  Rooms rooms;
  for (uint32_t provider = 0; tree != nullptr && provider < tree->size(); ++provider) {
    const auto inventories = tree->inventories(provider);
    const auto used = tree->used(provider);
    for (size_t i = 0; i < inventories.size(); ++i) {
      const int32_t room = RoomOf(inventories[i], used[i]);
      const auto there = std::ranges::find(rooms, inventories[i].resource_class, &Rooms::value_type::first);
      if (there == rooms.end()) {
        rooms.emplace_back(inventories[i].resource_class, room);
      } else {
        there->second = std::max(there->second, room);
      }
    }
  }
  return rooms;
}

}  // namespace

void RoomIndex::Update(EditId edit, TreeSlot slot, const ProviderTree* before, const ProviderTree* after) {
  const Rooms now = RoomsOf(after);
  for (const auto& [resource_class, room] : now) Set(edit, resource_class, slot, room);
  if (before == nullptr || (after != nullptr && before->SharesShape(*after))) return;
  for (const auto& [resource_class, room] : RoomsOf(before)) {
    if (std::ranges::find(now, resource_class, &Rooms::value_type::first) == now.end())
      Set(edit, resource_class, slot, 0);
  }
}

void RoomIndex::Set(EditId edit, ResourceClassId resource_class, TreeSlot slot, int32_t room) {
  if (MostRoom(resource_class, slot) == room) return;
  const auto i = static_cast<size_t>(resource_class);
  while (by_class_.size() <= i) by_class_.PushBack(edit, {});
  PersistentVector<int32_t>& column = by_class_.Edit(edit, i);
  while (column.size() <= slot) column.PushBack(edit, 0);
  column.Edit(edit, slot) = room;
}

}  // namespace berth::placement
