// Allocations, usages, candidates, the reshaper.
#include "tests/placement/rest/api.h"

namespace berth::placement::rest {
namespace {

const std::string kPath = "/allocations/" + std::string(kConsumer);

class Allocations : public testing::Test {
 protected:
  void SetUp() override {
    api_.Provider(kA, "a");
    api_.Inventory(kA, "VCPU", R"("total": 8, "max_unit": 4, "step_size": 2)");
    api_.Inventory(kA, "MEMORY_MB", R"("total": 1024, "allocation_ratio": 2.0)");
  }
  std::string Generation(const char* provider) { return api_.Get(Rp(provider)).At("/generation"); }

  Api api_;
};

TEST_F(Allocations, AreAListBefore12) {
  std::string list = R"("allocations": [{"resource_provider": {"uuid": ")" + std::string(kA) +
                     R"("}, "resources": {"VCPU": 2}}])";

  EXPECT_EQ(api_.Put(kPath, "{" + list + "}", 7).status, 204);
  EXPECT_TRUE(api_.Put(kPath, "{" + list + "}", 8).Says("'project_id' is a required property"));
  EXPECT_EQ(api_.Put(kPath, "{" + list + R"(, "project_id": "p", "user_id": "u"})", 8).status, 204);
  EXPECT_TRUE(api_.Put(kPath, "{" + list + R"(, "project_id": "p", "user_id": "u"})", 12)
                  .Says("is not of type 'object'"));
  EXPECT_EQ(api_.Get(kPath, 11).At("/project_id"), "-");
  EXPECT_EQ(api_.Get(kPath, 12).At("/project_id"), "p");
  EXPECT_EQ(api_.Get(kPath, 12).At("/allocations/" + std::string(kA) + "/resources"), "{'VCPU': 2}");
}

TEST_F(Allocations, GuardTheConsumerByItsGenerationFrom28On) {
  EXPECT_TRUE(api_.Allocate(kConsumer, kA, R"({"VCPU": 2})", "5")
                  .Says("consumer generation conflict - expected null but got 5"));
  EXPECT_EQ(api_.Allocate(kConsumer, kA, R"({"VCPU": 2})").status, 204);
  Reply again = api_.Allocate(kConsumer, kA, R"({"VCPU": 4})");
  EXPECT_EQ(again.status, 409);
  EXPECT_EQ(again.Code(), kConcurrentUpdate);
  EXPECT_TRUE(again.Says("consumer generation conflict - expected 1 but got None"));
  EXPECT_EQ(api_.Allocate(kConsumer, kA, R"({"VCPU": 4})", "1").status, 204);
  EXPECT_EQ(api_.Get(kPath).At("/consumer_generation"), "2");
  EXPECT_EQ(api_.Get(kPath, 27).At("/consumer_generation"), "-");
  EXPECT_EQ(Generation(kA), "4");
}

TEST_F(Allocations, VanishWithAnEmptyPutOrDelete) {
  ASSERT_EQ(api_.Allocate(kConsumer, kA, R"({"VCPU": 2})").status, 204);
  std::string empty = R"({"allocations": {}, "project_id": "p1", "user_id": "u1", "consumer_generation": 1})";

  EXPECT_EQ(api_.Put(kPath, empty, 28).status, 204);
  EXPECT_EQ(api_.Get(kPath).At("/allocations"), "{}");
  EXPECT_TRUE(api_.Put(kPath, R"({"allocations": {}, "project_id": "p1", "user_id": "u1"})", 27)
                  .Says("should be non-empty"));
  EXPECT_TRUE(api_.Delete(kPath).Says("No allocations for consumer '" + std::string(kConsumer) + "'"));
  ASSERT_EQ(api_.Allocate(kConsumer, kA, R"({"VCPU": 2})").status, 204);
  EXPECT_EQ(api_.Delete(kPath).status, 204);
}

TEST_F(Allocations, FitTheInventory) {
  EXPECT_TRUE(api_.Allocate(kConsumer, kA, R"({"VCPU": 3})").Says("would violate inventory constraints"));
  EXPECT_TRUE(api_.Allocate(kConsumer, kA, R"({"VCPU": 6})").Says("would violate inventory constraints"));
  EXPECT_TRUE(api_.Allocate(kConsumer, kA, R"({"MEMORY_MB": 2049})").Says("violate inventory constraints") ||
              api_.Allocate(kConsumer, kA, R"({"MEMORY_MB": 2049})").Says("would exceed the capacity"));
  EXPECT_EQ(api_.Allocate(kConsumer, kA, R"({"MEMORY_MB": 2048})").status, 204);
  EXPECT_TRUE(api_.Allocate(kConsumer2, kA, R"({"MEMORY_MB": 1})").Says("would exceed the capacity"));
  EXPECT_TRUE(api_.Allocate(kConsumer2, kA, R"({"DISK_GB": 1})").Says("Unable to allocate inventory"));
  EXPECT_TRUE(api_.Allocate(kConsumer2, kB, R"({"VCPU": 2})")
                  .Says("Allocation for resource provider '" + std::string(kB) + "' that does not exist."));
  EXPECT_EQ(api_.Allocate(kConsumer2, kA, R"({"CUSTOM_NONE": 1})").status, 400);
  EXPECT_EQ(api_.Allocate(kConsumer2, kA, R"({"VCPU": 2147483648})").status, 400);
  EXPECT_EQ(api_.Put("/allocations/x", "{}").status, 400);
}

