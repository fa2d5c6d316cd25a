#include "tests/placement/model/model_builders.h"
#include "tests/placement/rest/api.h"

namespace berth::placement::rest {
namespace {

TEST(Providers, AreMadeWithABodyInTheAnswerFrom20On) {
  Api api;

  Reply old =
      api.Post("/resource_providers", R"({"name": "a", "uuid": "AAAAAAAA000040008000000000000001"})", 19);
  Reply now = api.Post("/resource_providers", R"({"name": "b"})", 20);

  EXPECT_EQ(old.status, 201);
  EXPECT_EQ(old.body, "");
  EXPECT_EQ(old.headers.Get("location"), "http://placement:8778" + Rp(kA));
  EXPECT_EQ(now.status, 200);
  EXPECT_EQ(now.At("/generation"), "0");
  EXPECT_EQ(now.At("/parent_provider_uuid"), "None");
  EXPECT_EQ(now.At("/root_provider_uuid"), now.At("/uuid"));
}

TEST(Providers, ShowWhatTheMicroversionShows) {
  Api api;
  api.Provider(kA, "a");
  auto links = [&](int minor) { return api.Get(Rp(kA), minor).json["links"].Size(); };

  EXPECT_EQ(links(0), 3u);
  EXPECT_EQ(links(1), 4u);
  EXPECT_EQ(links(6), 5u);
  EXPECT_EQ(links(11), 6u);
  EXPECT_EQ(api.Get(Rp(kA), 13).At("/root_provider_uuid"), "-");
  EXPECT_EQ(api.Get(Rp(kA), 14).At("/root_provider_uuid"), kA);
}

TEST(Providers, HaveUniqueNamesAndUuids) {
  Api api;
  api.Provider(kA, "a");
  api.Provider(kB, "b");

  Reply name = api.Post("/resource_providers", R"({"name": "a"})");
  Reply uuid = api.Post("/resource_providers", R"({"name": "x", "uuid": ")" + std::string(kA) + "\"}");
  Reply renamed = api.Put(Rp(kB), R"({"name": "a"})");

  EXPECT_EQ(name.status, 409);
  EXPECT_TRUE(name.Says("Conflicting resource provider name: a already exists."));
  EXPECT_EQ(name.Code(), kDuplicateName);
  EXPECT_TRUE(uuid.Says("Conflicting resource provider uuid: " + std::string(kA) + " already exists."));
  EXPECT_EQ(renamed.Code(), kDuplicateName);
}

TEST(Providers, HaveParentsFrom14On) {
  Api api;
  api.Provider(kA, "root");
  api.Provider(kB, "child", kA);

  EXPECT_EQ(api.Get(Rp(kB)).At("/root_provider_uuid"), kA);
  std::string body = R"({"name": "x", "parent_provider_uuid": ")" + std::string(kC) + "\"}";
  EXPECT_TRUE(api.Post("/resource_providers", body, 13).Says("Additional properties are not allowed"));
  Reply missing = api.Post("/resource_providers", body);
  EXPECT_EQ(missing.status, 400);
  EXPECT_TRUE(missing.Says("parent provider UUID does not exist."));
  Reply self = api.Post("/resource_providers", R"({"name": "x", "uuid": ")" + std::string(kC) +
                                                   R"(", "parent_provider_uuid": ")" + kC + "\"}");
  EXPECT_TRUE(self.Says("parent provider UUID cannot be same as UUID"));
}

TEST(Providers, MoveInTheTreeFrom37On) {
  Api api;
  api.Provider(kA, "a");
  api.Provider(kB, "b", kA);
  api.Provider(kC, "c");
  std::string to_c = R"({"name": "b", "parent_provider_uuid": ")" + std::string(kC) + "\"}";
  std::string to_none = R"({"name": "b", "parent_provider_uuid": null})";
  std::string loop = R"({"name": "c", "parent_provider_uuid": ")" + std::string(kB) + "\"}";

  EXPECT_TRUE(api.Put(Rp(kB), to_c, 36).Says("re-parenting a provider is not currently allowed."));
  EXPECT_TRUE(api.Put(Rp(kB), to_none, 36).Says("un-parenting a provider is not currently allowed."));
  EXPECT_EQ(api.Put(Rp(kB), to_c, 37).At("/root_provider_uuid"), kC);
  EXPECT_TRUE(api.Put(Rp(kC), loop, 37).Says("creating loop in the provider tree is not allowed."));
  EXPECT_EQ(api.Put(Rp(kB), to_none, 37).At("/root_provider_uuid"), kB);
  EXPECT_EQ(api.Get(Rp(kB)).At("/generation"), "0");
}

