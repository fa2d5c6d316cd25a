// The body of GET /allocation_candidates, byte by byte, by microversion.
#include "placement/rest/candidates_json.h"

#include <gtest/gtest.h>

#include "placement/model/resource_draft.h"

namespace berth::placement::rest {
namespace {

constexpr const char* kRoot = "10000000-0000-0000-0000-0000000000ab";
constexpr const char* kCell = "20000000-0000-0000-0000-0000000000cd";

// A root with DISK_GB and a cell with VCPU and MEMORY_MB.
class CandidatesJsonTest : public ::testing::Test {
 protected:
  CandidatesJsonTest() {
    Provider root;
    root.uuid = Uuid::Parse(kRoot).value();
    root.name = "host";
    Provider cell;
    cell.uuid = Uuid::Parse(kCell).value();
    cell.name = "host_numa_0";
    cell.parent = root.uuid;
    Give(root, "DISK_GB", 100, 10);
    Give(cell, "VCPU", 8, 2);
    Give(cell, "MEMORY_MB", 4096, 0);
    root.inventories[0].reserved = 1;
    root.inventories[0].allocation_ratio = 1.5;  // 148.5: shown as 148
    cell.traits = {*draft_.view().traits().Find(std::string_view("HW_NUMA_ROOT"))};
    draft_.AddTree(ProviderTree::Make({root, cell}, TreeOwner::kClients));
  }

  void Give(Provider& provider, std::string_view name, int32_t total, int64_t used) {
    Inventory inventory;
    inventory.resource_class = *draft_.view().resource_classes().Find(name);
    inventory.total = total;
    provider.inventories.push_back(inventory);
    provider.used.push_back(used);
  }

  std::string Body(const CandidatesRequest& request, int minor) const {
    const Result<CandidatesAnswer> found = FindCandidates(draft_.view(), request);
    EXPECT_TRUE(found.has_value()) << found.status().ToString();
    return CandidatesJson(draft_.view(), request, *found, {1, minor});
  }