TEST_F(Allocations, MayImproveAnOvercommittedProvider) {
  ASSERT_EQ(api_.Allocate(kConsumer, kA, R"({"VCPU": 4})").status, 204);
  ASSERT_EQ(
      api_.Put(Rp(kA, "/inventories/VCPU"), R"({"total": 1, "resource_provider_generation": 3})").status,
      200);

  EXPECT_EQ(api_.Allocate(kConsumer, kA, R"({"VCPU": 3})", "1").status, 204);
  EXPECT_EQ(api_.Allocate(kConsumer, kA, R"({"VCPU": 4})", "2").status, 409);
}

TEST_F(Allocations, OfSeveralConsumersAreAllOrNothing) {
  auto body = [](const std::string& first, const std::string& second) {
    auto one = [](const char* uuid, const std::string& allocations) {
      return "\"" + std::string(uuid) + R"(": {"allocations": )" + allocations +
             R"(, "project_id": "p1", "user_id": "u1", "consumer_generation": null, "consumer_type": "INSTANCE"})";
    };
    return "{" + one(kConsumer, first) + "," + one(kConsumer2, second) + "}";
  };
  std::string two = R"({")" + std::string(kA) + R"(": {"resources": {"VCPU": 2}}})";
  std::string memory = R"({")" + std::string(kA) + R"(": {"resources": {"MEMORY_MB": 9999}}})";

  EXPECT_EQ(api_.Post("/allocations", body(two, memory)).status, 409);
  EXPECT_EQ(api_.Get(kPath).At("/allocations"), "{}");
  EXPECT_EQ(api_.Post("/allocations", body(two, two)).status, 204);
  EXPECT_EQ(Generation(kA), "3");
  EXPECT_EQ(api_.Get(Rp(kA, "/allocations")).At("/allocations/" + std::string(kConsumer2) + "/resources"),
            "{'VCPU': 2}");
  EXPECT_EQ(api_.Get(Rp(kA, "/allocations"), 28)
                .At("/allocations/" + std::string(kConsumer) + "/consumer_generation"),
            "1");
  EXPECT_EQ(api_.Get(kPath).At("/consumer_type"), "INSTANCE");
  EXPECT_EQ(api_.Get(kPath, 37).At("/consumer_type"), "-");
  EXPECT_TRUE(api_.Post("/allocations", "{}").Says("{} should be non-empty"));
}

TEST_F(Allocations, AreSummedUpByProjectUserAndType) {
  ASSERT_EQ(api_.Allocate(kConsumer, kA, R"({"VCPU": 2, "MEMORY_MB": 10})").status, 204);
  std::string typed =
      R"({"allocations": {")" + std::string(kA) +
      R"(": {"resources": {"VCPU": 4}}}, "project_id": "p1", "user_id": "u2", "consumer_generation": null, "consumer_type": "INSTANCE"})";
  ASSERT_EQ(api_.Put("/allocations/" + std::string(kConsumer2), typed).status, 204);
  auto usage = [&](const std::string& query, int minor = 39) {
    return api_.Get("/usages?" + query, minor).At("/usages");
  };

  EXPECT_EQ(usage("project_id=p1", 37), "{'VCPU': 6, 'MEMORY_MB': 10}");
  EXPECT_EQ(usage("project_id=p1&user_id=u1", 37), "{'VCPU': 2, 'MEMORY_MB': 10}");
  EXPECT_EQ(usage("project_id=none"), "{}");
  EXPECT_EQ(usage("project_id=p1&consumer_type=INSTANCE"), "{'INSTANCE': {'VCPU': 4, 'consumer_count': 1}}");
  EXPECT_EQ(usage("project_id=p1&consumer_type=all"),
            "{'all': {'VCPU': 6, 'MEMORY_MB': 10, 'consumer_count': 2}}");
  EXPECT_EQ(usage("project_id=p1&consumer_type=unknown"),
            "{'unknown': {'VCPU': 2, 'MEMORY_MB': 10, 'consumer_count': 1}}");
  EXPECT_EQ(api_.Get("/usages?project_id=p1").json["usages"].MemberCount(), 2u);
  EXPECT_EQ(api_.Get("/usages?project_id=p1&consumer_type=x").status, 400);
  EXPECT_TRUE(api_.Get("/usages").Says("'project_id' is a required property"));
  EXPECT_EQ(api_.Get(Rp(kA, "/usages")).At("/usages"), "{'VCPU': 6, 'MEMORY_MB': 10}");
}