TEST(Providers, StayWhileTheyAreUsedOrParents) {
  Api api;
  api.Provider(kA, "a");
  api.Provider(kB, "b", kA);
  api.Inventory(kB, "VCPU", R"("total": 4)");
  ASSERT_EQ(api.Allocate(kConsumer, kB, R"({"VCPU": 1})").status, 204);

  Reply parent = api.Delete(Rp(kA)), used = api.Delete(Rp(kB));
  EXPECT_EQ(parent.Code(), kProviderCannotDeleteParent);
  EXPECT_EQ(used.Code(), kProviderInUse);
  EXPECT_TRUE(used.Says("Unable to delete resource provider " + std::string(kB) +
                        ": Resource provider has allocations."));

  ASSERT_EQ(api.Delete("/allocations/" + std::string(kConsumer)).status, 204);
  EXPECT_EQ(api.Delete(Rp(kB)).status, 204);
  EXPECT_EQ(api.Delete(Rp(kA)).status, 204);
  EXPECT_TRUE(
      api.Delete(Rp(kA)).Says("No resource provider with uuid " + std::string(kA) + " found for delete"));
}

TEST(Providers, AreFoundByEachFilter) {
  Api api;
  api.Provider(kA, "a");
  api.Provider(kB, "b", kA);
  api.Provider(kC, "c");
  api.Inventory(kC, "VCPU", R"("total": 4, "max_unit": 2)");
  ASSERT_EQ(
      api.Put(Rp(kB, "/traits"), R"({"traits": ["HW_NUMA_ROOT"], "resource_provider_generation": 0})").status,
      200);
  ASSERT_EQ(api.Put(Rp(kC, "/aggregates"), "[\"" + std::string(kAggregate) + "\"]", 18).status, 200);
  auto found = [&](const std::string& query, int minor = 39) {
    Reply reply = api.Get("/resource_providers?" + query, minor);
    std::string names;
    if (reply.status != 200) return std::to_string(reply.status);
    for (const auto& one : reply.json["resource_providers"].GetArray()) names += one["name"].GetString();
    return names;
  };
  std::string a(kA), c(kC), aggregate(kAggregate);

  EXPECT_EQ(found("name=b"), "b");
  EXPECT_EQ(found("uuid=" + c), "c");
  EXPECT_EQ(found("in_tree=" + a), "ab");
  EXPECT_EQ(found("in_tree=" + aggregate), "");
  EXPECT_EQ(found("resources=VCPU:2"), "c");
  EXPECT_EQ(found("resources=VCPU:3"), "");
  EXPECT_EQ(found("required=HW_NUMA_ROOT"), "b");
  EXPECT_EQ(found("required=!HW_NUMA_ROOT"), "ac");
  EXPECT_EQ(found("required=in:HW_NUMA_ROOT,HW_CPU_X86_AVX2"), "b");
  EXPECT_EQ(found("member_of=" + aggregate), "c");
  EXPECT_EQ(found("member_of=!" + aggregate), "ab");
  EXPECT_EQ(found("resources=CUSTOM_NONE:1"), "400");
  EXPECT_EQ(found("required=CUSTOM_NONE"), "400");
  EXPECT_EQ(found("uuid=x"), "400");
  EXPECT_EQ(found("in_tree=" + a, 13), "400");
  EXPECT_EQ(found("required=HW_NUMA_ROOT", 17), "400");
  EXPECT_EQ(found("nmae=x"), "400");
}

// As Neutron's agents report bandwidth and Cyborg reports accelerators.
TEST(AgentsTrees, TakeProvidersOfClientsBelowTheirs) {
  Api api;
  const HostReport host = testing::MakeHost();
  const std::string root = host.uuid.ToString();
  api.Report(host);

  api.Provider(kA, "host1:Open vSwitch agent", root.c_str());
  api.Provider(kB, "host1:Open vSwitch agent:br0", kA);
  api.Inventory(kB, "NET_BW_EGR_KILOBIT_PER_SEC", R"("total": 1000)");
  EXPECT_EQ(api.Get(Rp(kB)).At("/root_provider_uuid"), root);
  EXPECT_EQ(api.Allocate(kConsumer, kB, R"({"NET_BW_EGR_KILOBIT_PER_SEC": 400})").status, 204);
  // With the host's own, by one search.
  Reply found =
      api.Get("/allocation_candidates?resources=VCPU:1&resources_BW=NET_BW_EGR_KILOBIT_PER_SEC:600");
  ASSERT_EQ(found.status, 200) << found.body;
  EXPECT_NE(found.At("/allocation_requests/0/allocations/" + std::string(kB)), "-") << found.body;
  EXPECT_EQ(
      api.Get("/allocation_candidates?resources=NET_BW_EGR_KILOBIT_PER_SEC:601").At("/allocation_requests"),
      "[]");
  Reply refused = api.Put(Rp(root.c_str(), "/inventories"),
                          R"({"resource_provider_generation": 0, "inventories": {"VCPU": {"total": 1}}})");
  EXPECT_EQ(refused.status, 409);
  EXPECT_TRUE(refused.Says("they follow from the report of host host1")) << refused.body;
  EXPECT_EQ(api.Delete(Rp(kB)).Code(), "placement.resource_provider.inuse");
  EXPECT_EQ(api.Delete("/allocations/" + std::string(kConsumer)).status, 204);
  EXPECT_EQ(api.Delete(Rp(kB)).status, 204);
  EXPECT_EQ(api.Delete(Rp(kA)).status, 204);
  EXPECT_EQ(api.Delete(Rp(root.c_str())).status, 409);
}

}  // namespace
}  // namespace berth::placement::rest
