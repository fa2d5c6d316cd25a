// Resource classes, traits and aggregates.
#include "tests/placement/rest/api.h"

namespace berth::placement::rest {
namespace {

TEST(ResourceClasses, AreStandardOrCustom) {
  Api api;

  EXPECT_EQ(api.Post("/resource_classes", R"({"name": "CUSTOM_A"})").status, 201);
  EXPECT_TRUE(api.Post("/resource_classes", R"({"name": "CUSTOM_A"})")
                  .Says("Conflicting resource class already exists: CUSTOM_A"));
  EXPECT_TRUE(api.Post("/resource_classes", R"({"name": "VCPU"})").Says("does not match"));
  EXPECT_EQ(api.Get("/resource_classes/CUSTOM_A").At("/links/0/href"), "/resource_classes/CUSTOM_A");
  EXPECT_EQ(api.Get("/resource_classes").At("/resource_classes/0/name"), "VCPU");
  EXPECT_TRUE(api.Get("/resource_classes/COWS").Says("No such resource class COWS."));
}

TEST(ResourceClasses, AreRenamedBefore7AndEnsuredFromThen) {
  Api api;
  ASSERT_EQ(api.Post("/resource_classes", R"({"name": "CUSTOM_A"})").status, 201);

  EXPECT_EQ(api.Put("/resource_classes/CUSTOM_A", R"({"name": "CUSTOM_B"})", 6).At("/name"), "CUSTOM_B");
  EXPECT_TRUE(api.Put("/resource_classes/VCPU", R"({"name": "CUSTOM_C"})", 6)
                  .Says("Cannot update standard resource class VCPU"));
  EXPECT_EQ(api.Send(Api::Make("PUT", "/resource_classes/CUSTOM_A", 7)).status, 201);
  EXPECT_EQ(api.Send(Api::Make("PUT", "/resource_classes/CUSTOM_A", 7)).status, 204);
  EXPECT_EQ(api.Send(Api::Make("PUT", "/resource_classes/VCPU", 7)).status, 400);
  EXPECT_EQ(api.Send(Api::Make("PUT", "/resource_classes/CUSTOM_A", 6)).status, 415);
}

TEST(ResourceClasses, StayWhileInventoryHasThem) {
  Api api;
  ASSERT_EQ(api.Post("/resource_classes", R"({"name": "CUSTOM_A"})").status, 201);
  api.Provider(kA, "a");
  api.Inventory(kA, "CUSTOM_A", R"("total": 1)");

  EXPECT_TRUE(api.Delete("/resource_classes/CUSTOM_A").Says("Class is in use in inventory."));
  EXPECT_TRUE(api.Delete("/resource_classes/VCPU").Says("Cannot delete standard resource class VCPU."));
  ASSERT_EQ(api.Delete(Rp(kA, "/inventories")).status, 204);
  EXPECT_EQ(api.Delete("/resource_classes/CUSTOM_A").status, 204);
}

TEST(Traits, AreEnsuredListedAndDeleted) {
  Api api;

  Reply made = api.Send(Api::Make("PUT", "/traits/CUSTOM_A", 39));
  EXPECT_EQ(made.status, 201);
  EXPECT_EQ(made.headers.Get("location"), "http://placement:8778/traits/CUSTOM_A");
  EXPECT_EQ(api.Send(Api::Make("PUT", "/traits/CUSTOM_A", 39)).status, 204);
  EXPECT_TRUE(api.Send(Api::Make("PUT", "/traits/HW_X", 39)).Says("The trait is invalid."));
  EXPECT_EQ(api.Get("/traits/CUSTOM_A").status, 204);
  EXPECT_TRUE(api.Get("/traits/CUSTOM_B").Says("No such trait(s): CUSTOM_B."));
  EXPECT_EQ(api.Get("/traits?name=startswith:CUSTOM").At("/traits"), "['CUSTOM_A']");
  EXPECT_EQ(api.Get("/traits?name=in:CUSTOM_A,HW_NUMA_ROOT").At("/traits"), "['HW_NUMA_ROOT', 'CUSTOM_A']");
  EXPECT_TRUE(api.Get("/traits?name=in_abc").Says("Badly formatted name parameter."));
  EXPECT_TRUE(api.Get("/traits?associated=maybe").Says("only accepts \"true\" or \"false\""));
  EXPECT_TRUE(api.Delete("/traits/HW_NUMA_ROOT").Says("Cannot delete standard trait HW_NUMA_ROOT."));
  EXPECT_EQ(api.Delete("/traits/CUSTOM_A").status, 204);
}

TEST(Traits, OfAProviderComeInOrderOfCreationAndRaiseItsGenerationOnChange) {
  Api api;
  api.Provider(kA, "a");
  ASSERT_EQ(api.Send(Api::Make("PUT", "/traits/CUSTOM_Z", 39)).status, 201);
  ASSERT_EQ(api.Send(Api::Make("PUT", "/traits/CUSTOM_A", 39)).status, 201);
  std::string path = Rp(kA, "/traits");
  auto put = [&](const std::string& traits, int generation) {
    return api.Put(path, R"({"traits": )" + traits + R"(, "resource_provider_generation": )" +
                             std::to_string(generation) + "}");
  };

  Reply set = put(R"(["CUSTOM_A", "CUSTOM_Z", "HW_NUMA_ROOT"])", 0);
  Reply same = put(R"(["HW_NUMA_ROOT", "CUSTOM_Z", "CUSTOM_A"])", 1);
  Reply stale = put("[]", 0), unknown = put(R"(["CUSTOM_NONE"])", 1);

  EXPECT_EQ(set.At("/traits"), "['HW_NUMA_ROOT', 'CUSTOM_Z', 'CUSTOM_A']");
  EXPECT_EQ(set.At("/resource_provider_generation"), "1");
  EXPECT_EQ(same.At("/resource_provider_generation"), "1");
  EXPECT_EQ(stale.Code(), kConcurrentUpdate);
  EXPECT_TRUE(unknown.Says("No such trait CUSTOM_NONE"));
  EXPECT_TRUE(api.Delete("/traits/CUSTOM_A").Says("The trait CUSTOM_A is in use by a resource provider."));
  EXPECT_EQ(api.Get("/traits?associated=true").At("/traits"), "['HW_NUMA_ROOT', 'CUSTOM_Z', 'CUSTOM_A']");
  EXPECT_EQ(api.Delete(path).status, 204);
  EXPECT_EQ(api.Get(path).At("/resource_provider_generation"), "2");
}

TEST(Aggregates, HaveAGenerationFrom19On) {
  Api api;
  api.Provider(kA, "a");
  std::string path = Rp(kA, "/aggregates"), list = "[\"" + std::string(kAggregate) + "\"]";

  Reply old = api.Put(path, list, 18);
  EXPECT_EQ(old.At("/aggregates/0"), kAggregate);
  EXPECT_EQ(old.At("/resource_provider_generation"), "-");
  EXPECT_EQ(api.Get(Rp(kA)).At("/generation"), "0");

  Reply now = api.Put(path, R"({"aggregates": )" + list + R"(, "resource_provider_generation": 0})", 19);
  EXPECT_EQ(now.At("/resource_provider_generation"), "1");
  Reply stale = api.Put(path, R"({"aggregates": [], "resource_provider_generation": 0})", 19);
  EXPECT_EQ(stale.Code(), "-");  // codes are told from 1.23 on
  EXPECT_EQ(stale.status, 409);
  EXPECT_EQ(api.Get(path).At("/aggregates/0"), kAggregate);
  EXPECT_TRUE(api.Put(path, R"(["x"])", 18).Says("'x' is not a 'uuid'"));
}

}  // namespace
}  // namespace berth::placement::rest