TEST_F(Allocations, ComeAsCandidatesInTheFormOfEachMicroversion) {
  auto candidates = [&](int minor) { return api_.Get("/allocation_candidates?resources=VCPU:2", minor); };
  std::string a(kA);

  EXPECT_EQ(candidates(10).At("/allocation_requests/0/allocations/0/resource_provider/uuid"), a);
  EXPECT_EQ(candidates(12).At("/allocation_requests/0/allocations/" + a + "/resources"), "{'VCPU': 2}");
  EXPECT_EQ(candidates(26).At("/provider_summaries/" + a + "/resources"),
            "{'VCPU': {'capacity': 8, 'used': 0}}");
  EXPECT_EQ(candidates(27).At("/provider_summaries/" + a + "/resources/MEMORY_MB/capacity"), "2048");
  EXPECT_EQ(candidates(16).At("/provider_summaries/" + a + "/traits"), "-");
  EXPECT_EQ(candidates(17).At("/provider_summaries/" + a + "/traits"), "[]");
  EXPECT_EQ(candidates(28).At("/provider_summaries/" + a + "/root_provider_uuid"), "-");
  EXPECT_EQ(candidates(29).At("/provider_summaries/" + a + "/root_provider_uuid"), a);
  EXPECT_EQ(candidates(33).At("/allocation_requests/0/mappings"), "-");
  EXPECT_EQ(candidates(34).At("/allocation_requests/0/mappings"), "{'': ['" + a + "']}");
  EXPECT_TRUE(
      api_.Get("/allocation_candidates?resources=CUSTOM_NONE:1")
          .Says("Invalid resource class in resources parameter: No such resource class CUSTOM_NONE."));
  EXPECT_TRUE(api_.Get("/allocation_candidates?resources=VCPU:2&required=CUSTOM_NONE")
                  .Says("No such trait(s): CUSTOM_NONE."));
  EXPECT_EQ(api_.Get("/allocation_candidates?resources=VCPU:3").At("/allocation_requests"), "[]");
  std::string groups = "group_policy=none";
  for (int i = 0; i <= 1024; ++i) groups += "&resources" + std::to_string(i) + "=VCPU:1";
  EXPECT_EQ(api_.Get("/allocation_candidates?" + groups, 36).status, 400);
}

TEST_F(Allocations, CanBeTheOnesOfACandidate) {
  Reply found = api_.Get("/allocation_candidates?resources=VCPU:2&resources1=MEMORY_MB:5", 36);
  ASSERT_EQ(found.status, 200) << found.body;
  JsonDocument& json = found.json;
  JsonValue& request = json["allocation_requests"][0];
  request.AddMember("project_id", "p1", json.GetAllocator());
  request.AddMember("user_id", "u1", json.GetAllocator());
  request.AddMember("consumer_generation", JsonValue(), json.GetAllocator());
  rapidjson::StringBuffer text;
  rapidjson::Writer<rapidjson::StringBuffer> writer(text);
  request.Accept(writer);

  EXPECT_EQ(api_.Put(kPath, text.GetString(), 36).status, 204);
}

TEST_F(Allocations, MoveWithTheirInventoryByTheReshaper) {
  api_.Provider(kB, "b", kA);
  ASSERT_EQ(api_.Allocate(kConsumer, kA, R"({"VCPU": 4})").status, 204);
  auto reshape = [&](int generation, const char* target) {
    return R"({"inventories": {")" + std::string(kA) + R"(": {"resource_provider_generation": )" +
           std::to_string(generation) + R"(, "inventories": {"MEMORY_MB": {"total": 1024}}}, ")" + kB +
           R"(": {"resource_provider_generation": 0, "inventories": {"VCPU": {"total": 8}}}}, "allocations": {")" +
           kConsumer + R"(": {"allocations": {")" + target +
           R"(": {"resources": {"VCPU": 4}}}, "project_id": "p1", "user_id": "u1", "consumer_generation": 1}}})";
  };

  Reply stale = api_.Post("/reshaper", reshape(2, kB), 30);
  EXPECT_TRUE(stale.Says("actual: 3, given: 2"));
  EXPECT_EQ(stale.Code(), kConcurrentUpdate);
  EXPECT_EQ(api_.Post("/reshaper", reshape(3, kA), 30).status, 409);
  EXPECT_EQ(api_.Post("/reshaper", reshape(3, kB), 30).status, 204);
  EXPECT_EQ(api_.Get(Rp(kB, "/usages")).At("/usages"), "{'VCPU': 4}");
  EXPECT_EQ(api_.Get(Rp(kA, "/inventories")).At("/inventories/VCPU"), "-");
  Reply missing =
      api_.Post("/reshaper",
                R"({"inventories": {")" + std::string(kC) +
                    R"(": {"resource_provider_generation": 0, "inventories": {}}}, "allocations": {}})",
                30);
  EXPECT_EQ(missing.Code(), kProviderNotFound);
  EXPECT_TRUE(
      api_.Post("/reshaper", R"({"inventories": {}, "allocations": {}})", 30).Says("should be non-empty"));
}

}  // namespace
}  // namespace berth::placement::rest
