// Where OpenStack Placement answers wrongly (found by differential testing against 13.0.0 and master),
// request by request: what is right. The two that need a database and sockets are in tests/placement/server.
#include <map>
#include <set>

#include "tests/placement/rest/api.h"

namespace berth::placement::rest {
namespace {

// The UUID of provider number `n`.
std::string Number(int n) {
  std::string digits = std::to_string(n);
  return "10000000-0000-4000-8000-" + std::string(12 - digits.size(), '0') + digits;
}

class WrongAnswers : public ::testing::Test {
 protected:
  void Provider(int n, std::optional<int> parent = {}) {
    std::string above = parent ? Number(*parent) : "";
    api_.Provider(Number(n).c_str(), "p" + std::to_string(n), parent ? above.c_str() : nullptr);
  }
  void Stock(int n, const std::string& resource_class, int total) {
    api_.Inventory(Number(n).c_str(), resource_class, "\"total\": " + std::to_string(total));
  }
  uint64_t Generation(int n) { return api_.Get(Rp(Number(n).c_str())).json["generation"].GetUint64(); }
  void Traits(int n, const std::string& list) {
    Reply reply = api_.Put(Rp(Number(n).c_str(), "/traits"), R"({"resource_provider_generation": )" +
                                                                 std::to_string(Generation(n)) +
                                                                 R"(, "traits": )" + list + "}");
    ASSERT_EQ(reply.status, 200) << reply.body;
  }
  void Aggregate(int n) {
    Reply reply = api_.Put(Rp(Number(n).c_str(), "/aggregates"),
                           R"({"resource_provider_generation": )" + std::to_string(Generation(n)) +
                               R"(, "aggregates": [")" + kAggregate + "\"]}");
    ASSERT_EQ(reply.status, 200) << reply.body;
  }
  // Of each candidate: the provider's UUID, and what it gives of a class.
  using Candidates = std::vector<std::map<std::string, std::map<std::string, int>>>;
  Candidates Ask(const std::string& query, Api& api) {
    Reply reply = api.Get("/allocation_candidates?" + query);
    EXPECT_EQ(reply.status, 200) << reply.body;
    Candidates candidates;
    if (reply.status != 200) return candidates;
    for (const auto& request : reply.json["allocation_requests"].GetArray()) {
      auto& candidate = candidates.emplace_back();
      for (const auto& [provider, allocation] : request["allocations"].GetObject()) {
        for (const auto& [name, amount] : allocation["resources"].GetObject()) {
          candidate[provider.GetString()][name.GetString()] = amount.GetInt();
        }
      }
    }
    return candidates;
  }
  Candidates Ask(const std::string& query) { return Ask(query, api_); }

