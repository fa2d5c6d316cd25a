#include <gtest/gtest.h>

#include "db/record_codec.h"
#include "placement/engine/engine.h"
#include "placement/engine/refusal.h"
#include "placement/engine/state_audit.h"
#include "placement/model/capacity.h"
#include "placement/model/projection.h"
#include "tests/placement/model/model_builders.h"

// The commands of the Placement model: one rule each. Texts are those that clients compare.
namespace berth::placement {
namespace {

using namespace testing;  // NOLINT(google-build-using-namespace)

InventoryInput Inv(std::string resource_class, int32_t total, double ratio = 1.0) {
  InventoryInput input;
  input.resource_class = std::move(resource_class);
  input.total = total;
  input.allocation_ratio = ratio;
  return input;
}

class ResourceEngineTest : public ::testing::Test {
 protected:
  template <class Body>
  Result<Outcome> Apply(Body body) {
    auto outcome = engine_->Apply({.at_ms = ++now_, .actor = "test", .body = std::move(body)});
    engine_->Commit();
    return outcome;
  }
  // The refusal's code and text: "conflict: text"; "" if it was accepted.
  template <class Body>
  std::string Refused(Body body) {
    auto outcome = Apply(std::move(body));
    if (outcome) return "";
    EXPECT_TRUE(RefusalOf(outcome.error()).has_value()) << outcome.error().ToString();
    return outcome.error().field().substr(10) + ": " + outcome.error().message();
  }
  void Provide(uint8_t number, std::optional<uint8_t> parent = {}) {
    CreateProvider create{Id(number), "p" + std::to_string(number), {}};
    if (parent) create.parent = Id(*parent);
    ASSERT_EQ(Refused(create), "");
  }
  void Stock(uint8_t number, std::vector<InventoryInput> inventories) {
    ASSERT_EQ(Refused(SetInventories{Id(number), {}, std::move(inventories)}), "");
  }
  // A write of one consumer as 1.28 to 1.37 make it.
  static SetAllocations Allocate(uint8_t consumer, std::optional<uint64_t> generation,
                                 std::vector<AllocationInput> allocations) {
    ConsumerInput input;
    input.consumer = Id(consumer);
    input.project = "project";
    input.user = "user";
    input.check_generation = true;
    input.generation = generation;
    input.allocations = std::move(allocations);
    return {{std::move(input)}, false};
  }
  const ResourceView& View() const { return engine_->resources(); }
  ProviderRef At(uint8_t number) const { return View().FindProvider(Id(number)); }
  int64_t Used(uint8_t number, std::string_view resource_class) const {
    ProviderRef at = At(number);
    return at.tree->Find(at.index, *View().resource_classes().Find(resource_class)).used;
  }
  int64_t Used(const Uuid& provider, std::string_view resource_class) const {
    ProviderRef at = View().FindProvider(provider);
    return at.tree->Find(at.index, *View().resource_classes().Find(resource_class)).used;
  }
  std::string Uuid1(uint8_t number) const { return Id(number).ToString(); }

