// Where OpenStack Placement answers wrongly, on a real database and over sockets: what is right. The others
// are in tests/placement/rest/wrong_answers_test.cc.
#include <gtest/gtest.h>

#include <thread>
#include <vector>

#include "placement/rest_front.h"
#include "placement/server.h"
#include "tests/common/http/raw_client.h"
#include "tests/fakes/temp_folder.h"

namespace berth::placement {
namespace {

constexpr char kProvider[] = "aaaaaaaa-0000-4000-8000-000000000001";

class WrongAnswersOnDisk : public testing::Test {
 protected:
  Result<std::unique_ptr<PlacementServer>> Open() {
    return PlacementServer::Open({.store = "sqlite:" + (folder_.path() / "placement.db").string()});
  }
  void Serve(std::unique_ptr<PlacementServer> placement) {
    front_.reset();
    placement_ = std::move(placement);
    auto started = RestFront::Start({.listen = "127.0.0.1:0", .access_log = false}, *placement_);
    ASSERT_TRUE(started) << started.error().ToString();
    front_ = *std::move(started);
  }
  http::RawClient Connect() const {
    const std::string& endpoint = front_->endpoint();
    return http::RawClient(std::stoi(endpoint.substr(endpoint.rfind(':') + 1)));
  }
  static std::string Ask(http::RawClient& client, const std::string& request, const std::string& body = {}) {
    client.Send(request + " HTTP/1.1\r\nHost: h\r\nX-Auth-Token: admin\r\n" +
                (body.empty() ? ""
                              : "Content-Type: application/json\r\nContent-Length: " +
                                    std::to_string(body.size()) + "\r\n") +
                "OpenStack-API-Version: placement 1.28\r\n\r\n" + body);
    return client.Answer();
  }

  fakes::TempFolder folder_;
  std::unique_ptr<PlacementServer> placement_;
  std::unique_ptr<RestFront> front_;
};

// 5. Placement on SQLite: 500 "database is locked" as soon as two clients write.
TEST_F(WrongAnswersOnDisk, Line5ManyClientsWriteAtOnceToSqlite) {
  constexpr int kClients = 8;
  constexpr int kWrites = 20;
  Serve(*Open());
  {
    http::RawClient client = Connect();
    ASSERT_EQ(http::StatusOf(Ask(client, "POST /resource_providers",
                                 std::string(R"({"name": "a", "uuid": ")") + kProvider + "\"}")),
              200);
    ASSERT_EQ(
        http::StatusOf(Ask(client, std::string("POST /resource_providers/") + kProvider + "/inventories",
                           R"({"resource_class": "VCPU", "total": 1000})")),
        201);
  }
  std::vector<int> written(kClients, 0);
  std::vector<std::thread> clients;
  for (int n = 0; n < kClients; ++n) {
    clients.emplace_back([this, n, &written] {
      http::RawClient client = Connect();
      for (int i = 0; i < kWrites; ++i) {
        std::string digits = std::to_string(1000 + n * kWrites + i);
        std::string answer = Ask(client, "PUT /allocations/dddddddd-0000-4000-8000-00000000" + digits,
                                 std::string(R"({"allocations": {")") + kProvider +
                                     R"(": {"resources": {"VCPU": 1}}}, "project_id": "p", "user_id": "u",
                                      "consumer_generation": null})");
        written[static_cast<size_t>(n)] += http::StatusOf(answer) == 204 ? 1 : 0;
      }
    });
  }
  for (std::thread& client : clients) client.join();

  EXPECT_EQ(written, std::vector<int>(kClients, kWrites));
  http::RawClient client = Connect();
  std::string usages = Ask(client, std::string("GET /resource_providers/") + kProvider + "/usages");
  EXPECT_NE(usages.find(R"("VCPU":160)"), std::string::npos) << usages;
}

// 6. Placement: workers that start together on a fresh database race for its traits, and die.
TEST_F(WrongAnswersOnDisk, Line6OneOfManyThatStartTogetherServesAFreshDatabase) {
  constexpr size_t kStarts = 6;
  std::vector<Result<std::unique_ptr<PlacementServer>>> opened(kStarts);
  std::vector<std::thread> starts;
  for (auto& one : opened) starts.emplace_back([this, &one] { one = Open(); });
  for (std::thread& start : starts) start.join();

  std::unique_ptr<PlacementServer> winner;
  for (auto& one : opened) {
    if (one) {
      EXPECT_EQ(winner, nullptr) << "two have the store";
      winner = *std::move(one);
    } else {
      EXPECT_EQ(one.error().code(), StatusCode::kUnavailable) << one.error().ToString();
    }
  }
  ASSERT_NE(winner, nullptr);
  Serve(std::move(winner));
  for (const char* path : {"GET /traits", "GET /resource_classes"}) {
    http::RawClient client = Connect();
    std::string answer = Ask(client, path);
    EXPECT_EQ(http::StatusOf(answer), 200);
    EXPECT_NE(answer.find(path[5] == 't' ? "HW_CPU_X86_VMX" : "SRIOV_NET_VF"), std::string::npos) << path;
  }
  front_.reset();
  placement_.reset();
  EXPECT_TRUE(Open().has_value());  // and the store is whole
}

}  // namespace
}  // namespace berth::placement
