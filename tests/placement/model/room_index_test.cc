#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "placement/model/resource_draft.h"

namespace berth::placement {
namespace {

constexpr uint32_t kClasses = 3;

Provider RandomProvider(std::mt19937& random, uint32_t number, const Uuid& parent) {
  Provider provider;
  provider.uuid.bytes[0] = static_cast<uint8_t>(1 + number);
  provider.name = "p" + std::to_string(number);
  provider.parent = parent;
  for (uint32_t c = 0; c < kClasses; ++c) {
    if (random() % 2 == 0) continue;
    Inventory inventory;
    inventory.resource_class = ResourceClassId{c};
    inventory.total = 1 + static_cast<int32_t>(random() % 20);
    inventory.reserved = static_cast<int32_t>(random() % 3);
    inventory.max_unit = 1 + static_cast<int32_t>(random() % 20);
    inventory.allocation_ratio = random() % 3 == 0 ? 1.3 : 1.0;
    provider.inventories.push_back(inventory);
    provider.used.push_back(static_cast<int64_t>(random() % 25));
  }
  return provider;
}

std::shared_ptr<const ProviderTree> RandomTree(std::mt19937& random, uint32_t slot) {
  std::vector<Provider> providers{RandomProvider(random, slot * 4, {})};
  for (uint32_t i = 1; i < 1 + random() % 4; ++i) {
    providers.push_back(RandomProvider(random, slot * 4 + i, providers[0].uuid));
  }
  return ProviderTree::Make(std::move(providers), TreeOwner::kClients);
}

// The largest amount that some provider would serve.
int32_t NaiveRoom(const ProviderTree* tree, ResourceClassId resource_class) {
  int32_t most = 0;
  for (uint32_t i = 0; tree != nullptr && i < tree->size(); ++i) {
    const auto stock = tree->Find(i, resource_class);
    for (int32_t amount = 1; stock.inventory != nullptr && amount <= 40; ++amount) {
      if (stock.Serves(amount)) most = std::max(most, amount);
    }
  }
  return most;
}

TEST(RoomIndex, KnowsTheLargestAmountOfEachTreeAfterAnyChange) {
  std::mt19937 random(7);
  ResourceDraft draft;
  for (uint32_t slot = 0; slot < 40; ++slot) draft.AddTree(RandomTree(random, slot));
  for (int round = 0; round < 2000; ++round) {
    const auto slot = static_cast<TreeSlot>(random() % 40);
    const auto& tree = draft.view().tree(slot);
    draft.NextEdit();
    const ResourceView before = draft.view();
    const int32_t room_before = before.MostRoom(ResourceClassId{0}, slot);
    if (random() % 3 == 0 || tree->inventories(0).empty()) {
      draft.ReplaceTree(slot, RandomTree(random, slot));
    } else {
      const int64_t delta = static_cast<int64_t>(random() % 7) - tree->used(0)[0] / 2;
      if (tree->used(0)[0] + delta < 0) continue;
      draft.ReplaceTree(
          slot,
          tree->WithUsage(
              std::vector<ProviderTree::UsageChange>{{0, tree->inventories(0)[0].resource_class, delta}},
              {}));
    }

    for (uint32_t c = 0; c < kClasses; ++c) {
      ASSERT_EQ(draft.view().MostRoom(ResourceClassId{c}, slot),
                NaiveRoom(draft.view().tree(slot).get(), ResourceClassId{c}));
    }
    ASSERT_EQ(before.MostRoom(ResourceClassId{0}, slot), room_before) << "an older view has changed";
  }
  EXPECT_EQ(draft.view().MostRoom(ResourceClassId{0}, 4000), 0);
  EXPECT_EQ(draft.view().MostRoom(ResourceClassId{4000}, 0), 0);
}

TEST(RoomIndex, ARemovedTreeHasNone) {
  std::mt19937 random(8);
  ResourceDraft draft;
  const TreeSlot slot = draft.AddTree(RandomTree(random, 1));
  draft.RemoveTree(slot);
  for (uint32_t c = 0; c < kClasses; ++c) EXPECT_EQ(draft.view().MostRoom(ResourceClassId{c}, slot), 0);
}

}  // namespace
}  // namespace berth::placement