  std::unique_ptr<Engine> engine_ = *Engine::Restore({});
  uint64_t now_ = 1000;
};

TEST_F(ResourceEngineTest, StandardNamesAreThereInOrder) {
  EXPECT_EQ(View().resource_classes().Find(std::string_view("VCPU")), ResourceClassId{0});
  EXPECT_EQ(View().resource_classes().Find(std::string_view("MEMORY_MB")), ResourceClassId{1});
  EXPECT_TRUE(View().traits().Find(std::string_view("MISC_SHARES_VIA_AGGREGATE")).has_value());
}

TEST_F(ResourceEngineTest, CreatesAProviderWithGenerationZero) {
  Result<Outcome> outcome = Apply(CreateProvider{Id(1), "one", {}});

  ASSERT_TRUE(outcome.has_value());
  EXPECT_EQ(outcome->provider.name(), "one");
  EXPECT_EQ(outcome->generation, 0U);
  EXPECT_EQ(At(1).tree->created_at_ms(0), now_);
  EXPECT_EQ(View().FindProvider(std::string_view("one")).uuid(), Id(1));
}

TEST_F(ResourceEngineTest, RefusesKnownNamesAndUuids) {
  Provide(1);

  EXPECT_EQ(Refused(CreateProvider{Id(2), "p1", {}}),
            "duplicate_name: Conflicting resource provider name: p1 already exists.");
  EXPECT_EQ(Refused(CreateProvider{Id(1), "other", {}}),
            "duplicate_name: Conflicting resource provider uuid: " + Uuid1(1) + " already exists.");
  EXPECT_EQ(Refused(CreateProvider{Id(3), "p3", Id(9)}),
            "bad_request: Unable to create resource provider \"p3\", " + Uuid1(3) +
                ": Object action create failed because: parent provider UUID does not exist.");
}

TEST_F(ResourceEngineTest, TreesGrowMoveAndLoseTheirLeavesFirst) {
  Provide(1);
  Provide(2, 1);
  Provide(3, 2);
  Provide(4);
  EXPECT_EQ(At(3).tree->size(), 3U);

  UpdateProvider move{Id(2), "p2", true, Id(4), false};
  EXPECT_EQ(Refused(move),
            "bad_request: Unable to save resource provider " + Uuid1(2) +
                ": Object action update failed because: re-parenting a provider is not currently "
                "allowed.");
  move.allow_reparenting = true;
  EXPECT_EQ(Refused(move), "");
  EXPECT_EQ(At(3).tree->uuid(0), Id(4));
  EXPECT_EQ(At(1).tree->size(), 1U);
  EXPECT_EQ(Refused(UpdateProvider{Id(4), "p4", true, Id(3), true}),
            "bad_request: Unable to save resource provider " + Uuid1(4) +
                ": Object action update failed because: creating loop in the provider tree is not allowed.");
  EXPECT_EQ(Refused(DeleteProvider{Id(2)}), "provider_is_parent: Unable to delete parent resource provider " +
                                                Uuid1(2) + ": It has child resource providers.");
  EXPECT_EQ(Refused(UpdateProvider{Id(2), "p2", true, {}, true}), "");
  EXPECT_EQ(At(3).tree->uuid(0), Id(2));
  EXPECT_EQ(Refused(DeleteProvider{Id(3)}), "");
  EXPECT_EQ(Refused(DeleteProvider{Id(3)}),
            "not_found: No resource provider with uuid " + Uuid1(3) + " found for delete");
  EXPECT_EQ(At(2).generation(), 0U);  // neither names nor places count
}

TEST_F(ResourceEngineTest, InventoriesRaiseTheGenerationAndAreCheckedAgainstIt) {
  Provide(1);

  EXPECT_EQ(Refused(SetInventories{Id(1), 0, {Inv("VCPU", 8), Inv("DISK_GB", 10)}}), "");
  EXPECT_EQ(At(1).generation(), 1U);
  EXPECT_EQ(Refused(SetInventories{Id(1), 0, {}}),
            "concurrent_update: resource provider generation conflict");
  EXPECT_EQ(Refused(SetInventories{Id(1), 1, {Inv("CUSTOM_NONE", 8)}}),
            "bad_request: Unknown resource class in inventory for resource provider " + Uuid1(1) +
                ": No such resource class CUSTOM_NONE.");
  EXPECT_EQ(Refused(UpdateInventory{Id(1), 1, Inv("MEMORY_MB", 1)}),
            "bad_request: No inventory record with resource class for resource provider " + Uuid1(1) +
                ": No inventory of class MEMORY_MB found.");
  EXPECT_EQ(Refused(AddInventory{Id(1), Inv("MEMORY_MB", 1)}), "");
  EXPECT_EQ(Refused(RemoveInventory{Id(1), "MEMORY_MB"}), "");
  EXPECT_EQ(At(1).generation(), 3U);
}

TEST_F(ResourceEngineTest, ReservedMayEqualTotalSinceOneTwentySix) {
  Provide(1);
  InventoryInput full = Inv("VCPU", 4);
  full.reserved = 4;
  SetInventories set{Id(1), {}, {full}, false};

  EXPECT_EQ(Refused(set), "bad_request: Unable to update inventory for resource provider " + Uuid1(1) +
                              ": Invalid inventory for 'VCPU' on resource provider '" + Uuid1(1) +
                              "'. The reserved value is greater than or equal to total.");
  set.reserved_may_equal_total = true;
  EXPECT_EQ(Refused(set), "");
}

TEST_F(ResourceEngineTest, ClassesInUseStay) {
  Provide(1);
  EXPECT_TRUE(Apply(CreateResourceClass{"CUSTOM_A"})->created);
  EXPECT_EQ(Refused(CreateResourceClass{"CUSTOM_A"}),
            "conflict: Conflicting resource class already exists: CUSTOM_A");
  EXPECT_FALSE(Apply(CreateResourceClass{"CUSTOM_A", true})->created);
  EXPECT_EQ(Refused(RenameResourceClass{"CUSTOM_A", "CUSTOM_B"}), "");
  Stock(1, {Inv("CUSTOM_B", 2)});

  EXPECT_EQ(
      Refused(DeleteResourceClass{"CUSTOM_B"}),
      "conflict: Error in delete resource class: Cannot delete resource class CUSTOM_B. Class is in use in "
      "inventory.");
  EXPECT_EQ(Refused(DeleteResourceClass{"VCPU"}),
            "bad_request: Error in delete resource class: Cannot delete standard resource class VCPU.");
  Stock(1, {});
  EXPECT_EQ(Refused(DeleteResourceClass{"CUSTOM_B"}), "");
  EXPECT_EQ(Refused(DeleteResourceClass{"CUSTOM_B"}), "not_found: No such resource class CUSTOM_B.");
}

TEST_F(ResourceEngineTest, TraitsCountWhenTheyDiffer) {
  Provide(1);
  EXPECT_TRUE(Apply(CreateTrait{"CUSTOM_T"})->created);
  EXPECT_FALSE(Apply(CreateTrait{"CUSTOM_T"})->created);

  EXPECT_EQ(Refused(SetTraits{Id(1), 0, {"CUSTOM_T", "HW_CPU_X86_AVX"}}), "");
  EXPECT_EQ(At(1).generation(), 1U);
  EXPECT_EQ(Refused(SetTraits{Id(1), 1, {"HW_CPU_X86_AVX", "CUSTOM_T"}}), "");
  EXPECT_EQ(At(1).generation(), 1U);
  EXPECT_EQ(Refused(SetTraits{Id(1), 1, {"CUSTOM_X"}}), "bad_request: No such trait CUSTOM_X");
  EXPECT_EQ(Refused(DeleteTrait{"CUSTOM_T"}),
            "conflict: The trait CUSTOM_T is in use by a resource provider.");
  EXPECT_EQ(Refused(SetTraits{Id(1), {}, {}}), "");
  EXPECT_EQ(Refused(DeleteTrait{"CUSTOM_T"}), "");
  EXPECT_EQ(Refused(DeleteTrait{"CUSTOM_T"}), "not_found: No such trait(s): CUSTOM_T.");
  EXPECT_TRUE(View().TreesWith(*View().traits().Find(std::string_view("HW_CPU_X86_AVX"))).Empty());
}

TEST_F(ResourceEngineTest, AggregatesRaiseTheGenerationOnlyWithOne) {
  Provide(1);

  EXPECT_EQ(Refused(SetAggregates{Id(1), {}, {Id(50)}, false}), "");
  EXPECT_EQ(At(1).generation(), 0U);
  EXPECT_EQ(Refused(SetAggregates{Id(1), 0, {Id(50), Id(51)}, true}), "");
  EXPECT_EQ(At(1).generation(), 1U);
  EXPECT_TRUE(View().TreesIn(*View().aggregates().Find(Id(51))).Has(At(1).slot));
}

TEST_F(ResourceEngineTest, AllocationsMakeConsumersWithGenerations) {
  Provide(1);
  Stock(1, {Inv("VCPU", 8)});

  EXPECT_EQ(Refused(Allocate(9, {}, {{Id(1), "VCPU", 3}})), "");
  EXPECT_EQ(Used(1, "VCPU"), 3);
  EXPECT_EQ(View().FindConsumer(Id(9))->generation, 1U);
  EXPECT_EQ(At(1).generation(), 2U);
  EXPECT_EQ(Refused(Allocate(9, {}, {{Id(1), "VCPU", 4}})),
            "concurrent_update: consumer generation conflict - expected 1 but got None");
  EXPECT_EQ(Refused(Allocate(8, 5, {{Id(1), "VCPU", 4}})),
            "concurrent_update: consumer generation conflict - expected null but got 5");
  EXPECT_EQ(Refused(Allocate(9, 1, {{Id(1), "VCPU", 8}})), "");
  EXPECT_EQ(Used(1, "VCPU"), 8);
  EXPECT_EQ(Refused(DeleteProvider{Id(1)}), "provider_in_use: Unable to delete resource provider " +
                                                Uuid1(1) + ": Resource provider has allocations.");
  EXPECT_EQ(Refused(RemoveInventories{Id(1)}),
            "inventory_in_use: Inventory for 'VCPU' on resource provider '" + Uuid1(1) + "' in use.");
  EXPECT_EQ(Refused(Allocate(9, 2, {})), "");
  EXPECT_EQ(View().FindConsumer(Id(9)), nullptr);
  EXPECT_EQ(Refused(DeleteAllocations{Id(9)}), "not_found: No allocations for consumer '" + Uuid1(9) + "'");
}

TEST_F(ResourceEngineTest, AmountsObeyUnitsAndCapacity) {
  Provide(1);
  InventoryInput vcpu = Inv("VCPU", 8, 1.5);
  vcpu.min_unit = 2;
  vcpu.max_unit = 6;
  vcpu.step_size = 2;
  Stock(1, {vcpu});
  const std::string unable =
      "conflict: Unable to allocate inventory: Unable to create allocation for 'VCPU' on resource provider "
      "'" +
      Uuid1(1) + "'. The requested amount would ";

  for (int32_t amount : {1, 3, 8}) {
    EXPECT_EQ(Refused(Allocate(9, {}, {{Id(1), "VCPU", amount}})), unable + "violate inventory constraints.");
  }
  EXPECT_EQ(Refused(Allocate(9, {}, {{Id(1), "VCPU", 6}})), "");
  EXPECT_EQ(Refused(Allocate(8, {}, {{Id(1), "VCPU", 6}})), "");
  EXPECT_EQ(Refused(Allocate(7, {}, {{Id(1), "VCPU", 2}})), unable + "exceed the capacity.");
  EXPECT_EQ(Refused(Allocate(7, {}, {{Id(1), "DISK_GB", 2}})),
            "conflict: Unable to allocate inventory: Inventory for 'DISK_GB' on resource provider '" +
                Uuid1(1) + "' invalid.");
  EXPECT_EQ(Refused(Allocate(7, {}, {{Id(3), "VCPU", 2}})),
            "bad_request: Allocation for resource provider '" + Uuid1(3) + "' that does not exist.");
  EXPECT_EQ(Refused(Allocate(7, {}, {{Id(1), "CUSTOM_X", 2}})),
            "bad_request: Unable to allocate inventory for consumer " + Uuid1(7) +
                ": No such resource class CUSTOM_X.");
}

TEST_F(ResourceEngineTest, AnOvercommittedProviderMayGetBetterButNotWorse) {
  Provide(1);
  Stock(1, {Inv("VCPU", 8)});
  ASSERT_EQ(Refused(Allocate(9, {}, {{Id(1), "VCPU", 6}})), "");
  Stock(1, {Inv("VCPU", 4)});

  EXPECT_NE(Refused(Allocate(9, 1, {{Id(1), "VCPU", 7}})), "");
  EXPECT_EQ(Refused(Allocate(9, 1, {{Id(1), "VCPU", 5}})), "");
  EXPECT_EQ(Used(1, "VCPU"), 5);
}

TEST_F(ResourceEngineTest, ManyConsumersAllOrNone) {
  Provide(1);
  Stock(1, {Inv("VCPU", 8)});
  ASSERT_EQ(Refused(Allocate(9, {}, {{Id(1), "VCPU", 5}})), "");
  SetAllocations move = Allocate(9, 1, {});
  move.consumers.push_back(Allocate(10, {}, {{Id(1), "VCPU", 9}}).consumers[0]);
  move.many = true;
  const std::string before = db::EncodeContents(engine_->Export());

  EXPECT_NE(Refused(move), "");
  EXPECT_EQ(db::EncodeContents(engine_->Export()), before);
  move.consumers[1].allocations[0].amount = 8;
  EXPECT_EQ(Refused(move), "");
  EXPECT_EQ(View().FindConsumer(Id(9)), nullptr);
  EXPECT_EQ(Used(1, "VCPU"), 8);
}

TEST_F(ResourceEngineTest, UsagesFollowProjectUserAndType) {
  Provide(1);
  Stock(1, {Inv("VCPU", 80), Inv("DISK_GB", 80)});
  SetAllocations typed = Allocate(9, {}, {{Id(1), "VCPU", 3}, {Id(1), "DISK_GB", 2}});
  typed.consumers[0].consumer_type = "INSTANCE";
  ASSERT_EQ(Refused(typed), "");
  ASSERT_EQ(Refused(Allocate(8, {}, {{Id(1), "VCPU", 1}})), "");
  typed.consumers[0].project = "other";
  typed.consumers[0].generation = 1;
  std::map<std::string, std::string> groups;
  auto tell = [&](const UsageGroup& group) {
    std::string& text = groups[View().consumer_types().name(group.type)];
    text = std::to_string(group.consumers);
    for (const auto& [id, used] : group.used) {
      text += " " + View().resource_classes().name(id) + "=" + std::to_string(used);
    }
  };

  View().ForEachUsage(*View().projects().Find(std::string_view("project")), {}, tell);
  EXPECT_EQ(groups["INSTANCE"], "1 VCPU=3 DISK_GB=2");
  EXPECT_EQ(groups["unknown"], "1 VCPU=1");
  ASSERT_EQ(Refused(typed), "");  // moves to the other project
  groups.clear();
  View().ForEachUsage(*View().projects().Find(std::string_view("project")), {}, tell);
  EXPECT_EQ(groups.size(), 1U);
}

TEST_F(ResourceEngineTest, ReshaperMovesInventoryWithItsAllocations) {
  Provide(1);
  Provide(2, 1);
  Stock(1, {Inv("VGPU", 4), Inv("VCPU", 4)});
  ASSERT_EQ(Refused(Allocate(9, {}, {{Id(1), "VGPU", 2}, {Id(1), "VCPU", 1}})), "");
  Reshape reshape;
  reshape.providers = {{Id(1), 1, {Inv("VCPU", 4)}}, {Id(2), 0, {Inv("VGPU", 4)}}};
  reshape.consumers = Allocate(9, 1, {{Id(2), "VGPU", 2}, {Id(1), "VCPU", 1}}).consumers;

  EXPECT_EQ(Refused(reshape), "concurrent_update: resource provider generation conflict for provider " +
                                  Uuid1(1) + ": actual: 2, given: 1");
  reshape.providers[0].generation = 2;
  EXPECT_EQ(Refused(reshape), "");
  EXPECT_EQ(Used(2, "VGPU"), 2);
  EXPECT_EQ(At(1).tree->inventories(At(1).index).size(), 1U);
  EXPECT_EQ(At(1).generation(), 5U);  // union, allocations, final
  EXPECT_EQ(At(2).generation(), 3U);
  Reshape empty;
  empty.providers = {{Id(2), 3, {}}};
  EXPECT_EQ(Refused(empty), "inventory_in_use: update conflict: Inventory for 'VGPU' on resource provider '" +
                                Uuid1(2) + "' in use.");
  Reshape stranger;
  stranger.providers = {{Id(7), 3, {}}};
  EXPECT_EQ(Refused(stranger), "provider_unknown: Resource provider " + Uuid1(7) +
                                   " in inventories not found: No resource provider with uuid " + Uuid1(7) +
                                   " found");
}

TEST_F(ResourceEngineTest, AHostAppearsAsATree) {
  ASSERT_TRUE(Apply(ReportHost{MakeHost()}).has_value());

  ProviderRef root = At(1);
  ASSERT_TRUE(root);
  EXPECT_EQ(root.tree->owner(), TreeOwner::kAgent);
  std::vector<std::string> names;
  for (uint32_t i = 0; i < root.tree->size(); ++i) names.emplace_back(root.tree->name(i));
  EXPECT_EQ(names, (std::vector<std::string>{"host1", "host1_numa_0", "host1_0000:01:00.0",
                                             "host1_0000:02:00.0", "host1_numa_1", "host1_0000:03:00.0"}));
  EXPECT_TRUE(root.tree->HasTrait(1, *View().traits().Find(std::string_view("HW_NUMA_ROOT"))));
  auto vf = root.tree->Find(3, *View().resource_classes().Find(std::string_view("CUSTOM_PCI_8086_1889")));
  ASSERT_NE(vf.inventory, nullptr);
  EXPECT_EQ(vf.inventory->total, 2);
  auto pcpu = root.tree->Find(1, *View().resource_classes().Find(std::string_view("PCPU")));
  EXPECT_EQ(pcpu.inventory->total, 4);
}

TEST_F(ResourceEngineTest, ClaimsAreAllocationsOfTheirConsumer) {
  ASSERT_TRUE(Apply(ReportHost{MakeHost()}).has_value());
  Claim claim = NumaClaim(1, {GuestCell(0, 0, 0, 2, 64, {4, 5})});
  claim.devices = {Bind(Pci(2, 1))};
  ASSERT_TRUE(Apply(CreateClaim{claim, {}}).has_value());

  auto consumer = View().FindConsumer(claim.consumer);
  ASSERT_NE(consumer, nullptr);
  EXPECT_TRUE(consumer->is_instance);
  EXPECT_EQ(consumer->allocations.size(), 4U);
  ProviderRef cell = View().FindProvider(CellProviderUuid(Id(1), 0));
  EXPECT_EQ(cell.tree->Find(cell.index, *View().resource_classes().Find(std::string_view("PCPU"))).used, 2);
  EXPECT_EQ(cell.generation(), 1U);
  EXPECT_EQ(Refused(DeleteAllocations{claim.consumer}).substr(0, 8), "conflict");
  ASSERT_TRUE(Apply(ReleaseClaim{"vm1"}).has_value());
  EXPECT_NE(View().FindConsumer(claim.consumer), nullptr);
  ASSERT_TRUE(Apply(FinalizeClaim{claim.consumer}).has_value());
  EXPECT_EQ(View().FindConsumer(claim.consumer), nullptr);
  EXPECT_EQ(View().allocation_count(), 0U);
}

TEST_F(ResourceEngineTest, AllocationsOnAHostAreBoundToExactResources) {
  ASSERT_TRUE(Apply(ReportHost{MakeHost()}).has_value());
  Uuid cell = CellProviderUuid(Id(1), 0);
  Uuid pf = DeviceProviderUuid(Id(1), Pci(2));

  EXPECT_EQ(
      Refused(Allocate(9, {}, {{cell, "PCPU", 2}, {cell, "MEMORY_MB", 64}, {pf, "CUSTOM_PCI_8086_1889", 1}})),
      "");
  auto hosts = engine_->Hosts();
  ASSERT_EQ(hosts[0]->claims.size(), 1U);
  const Claim& claim = *hosts[0]->claims[0];
  EXPECT_TRUE(claim.external);
  ASSERT_EQ(claim.cells.size(), 1U);
  EXPECT_EQ(claim.cells[0].pinning.size(), 2U);
  ASSERT_EQ(claim.devices.size(), 1U);
  EXPECT_EQ(claim.devices[0].address, Pci(2, 1));
  // The PF is blocked by its VF, although its own inventory of 1 is free.
  EXPECT_EQ(Refused(Allocate(8, {}, {{pf, "CUSTOM_PCI_8086_1592", 1}})),
            "conflict: Unable to allocate inventory: CUSTOM_PCI_8086_1592 of provider " + pf.ToString() +
                " of host host1: have 0, need 1");
  EXPECT_EQ(Apply(ReleaseClaim{Id(9).ToString()}).status().code(), StatusCode::kFailedPrecondition);
  EXPECT_EQ(Refused(DeleteAllocations{Id(9)}), "");
  EXPECT_TRUE(engine_->Hosts()[0]->claims.empty());
  EXPECT_EQ(engine_->Hosts()[0]->usage, HostUsage{});
}

TEST_F(ResourceEngineTest, AHostsTreeIsItsAgents) {
  ASSERT_TRUE(Apply(ReportHost{MakeHost()}).has_value());
  ASSERT_EQ(Refused(CreateTrait{"CUSTOM_RACK"}), "");

  EXPECT_EQ(Refused(SetInventories{Id(1), {}, {Inv("VCPU", 1)}}),
            "conflict: Unable to change inventories of resource provider " + Uuid1(1) +
                ": they follow from the report of host host1.");
  EXPECT_NE(Refused(DeleteProvider{DeviceProviderUuid(Id(1), Pci(1))}), "");
  EXPECT_NE(Refused(UpdateProvider{Id(1), "renamed", false, {}, true}), "");
  EXPECT_EQ(Refused(SetTraits{Id(1), {}, {"CUSTOM_RACK"}}), "");
  EXPECT_EQ(Refused(SetAggregates{Id(1), {}, {Id(40)}, true}), "");
  HostReport changed = MakeHost();
  changed.cells[0].dedicated_cpus = {};
  ASSERT_TRUE(Apply(ReportHost{changed}).has_value());
  EXPECT_TRUE(At(1).tree->HasTrait(0, *View().traits().Find(std::string_view("CUSTOM_RACK"))));
  EXPECT_EQ(At(1).tree->aggregates(0).size(), 1U);
}

TEST_F(ResourceEngineTest, AClaimThatIsRenewedKeepsTheDeviceThatTheHostNoLongerReports) {
  ASSERT_TRUE(Apply(ReportHost{MakeHost()}).has_value());
  Uuid pf = DeviceProviderUuid(Id(1), Pci(2));
  ASSERT_EQ(Refused(Allocate(9, {}, {{pf, "CUSTOM_PCI_8086_1889", 1}})), "");
  const PciAddress held = engine_->Hosts()[0]->claims[0]->devices[0].address;
  HostReport shrunk = MakeHost();
  shrunk.devices.resize(1);  // the PF and its VFs are gone
  ASSERT_TRUE(Apply(ReportHost{shrunk}).has_value());

  ASSERT_EQ(Refused(Allocate(9, 1, {{pf, "CUSTOM_PCI_8086_1889", 1}})), "");

  EXPECT_NE(FindDevice(*engine_->Hosts()[0]->report, held), nullptr);
  EXPECT_EQ(Used(pf, "CUSTOM_PCI_8086_1889"), 1);
  // A migration's consumer takes it over: still there, for as long as somebody holds it.
  SetAllocations swap = Allocate(9, 2, {});
  swap.consumers.push_back(Allocate(10, {}, {{pf, "CUSTOM_PCI_8086_1889", 1}}).consumers[0]);
  swap.many = true;
  ASSERT_EQ(Refused(swap), "");
  EXPECT_EQ(engine_->Hosts()[0]->usage.devices.at(held), Id(10));
  EXPECT_NE(FindDevice(*engine_->Hosts()[0]->report, held), nullptr);
  db::Contents contents = engine_->Export();
  auto restored = Engine::Restore(contents);
  ASSERT_TRUE(restored.has_value()) << restored.status().ToString();
  for (const AuditFinding& finding : AuditState(**restored, contents))
    EXPECT_FALSE(finding.error) << finding.text;
  ASSERT_EQ(Refused(DeleteAllocations{Id(10)}), "");
  EXPECT_EQ(*engine_->Hosts()[0]->report, shrunk);
}

TEST_F(ResourceEngineTest, ClientsMayHangProvidersBelowAHosts) {
  ASSERT_TRUE(Apply(ReportHost{MakeHost()}).has_value());

  ASSERT_EQ(Refused(CreateProvider{Id(30), "host1:agent", Id(1)}), "");
  ASSERT_EQ(Refused(CreateProvider{Id(31), "host1:agent:br0", Id(30)}), "");
  Stock(31, {Inv("NET_BW_EGR_KILOBIT_PER_SEC", 1000)});
  EXPECT_EQ(At(31).tree->uuid(0), Id(1));
  EXPECT_EQ(At(31).tree->owner(At(31).index), TreeOwner::kClients);
  EXPECT_EQ(Refused(UpdateProvider{Id(31), "host1:agent:br1", false, {}, false}), "");
  EXPECT_EQ(Refused(DeleteProvider{Id(30)}).substr(0, 18), "provider_is_parent");
  EXPECT_NE(Refused(SetInventories{Id(1), {}, {Inv("VCPU", 1)}}), "");
  // Amounts only: nothing exact is held, beside what the cell gives.
  ASSERT_EQ(
      Refused(Allocate(
          9, {}, {{Id(31), "NET_BW_EGR_KILOBIT_PER_SEC", 400}, {CellProviderUuid(Id(1), 0), "VCPU", 1}})),
      "");
  EXPECT_EQ(Used(31, "NET_BW_EGR_KILOBIT_PER_SEC"), 400);
  EXPECT_EQ(engine_->Hosts()[0]->claims.size(), 1U);
  EXPECT_EQ(Refused(DeleteProvider{Id(31)}).substr(0, 15), "provider_in_use");
  ASSERT_EQ(Refused(DeleteAllocations{Id(9)}), "");
  ASSERT_EQ(Refused(DeleteProvider{Id(31)}), "");
  ASSERT_EQ(Refused(DeleteProvider{Id(30)}), "");
  EXPECT_EQ(At(1).tree->size(), 6U);
}

TEST_F(ResourceEngineTest, WhatClientsHangBelowAHostSurvivesItsReports) {
  ASSERT_TRUE(Apply(ReportHost{MakeHost()}).has_value());
  Uuid pf = DeviceProviderUuid(Id(1), Pci(2));
  ASSERT_EQ(Refused(CreateProvider{Id(30), "host1:pf", pf}), "");
  ASSERT_EQ(Refused(CreateProvider{Id(31), "host1:pf:part", Id(30)}), "");
  Stock(31, {Inv("NET_BW_EGR_KILOBIT_PER_SEC", 1000)});
  ASSERT_EQ(Refused(Allocate(9, {}, {{Id(31), "NET_BW_EGR_KILOBIT_PER_SEC", 400}})), "");
  const uint64_t generation = At(31).generation();

  HostReport shrunk = MakeHost();
  shrunk.devices.resize(1);
  ASSERT_TRUE(Apply(ReportHost{shrunk}).has_value());

  EXPECT_EQ(At(30).tree->uuid(At(30).tree->parent(At(30).index)), Id(1));  // its parent is gone
  EXPECT_EQ(At(31).tree->uuid(At(31).tree->parent(At(31).index)), Id(30));
  EXPECT_EQ(At(31).generation(), generation);
  EXPECT_EQ(Used(31, "NET_BW_EGR_KILOBIT_PER_SEC"), 400);
  auto restored = Engine::Restore(engine_->Export());
  ASSERT_TRUE(restored.has_value()) << restored.status().ToString();
  EXPECT_EQ(db::EncodeContents((*restored)->Export()), db::EncodeContents(engine_->Export()));
  ProviderRef guest = (*restored)->resources().FindProvider(Id(31));
  EXPECT_EQ(guest.tree->owner(guest.index), TreeOwner::kClients);

  Result<Outcome> gone = Apply(DeleteHost{Id(1)});
  ASSERT_FALSE(gone.has_value());
  EXPECT_EQ(gone.status().message(), "host host1 has allocations of consumers without claims");
  ASSERT_EQ(Refused(DeleteAllocations{Id(9)}), "");
  ASSERT_TRUE(Apply(DeleteHost{Id(1)}).has_value());
  EXPECT_FALSE(At(31));
}

TEST_F(ResourceEngineTest, AClientsTreeMayMoveBelowAHostAndAwayAgain) {
  ASSERT_TRUE(Apply(ReportHost{MakeHost()}).has_value());
  Provide(20);
  Provide(21, 20);

  ASSERT_EQ(Refused(UpdateProvider{Id(20), "p20", true, Id(1), true}), "");
  EXPECT_EQ(At(21).tree->uuid(0), Id(1));
  EXPECT_EQ(At(21).tree->owner(At(21).index), TreeOwner::kClients);
  ASSERT_EQ(Refused(UpdateProvider{Id(21), "p21", true, {}, true}), "");
  EXPECT_EQ(At(21).tree->owner(), TreeOwner::kClients);
  EXPECT_EQ(At(21).tree->size(), 1U);
}

TEST_F(ResourceEngineTest, AReportThatNeedsTheNameOfAClientsProviderSaysSo) {
  HostReport small = MakeHost();
  small.devices.resize(1);
  ASSERT_TRUE(Apply(ReportHost{small}).has_value());
  ASSERT_EQ(Refused(CreateProvider{Id(30), "host1_0000:02:00.0", Id(1)}), "");

  Result<Outcome> outcome = Apply(ReportHost{MakeHost()});

  ASSERT_FALSE(outcome.has_value());
  EXPECT_EQ(outcome.status().code(), StatusCode::kAlreadyExists);
  EXPECT_EQ(outcome.status().message(),
            "resource provider " + Uuid1(30) +
                " has the name \"host1_0000:02:00.0\" or the UUID of a provider of host \"host1\"");
}

// Numbers of names are never given again, and a restart refuses numbers beyond the limit.
TEST_F(ResourceEngineTest, NamesBeyondTheLimitAreRefusedWhenTheyCome) {
  const uint32_t standard = static_cast<uint32_t>(View().traits().slots());
  engine_ = *Engine::Restore({}, standard + 1);
  ASSERT_EQ(Refused(CreateTrait{"CUSTOM_1"}), "");
  ASSERT_EQ(Refused(DeleteTrait{"CUSTOM_1"}), "");

  EXPECT_EQ(
      Refused(CreateTrait{"CUSTOM_2"}),
      "conflict: There have been " + std::to_string(standard + 1) +
          " different traits, deleted ones included, which is the most that this service can know: no new "
          "name is taken.");
  EXPECT_FALSE(View().traits().Find(std::string_view("CUSTOM_2")).has_value());
  EXPECT_EQ(Refused(CreateTrait{"HW_CPU_X86_AVX"}), "");  // one that is there
  HostReport report = MakeHost();
  report.devices[0].traits = {"CUSTOM_RACK"};
  Result<Outcome> outcome = Apply(ReportHost{report});
  ASSERT_FALSE(outcome.has_value());
  EXPECT_EQ(outcome.status().code(), StatusCode::kResourceExhausted);
  EXPECT_EQ(outcome.status().field(), "devices");
  EXPECT_FALSE(At(1));
}

TEST_F(ResourceEngineTest, NothingIsNamedTwice) {
  Provide(1);
  EXPECT_EQ(Refused(SetInventories{Id(1), {}, {Inv("VCPU", 8), Inv("VCPU", 9)}}),
            "bad_request: Inventory of class VCPU is named twice.");
  Stock(1, {Inv("VCPU", 8)});

  EXPECT_EQ(Refused(Allocate(9, {}, {{Id(1), "VCPU", 1}, {Id(1), "VCPU", 2}})),
            "bad_request: Allocation of VCPU of resource provider '" + Uuid1(1) + "' is named twice.");
}

TEST_F(ResourceEngineTest, AStoreFromBeforeTheModelGetsIt) {
  ASSERT_TRUE(Apply(ReportHost{MakeHost()}).has_value());
  Claim claim = FloatingClaim(1, 2, 64);
  claim.devices = {Bind(Pci(2, 1))};
  ASSERT_TRUE(Apply(CreateClaim{claim, {}}).has_value());
  HostReport shrunk = MakeHost();
  for (Device& device : shrunk.devices) device.assignable = false;
  ASSERT_TRUE(Apply(ReportHost{shrunk}).has_value());
  db::Contents old = engine_->Export();
  old.names.clear();
  old.providers.clear();
  old.generations.clear();
  old.audit = 0;

  auto restored = Engine::Restore(old);

  ASSERT_TRUE(restored.has_value()) << restored.status().ToString();
  EXPECT_FALSE((*restored)->StartupChanges().empty());
  const ResourceView& view = (*restored)->resources();
  ASSERT_NE(view.FindConsumer(claim.consumer), nullptr);
  EXPECT_EQ(view.FindConsumer(claim.consumer)->allocations.size(), 3U);
  EXPECT_EQ(view.FindProvider(DeviceProviderUuid(Id(1), Pci(2))).name(), "host1_0000:02:00.0");
}

TEST_F(ResourceEngineTest, ARestoreAfterAllThatGivesTheSameState) {
  ASSERT_TRUE(Apply(ReportHost{MakeHost()}).has_value());
  ASSERT_TRUE(Apply(CreateClaim{FloatingClaim(1, 2, 64), {}}).has_value());
  Provide(20);
  Provide(21, 20);
  Stock(21, {Inv("VCPU", 8)});
  ASSERT_EQ(Refused(SetAggregates{Id(20), {}, {Id(40)}, true}), "");
  ASSERT_EQ(Refused(Allocate(9, {}, {{Id(21), "VCPU", 3}, {CellProviderUuid(Id(1), 1), "VCPU", 1}})), "");

  auto restored = Engine::Restore(engine_->Export());

  ASSERT_TRUE(restored.has_value()) << restored.status().ToString();
  EXPECT_TRUE((*restored)->StartupChanges().empty());
  EXPECT_EQ(db::EncodeContents((*restored)->Export()), db::EncodeContents(engine_->Export()));
  ProviderRef at = (*restored)->resources().FindProvider(Id(21));
  EXPECT_EQ(at.tree->Find(at.index, ResourceClassId{0}).used, 3);
}

}  // namespace
}  // namespace berth::placement
