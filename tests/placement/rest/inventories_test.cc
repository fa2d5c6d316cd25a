#include "tests/placement/rest/api.h"

namespace berth::placement::rest {
namespace {

const std::string kInventories = Rp(kA, "/inventories");

TEST(Inventories, AreMadeChangedAndDeletedOneByOne) {
  Api api;
  api.Provider(kA, "a");

  Reply made = api.Post(kInventories, R"({"resource_class": "DISK_GB", "total": 2048})");
  Reply again = api.Post(kInventories, R"({"resource_class": "DISK_GB", "total": 2048})");
  Reply changed = api.Put(kInventories + "/DISK_GB", R"({"total": 4096, "resource_provider_generation": 1})");
  Reply stale = api.Put(kInventories + "/DISK_GB", R"({"total": 4096, "resource_provider_generation": 1})");
  Reply absent = api.Put(kInventories + "/VCPU", R"({"total": 1, "resource_provider_generation": 2})");

  EXPECT_EQ(made.status, 201);
  EXPECT_EQ(made.headers.Get("location"), "http://placement:8778" + kInventories + "/DISK_GB");
  EXPECT_EQ(made.At("/max_unit"), "2147483647");
  EXPECT_EQ(made.At("/allocation_ratio"), "1.0");
  EXPECT_EQ(made.At("/resource_provider_generation"), "1");
  EXPECT_EQ(again.status, 409);
  EXPECT_EQ(again.Code(), kConcurrentUpdate);
  EXPECT_EQ(changed.At("/total"), "4096");
  EXPECT_EQ(stale.Code(), kConcurrentUpdate);
  EXPECT_TRUE(stale.Says("resource provider generation conflict"));
  EXPECT_TRUE(absent.Says("No inventory record with resource class"));
  EXPECT_EQ(api.Delete(kInventories + "/DISK_GB").status, 204);
  EXPECT_TRUE(api.Delete(kInventories + "/DISK_GB").Says("No inventory of class DISK_GB found for delete"));
  EXPECT_TRUE(
      api.Get(kInventories + "/DISK_GB").Says("No inventory of class DISK_GB for " + std::string(kA)));
}

TEST(Inventories, AreReplacedAllAtOnce) {
  Api api;
  api.Provider(kA, "a");
  api.Inventory(kA, "VCPU", R"("total": 4)");

  Reply put = api.Put(
      kInventories,
      R"({"resource_provider_generation": 1, "inventories": {"MEMORY_MB": {"total": 1024, "reserved": 128}}})");

  EXPECT_EQ(put.status, 200);
  EXPECT_EQ(put.At("/inventories/MEMORY_MB/reserved"), "128");
  EXPECT_EQ(put.At("/inventories/VCPU"), "-");
  EXPECT_EQ(put.At("/resource_provider_generation"), "2");
  EXPECT_EQ(api.Get(kInventories).body, put.body);
}

TEST(Inventories, RefuseUnknownClassesAndBadNumbers) {
  Api api;
  api.Provider(kA, "a");
  auto put = [&](const std::string& inventory, int minor = 39) {
    return api.Put(kInventories, R"({"resource_provider_generation": 0, "inventories": )" + inventory + "}",
                   minor);
  };

  EXPECT_TRUE(put(R"({"CUSTOM_NONE": {"total": 1}})")
                  .Says("Unknown resource class in inventory for resource provider"));
  EXPECT_TRUE(put(R"({"VCPU": {"total": 0}})").Says("0 is less than the minimum of 1"));
  EXPECT_TRUE(put(R"({"VCPU": {"total": 2147483648}})").Says("Failed validating 'maximum'"));
  EXPECT_TRUE(put(R"({"VCPU": {"reserved": 1}})").Says("'total' is a required property"));
  EXPECT_TRUE(put(R"({"VCPU": {"total": 1, "x": 1}})").Says("Additional properties are not allowed"));
  EXPECT_TRUE(put(R"({"VCPU": {"total": 1, "reserved": 1}})", 25)
                  .Says("The reserved value is greater than or equal to total."));
  EXPECT_TRUE(
      put(R"({"VCPU": {"total": 1, "reserved": 2}})", 26).Says("The reserved value is greater than total."));
  EXPECT_EQ(put(R"({"VCPU": {"total": 1, "reserved": 1}})", 26).status, 200);
}

TEST(Inventories, MayShrinkBelowTheUsageButNotVanish) {
  Api api;
  api.Provider(kA, "a");
  api.Inventory(kA, "VCPU", R"("total": 8)");
  ASSERT_EQ(api.Allocate(kConsumer, kA, R"({"VCPU": 6})").status, 204);

  Reply shrunk = api.Put(kInventories + "/VCPU", R"({"total": 2, "resource_provider_generation": 2})");
  Reply replaced = api.Put(kInventories, R"({"resource_provider_generation": 3, "inventories": {}})");
  Reply one = api.Delete(kInventories + "/VCPU"), all = api.Delete(kInventories);

  EXPECT_EQ(shrunk.status, 200);
  EXPECT_EQ(replaced.Code(), kInventoryInUse);
  EXPECT_TRUE(replaced.Says("update conflict: Inventory for 'VCPU' on resource provider '" + std::string(kA) +
                            "' in use."));
  EXPECT_EQ(all.Code(), kInventoryInUse);
  EXPECT_EQ(one.status, 409);
  EXPECT_EQ(one.Code(), kConcurrentUpdate);  // as Placement has it
}

TEST(Inventories, NeedAProvider) {
  Api api;
  std::string text = "No resource provider with uuid " + std::string(kA) + " found";

  EXPECT_TRUE(api.Get(kInventories).Says(text));
  EXPECT_EQ(api.Put(kInventories, R"({"resource_provider_generation": 0, "inventories": {}})").status, 404);
  EXPECT_EQ(api.Post(kInventories, "{}").status, 404);
  EXPECT_EQ(api.Delete(kInventories).status, 404);
  EXPECT_EQ(api.Get("/resource_providers/nonsense/inventories").status, 404);
}

}  // namespace
}  // namespace berth::placement::rest