  Api api_;
};

// 1. Placement 13.0.0 also answers with 10 and 14 VCPUs, and drops some that would fit.
TEST_F(WrongAnswers, Line1AmountsOfOneCandidateDoNotAddUpInAnother) {
  Provider(1);
  Stock(1, "VCPU", 64);
  Provider(2, 1);
  Stock(2, "VCPU", 64);

  for (const char* policy : {"none", "isolate"}) {
    Candidates found = Ask("resources=VCPU:2&resources_A=VCPU:4&group_policy=" + std::string(policy));
    EXPECT_EQ(found.size(), 4U) << policy;
    for (const auto& candidate : found) {
      int sum = 0;
      for (const auto& [provider, resources] : candidate) sum += resources.at("VCPU");
      EXPECT_EQ(sum, 6) << policy;
    }
  }
  // One that an added-up amount would not fit.
  Provider(3);
  Stock(3, "VCPU", 6);
  EXPECT_EQ(Ask("resources=VCPU:2&resources_A=VCPU:4&in_tree=" + Number(3) + "&in_tree_A=" + Number(3)),
            (Candidates{{{Number(3), {{"VCPU", 6}}}}}));
}

// 2. Placement: 500, KeyError in summaries_by_id.
TEST_F(WrongAnswers, Line2ASharingProviderThatIsNoRootServes) {
  Provider(1);
  Stock(1, "VCPU", 4);
  Aggregate(1);
  Provider(2);
  Provider(3, 2);
  Stock(3, "DISK_GB", 100);
  Traits(3, R"(["MISC_SHARES_VIA_AGGREGATE"])");
  Aggregate(3);

  EXPECT_EQ(Ask("resources=VCPU:1,DISK_GB:10"),
            (Candidates{{{Number(1), {{"VCPU", 1}}}, {Number(3), {{"DISK_GB", 10}}}}}));
  Reply reply = api_.Get("/allocation_candidates?resources=VCPU:1,DISK_GB:10");
  EXPECT_TRUE(reply.json["provider_summaries"].HasMember(Number(3).c_str()));
}

// 3. Placement: 500 on PostgreSQL; elsewhere the filter does nothing and a slow check has to do it.
TEST_F(WrongAnswers, Line3ForbiddenTraitsOfTheUnnumberedGroupFilter) {
  Provider(1);
  Stock(1, "DISK_GB", 10);
  Provider(2, 1);
  Stock(2, "VCPU", 4);
  Traits(2, R"(["STORAGE_DISK_SSD"])");
  Provider(3, 1);
  Stock(3, "VCPU", 4);

  EXPECT_EQ(Ask("resources=VCPU:1,DISK_GB:1&required=!STORAGE_DISK_SSD"),
            (Candidates{{{Number(1), {{"DISK_GB", 1}}}, {Number(3), {{"VCPU", 1}}}}}));
  EXPECT_EQ(Ask("resources=VCPU:1,DISK_GB:1&required=!STORAGE_DISK_SSD,!HW_CPU_X86_AVX2").size(), 1U);
  Traits(3, R"(["HW_CPU_X86_AVX2"])");
  EXPECT_TRUE(Ask("resources=VCPU:1,DISK_GB:1&required=!STORAGE_DISK_SSD,!HW_CPU_X86_AVX2").empty());
}

// 4. Placement: 500 on PostgreSQL (GROUP BY over a bound parameter).
TEST_F(WrongAnswers, Line4UsagesByConsumerTypeAreAnswered) {
  Provider(1);
  Stock(1, "VCPU", 64);
  auto allocate = [&](const char* consumer, const char* type, const char* user, int amount) {
    Reply reply = api_.Put("/allocations/" + std::string(consumer),
                           R"({"allocations": {")" + Number(1) + R"(": {"resources": {"VCPU": )" +
                               std::to_string(amount) + R"(}}}, "project_id": "p1", "user_id": ")" + user +
                               R"(", "consumer_generation": null, "consumer_type": ")" + type + "\"}");
    ASSERT_EQ(reply.status, 204) << reply.body;
  };
  allocate(kConsumer, "INSTANCE", "u1", 3);
  allocate(kConsumer2, "MIGRATION", "u2", 4);
  api_.Allocate(kC, Number(1).c_str(), R"({"VCPU": 5})");  // before types: "unknown"
  auto usages = [&](const std::string& query) { return api_.Get("/usages?" + query, 38).At("/usages"); };

  EXPECT_EQ(usages("project_id=p1"),
            "{'INSTANCE': {'VCPU': 3, 'consumer_count': 1}, 'MIGRATION': {'VCPU': 4, 'consumer_count': 1}, "
            "'unknown': {'VCPU': 5, 'consumer_count': 1}}");
  EXPECT_EQ(usages("project_id=p1&consumer_type=all"), "{'all': {'VCPU': 12, 'consumer_count': 3}}");
  EXPECT_EQ(usages("project_id=p1&consumer_type=MIGRATION"),
            "{'MIGRATION': {'VCPU': 4, 'consumer_count': 1}}");
  EXPECT_EQ(usages("project_id=p1&consumer_type=unknown"), "{'unknown': {'VCPU': 5, 'consumer_count': 1}}");
  EXPECT_EQ(usages("project_id=p1&user_id=u2"), "{'MIGRATION': {'VCPU': 4, 'consumer_count': 1}}");
}

// 7. Placement: 3, 3, 2 and 0 candidates of the four hosts, and others in the next process.
TEST_F(WrongAnswers, Line7ALimitShowsAllHostsAlikeAndTheSameInEveryProcess) {
  Api other;  // the same fleet in another service
  for (Api* api : {&api_, &other}) {
    for (int host = 0; host < 4; ++host) {
      const std::string root = Number(10 * host);
      api->Provider(root.c_str(), "host" + std::to_string(host));
      for (int cell = 1; cell <= 4; ++cell) {
        const std::string own = Number(10 * host + cell);
        api->Provider(own.c_str(), "cell" + std::to_string(10 * host + cell), root.c_str());
        api->Inventory(own.c_str(), "VCPU", R"("total": 4)");
      }
    }
  }

  Candidates found = Ask("resources=VCPU:1&limit=8");

  std::map<int, int> per_host;
  for (const auto& candidate : found) {
    ++per_host[std::stoi(candidate.begin()->first.substr(24)) / 10];
  }
  EXPECT_EQ(per_host, (std::map<int, int>{{0, 2}, {1, 2}, {2, 2}, {3, 2}}));
  EXPECT_EQ(Ask("resources=VCPU:1&limit=8", other), found);
  EXPECT_EQ(Ask("resources=VCPU:1&limit=8"), found);
}

}  // namespace
}  // namespace berth::placement::rest
