#include "placement/rest/keystone.h"

#include <gtest/gtest.h>

#include <atomic>
#include <future>

#include "placement/rest/policy.h"
#include "tests/placement/rest/fake_keystone.h"

namespace berth::placement::rest {
namespace {

using Why = Unauthenticated::Why;
using Found = tl::expected<Identity, Unauthenticated>;

// The real client over a real socket to a double of the real service.
class Keystone : public testing::Test {
 protected:
  void SetUp() override {
    auto server = http::StartServer({}, keystone_);
    ASSERT_TRUE(server) << server.error().ToString();
    server_ = *std::move(server);
    Use("secret");
  }
  void Use(const std::string& password) {
    std::string url = "http://127.0.0.1:" + std::to_string(server_->port());
    auto client = http::NewClient(url, {});
    ASSERT_TRUE(client) << client.error().ToString();
    auth_ = std::make_unique<KeystoneAuthenticator>(
        KeystoneAuthenticator::Options{.url = url, .username = "placement", .password = password},
        *std::move(client), [this] { return now_ms_.load(); });
  }
  std::future<Found> Ask(const std::string& token) {
    auto promise = std::make_shared<std::promise<Found>>();
    http::Request request;
    if (!token.empty()) request.headers.Set("X-Auth-Token", token);
    auth_->Identify(request, [promise](Found found) { promise->set_value(std::move(found)); });
    return promise->get_future();
  }

  FakeKeystone keystone_;
  std::unique_ptr<http::Server> server_;
  std::unique_ptr<KeystoneAuthenticator> auth_;
  std::atomic<uint64_t> now_ms_{1'800'000'000'000};
};

TEST_F(Keystone, TellsWhoseTokenItIs) {
  keystone_.Add("t1", {.user_id = "u1", .project_id = "p1", .roles = {"reader", "member"}});
  keystone_.Add("t2", {.user_id = "u2", .project_id = "", .roles = {"admin"}});

  Found project = Ask("t1").get(), system = Ask("t2").get();

  ASSERT_TRUE(project && system);
  EXPECT_EQ(*project, (Identity{.user_id = "u1", .project_id = "p1", .roles = {"reader", "member"}}));
  EXPECT_TRUE(system->system_scope);
  EXPECT_EQ(keystone_.logins, 1);
}

TEST_F(Keystone, TakesAnAdminOfADomainForNoAdminOfTheCloud) {
  keystone_.Add("t1", {.user_id = "u1", .project_id = "", .roles = {"admin"}, .domain_id = "d1"});
  keystone_.Add("t2", {.user_id = "u2", .project_id = "p1", .roles = {"admin"}});
  Policy policy = *Policy::Make({}, YamlNode());

  Found domain = Ask("t1").get(), project = Ask("t2").get();

  ASSERT_TRUE(domain && project);
  EXPECT_FALSE(policy.Allows("placement:resource_providers:list", *domain, {}));
  EXPECT_TRUE(policy.Allows("placement:resource_providers:list", *project, {}));
}

TEST_F(Keystone, RefusesWhatItDoesNotKnowAndSaysWhereToGetAToken) {
  Found unknown = Ask("nonsense").get(), none = Ask("").get(), huge = Ask(std::string(100'000, 'x')).get();

  ASSERT_FALSE(unknown || none || huge);
  EXPECT_EQ(unknown.error().why, Why::kBadToken);
  EXPECT_EQ(none.error().why, Why::kNoToken);
  EXPECT_EQ(huge.error().why, Why::kBadToken);
  EXPECT_TRUE(none.error().headers.Get("www-authenticate").starts_with("Keystone uri=\"http://127.0.0.1:"));
}

TEST_F(Keystone, RemembersAnswersForAWhile) {
  keystone_.Add("t1", {.user_id = "u1", .project_id = "p1", .roles = {}});
  ASSERT_TRUE(Ask("t1").get());
  keystone_.Revoke("t1");

  bool cached = Ask("t1").get().has_value();
  now_ms_ += 300'001;
  bool later = Ask("t1").get().has_value();

  EXPECT_TRUE(cached);
  EXPECT_FALSE(later);
  EXPECT_EQ(keystone_.validations, 2);
}

TEST_F(Keystone, DoesNotRememberATokenLongerThanItLives) {
  keystone_.Add("t1",
                {.user_id = "u1", .project_id = "p1", .roles = {}, .expires_at = "2027-01-15T08:01:00Z"});
  ASSERT_TRUE(Ask("t1").get());  // 2027-01-15 08:00:00

  now_ms_ += 60'001;

  EXPECT_FALSE(Ask("t1").get());
}

TEST_F(Keystone, LogsInAgainWhenItsOwnTokenIsRevoked) {
  keystone_.Add("t1", {.user_id = "u1", .project_id = "p1", .roles = {}});
  keystone_.Add("t2", {.user_id = "u2", .project_id = "p1", .roles = {}});
  ASSERT_TRUE(Ask("t1").get());
  keystone_.RevokeService();

  EXPECT_TRUE(Ask("t2").get());
  EXPECT_EQ(keystone_.logins, 2);
}

TEST_F(Keystone, LogsInOnceForManyQuestionsAtATime) {
  std::vector<std::future<Found>> asked;
  for (int i = 0; i < 20; ++i) {
    std::string id = "t" + std::to_string(i);
    keystone_.Add(id, {.user_id = id, .project_id = "p", .roles = {}});
    asked.push_back(Ask(id));
  }
  for (size_t i = 0; i < asked.size(); ++i) {
    Found found = asked[i].get();
    ASSERT_TRUE(found);
    EXPECT_EQ(found->user_id, "t" + std::to_string(i));
  }
  EXPECT_EQ(keystone_.logins, 1);
}

TEST_F(Keystone, SaysThatItCannotTellRatherThanNo) {
  Use("wrong");
  Found refused_login = Ask("t1").get();
  Use("secret");
  keystone_.fail_with = 500;
  Found broken = Ask("t1").get();
  server_->Stop(std::chrono::milliseconds(0));
  Found gone = Ask("t1").get();

  ASSERT_FALSE(refused_login || broken || gone);
  EXPECT_EQ(refused_login.error().why, Why::kUnavailable);
  EXPECT_EQ(broken.error().why, Why::kUnavailable);
  EXPECT_EQ(gone.error().why, Why::kUnavailable);
}

TEST(KeystoneToken, RefusesAnswersThatAreNone) {
  for (const char* body : {"", "[]", "{}", R"({"token": 1})", R"({"token": {"user": {"id": 7}}})",
                           R"({"token": {"user": {"id": "u"}, "expires_at": "soon"}})"}) {
    EXPECT_FALSE(ParseKeystoneToken(body)) << body;
  }
}

}  // namespace
}  // namespace berth::placement::rest
