#include "placement/model/provider_tree.h"

#include <gtest/gtest.h>

#include "placement/model/resource_draft.h"
#include "tests/placement/model/model_builders.h"

namespace berth::placement {
namespace {

using namespace testing;  // NOLINT(google-build-using-namespace)

Provider Make(uint8_t number, const std::string& name, std::optional<uint8_t> parent = {}) {
  Provider provider;
  provider.uuid = Id(number);
  provider.name = name;
  if (parent) provider.parent = Id(*parent);
  provider.inventories = {{.resource_class = ResourceClassId{0}, .total = 10},
                          {.resource_class = ResourceClassId{2}, .total = 5}};
  provider.used = {0, 0};
  provider.traits = {TraitId{3}};
  return provider;
}

TEST(ProviderTree, IsInPreorderWithSiblingsByName) {
  auto tree = ProviderTree::Make({Make(4, "b", 1), Make(3, "z", 2), Make(1, "root"), Make(2, "a", 1)},
                                 TreeOwner::kClients);

  ASSERT_EQ(tree->size(), 4U);
  EXPECT_EQ(tree->name(0), "root");
  EXPECT_EQ(tree->name(1), "a");
  EXPECT_EQ(tree->name(2), "z");
  EXPECT_EQ(tree->name(3), "b");
  EXPECT_EQ(tree->parent(2), 1U);
  EXPECT_EQ(tree->end(0), 4U);
  EXPECT_EQ(tree->end(1), 3U);
  EXPECT_TRUE(tree->InSubtree(2, 1));
  EXPECT_FALSE(tree->InSubtree(3, 1));
  EXPECT_EQ(tree->At(1), Make(2, "a", 1));
}

TEST(ProviderTree, UsageChangesShareTheRest) {
  auto tree = ProviderTree::Make({Make(1, "root"), Make(2, "a", 1)}, TreeOwner::kClients);
  const ProviderTree::UsageChange change{1, ResourceClassId{2}, 4};
  const uint32_t raised = 1;

  auto next = tree->WithUsage({&change, 1}, {&raised, 1});

  EXPECT_TRUE(next->SharesShape(*tree));
  EXPECT_EQ(next->Find(1, ResourceClassId{2}).used, 4);
  EXPECT_EQ(tree->Find(1, ResourceClassId{2}).used, 0);
  EXPECT_EQ(next->generation(1), 1U);
  EXPECT_EQ(next->generation(0), 0U);
  EXPECT_EQ(next->Find(1, ResourceClassId{9}).inventory, nullptr);
}

TEST(Inventory, ServesWhatUnitsAndCapacityAllow) {
  Inventory inventory{.total = 10, .reserved = 1, .min_unit = 2, .max_unit = 8, .step_size = 2};
  inventory.allocation_ratio = 1.5;  // 13.5

  EXPECT_FALSE(inventory.Serves(0, 1));
  EXPECT_FALSE(inventory.Serves(0, 3));
  EXPECT_FALSE(inventory.Serves(0, 10));
  EXPECT_TRUE(inventory.Serves(5, 8));
  EXPECT_FALSE(inventory.Serves(6, 8));
}

TEST(ResourceDraft, CopiesOfTheViewStayAsTheyWere) {
  ResourceDraft draft;
  TreeSlot slot = draft.AddTree(ProviderTree::Make({Make(1, "one")}, TreeOwner::kClients));
  ResourceView before = draft.view();
  draft.NextEdit();

  draft.RemoveTree(slot);
  draft.AddTree(ProviderTree::Make({Make(2, "two")}, TreeOwner::kClients));

  EXPECT_TRUE(before.FindProvider(Id(1)));
  EXPECT_FALSE(before.FindProvider(Id(2)));
  EXPECT_FALSE(draft.view().FindProvider(Id(1)));
  EXPECT_EQ(draft.view().FindProvider(std::string_view("two")).slot, slot);  // the slot is used again
  EXPECT_TRUE(draft.view().TreesWith(TraitId{3}).Has(slot));
}

TEST(ResourceDraft, ConsumersHoldAndLetGo) {
  ResourceDraft draft;
  draft.AddTree(ProviderTree::Make({Make(1, "one")}, TreeOwner::kClients));
  auto consumer = std::make_shared<Consumer>();
  consumer->uuid = Id(9);
  consumer->project = draft.EnsureProject("p", 1);
  consumer->user = draft.EnsureUser("u", 1);
  consumer->allocations = {{Id(1), ResourceClassId{0}, 3}};

  draft.PutConsumer(consumer);
  EXPECT_EQ(draft.view().ConsumersOf(Id(1)).size(), 1U);
  EXPECT_TRUE(draft.view().FindProvider(Id(1)).tree->InUse(0));
  EXPECT_EQ(draft.view().allocation_count(), 1U);
  draft.RemoveConsumer(Id(9));
  EXPECT_TRUE(draft.view().ConsumersOf(Id(1)).empty());
  EXPECT_FALSE(draft.view().FindProvider(Id(1)).tree->InUse(0));
  size_t groups = 0;
  draft.view().ForEachUsage(consumer->project, {}, [&](const UsageGroup&) { ++groups; });
  EXPECT_EQ(groups, 0U);
}

}  // namespace
}  // namespace berth::placement