  ResourceDraft draft_;
};

TEST_F(CandidatesJsonTest, ShowsMappingsTraitsAndTheTreeAtTheNewestVersion) {
  CandidatesRequest request;
  request.groups = {{"", {{"DISK_GB", 5}, {"VCPU", 1}}, {}}, {"_N0", {{"VCPU", 2}, {"MEMORY_MB", 64}}, {}}};

  EXPECT_EQ(
      Body(request, 39),
      R"({"allocation_requests":[{"allocations":{)"
      R"("10000000-0000-0000-0000-0000000000ab":{"resources":{"DISK_GB":5}},)"
      R"("20000000-0000-0000-0000-0000000000cd":{"resources":{"VCPU":3,"MEMORY_MB":64}}},)"
      R"("mappings":{"":["10000000-0000-0000-0000-0000000000ab","20000000-0000-0000-0000-0000000000cd"],)"
      R"("_N0":["20000000-0000-0000-0000-0000000000cd"]}}],)"
      R"("provider_summaries":{"10000000-0000-0000-0000-0000000000ab":{)"
      R"("resources":{"DISK_GB":{"capacity":148,"used":10}},"traits":[],)"
      R"("parent_provider_uuid":null,"root_provider_uuid":"10000000-0000-0000-0000-0000000000ab"},)"
      R"("20000000-0000-0000-0000-0000000000cd":{)"
      R"("resources":{"VCPU":{"capacity":8,"used":2},"MEMORY_MB":{"capacity":4096,"used":0}},)"
      R"("traits":["HW_NUMA_ROOT"],"parent_provider_uuid":"10000000-0000-0000-0000-0000000000ab",)"
      R"("root_provider_uuid":"10000000-0000-0000-0000-0000000000ab"}}})");
}

TEST_F(CandidatesJsonTest, ShowsWhatEachOlderVersionShows) {
  CandidatesRequest request;
  request.groups = {{"", {{"VCPU", 1}}, {}}};
  request.nested_aware = false;
  const std::string dict =
      R"({"allocation_requests":[{"allocations":{"20000000-0000-0000-0000-0000000000cd":)"
      R"({"resources":{"VCPU":1}}}}],"provider_summaries":{"20000000-0000-0000-0000-0000000000cd":{)";
  const std::string only_vcpu = R"("resources":{"VCPU":{"capacity":8,"used":2}})";
  const std::string both =
      R"("resources":{"VCPU":{"capacity":8,"used":2},"MEMORY_MB":{"capacity":4096,"used":0}})";
  const std::string traits = R"(,"traits":["HW_NUMA_ROOT"])";

  EXPECT_EQ(Body(request, 10),
            R"({"allocation_requests":[{"allocations":[{"resource_provider":)"
            R"({"uuid":"20000000-0000-0000-0000-0000000000cd"},"resources":{"VCPU":1}}]}],)"
            R"("provider_summaries":{"20000000-0000-0000-0000-0000000000cd":{)" +
                only_vcpu + "}}}");
  EXPECT_EQ(Body(request, 12), dict + only_vcpu + "}}}");
  EXPECT_EQ(Body(request, 17), dict + only_vcpu + traits + "}}}");
  EXPECT_EQ(Body(request, 27), dict + both + traits + "}}}");
}

TEST(InventoryCapacity, IsShownWholeWhateverTheRatioMakesOfIt) {
  Inventory inventory{.resource_class = {}, .total = 7, .reserved = 2, .allocation_ratio = 1.5};
  EXPECT_EQ(inventory.WholeCapacity(), 7);
  inventory.allocation_ratio = -1.5;
  EXPECT_EQ(inventory.WholeCapacity(), -7);
  inventory.total = kMaxAmount;
  inventory.allocation_ratio = 3.4e38;
  EXPECT_EQ(inventory.WholeCapacity(), 1'000'000'000'000'000'000);
}

TEST_F(CandidatesJsonTest, AnEmptyAnswerHasBothParts) {
  CandidatesRequest request;
  request.groups = {{"", {{"VCPU", 1000}}, {}}};

  EXPECT_EQ(Body(request, 39), R"({"allocation_requests":[],"provider_summaries":{}})");
}

// Names longer than the short path copies at once, and more of them than one block of output holds.
TEST_F(CandidatesJsonTest, WritesLongNamesAndManyOfThem) {
  ResourceDraft draft;
  const std::string long_class = "CUSTOM_" + std::string(248, 'C');
  Provider provider;
  provider.uuid = Uuid::Parse(kRoot).value();
  provider.name = "host";
  provider.inventories.push_back({.resource_class = draft.AddResourceClass(long_class, 1), .total = 5});
  provider.used.push_back(0);
  std::string traits;
  for (int i = 0; i < 100; ++i) {
    const std::string name = "CUSTOM_" + std::to_string(100 + i) + std::string(245, 'T');
    provider.traits.push_back(draft.AddTrait(name, 1));
    traits += (i == 0 ? "\"" : ",\"") + name + "\"";
  }
  draft.AddTree(ProviderTree::Make({provider}, TreeOwner::kClients));
  CandidatesRequest request;
  const std::string suffix = "_" + std::string(63, 's');
  request.groups = {{suffix, {{long_class, 1}}, {}}};
  const Result<CandidatesAnswer> found = FindCandidates(draft.view(), request);

  const std::string uuid = std::string("\"") + kRoot + "\"";
  EXPECT_EQ(CandidatesJson(draft.view(), request, *found, {1, 39}),
            R"({"allocation_requests":[{"allocations":{)" + uuid + R"(:{"resources":{")" + long_class +
                R"(":1}}},"mappings":{")" + suffix + "\":[" + uuid + R"(]}}],"provider_summaries":{)" + uuid +
                R"(:{"resources":{")" + long_class + R"(":{"capacity":5,"used":0}},"traits":[)" + traits +
                R"(],"parent_provider_uuid":null,"root_provider_uuid":)" + uuid + "}}}");
}

TEST_F(CandidatesJsonTest, EscapesSuffixes) {
  CandidatesRequest request;
  request.groups = {{"\"", {{"VCPU", 1}}, {}}};

  EXPECT_NE(Body(request, 39).find(R"("mappings":{"\"":["2)"), std::string::npos);
}

}  // namespace
}  // namespace berth::placement::rest
