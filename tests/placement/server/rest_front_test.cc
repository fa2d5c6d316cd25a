// The service as it is run: configuration, listener, authentication, metrics.
#include "placement/rest_front.h"

#include <gtest/gtest.h>

#include "placement/placement_config.h"
#include "placement/server.h"
#include "tests/common/http/raw_client.h"
#include "tests/fakes/temp_folder.h"

namespace berth::placement {
namespace {

class RestFrontTest : public testing::Test {
 protected:
  void SetUp() override {
    auto opened = PlacementServer::Open({.store = "sqlite:" + (folder_.path() / "placement.db").string()});
    ASSERT_TRUE(opened) << opened.error().ToString();
    placement_ = *std::move(opened);
  }
  Status StartWith(RestFront::Options options) {
    auto started = RestFront::Start(options, *placement_);
    if (!started) return started.error();
    front_ = *std::move(started);
    return {};
  }
  // The answer to one request on a connection of its own.
  std::string Ask(const std::string& request, const std::string& body = {}) {
    std::string endpoint = front_->endpoint();
    http::RawClient client(std::stoi(endpoint.substr(endpoint.rfind(':') + 1)));
    std::string length =
        body.empty()
            ? ""
            : "Content-Type: application/json\r\nContent-Length: " + std::to_string(body.size()) + "\r\n";
    client.Send(request + " HTTP/1.1\r\nHost: h\r\nX-Auth-Token: admin\r\n" + length +
                "OpenStack-API-Version: placement 1.39\r\n\r\n" + body);
    return client.Answer();
  }

  fakes::TempFolder folder_;
  std::unique_ptr<PlacementServer> placement_;
  std::unique_ptr<RestFront> front_;
};

class RestListenerTest : public RestFrontTest, public testing::WithParamInterface<RestFront::Listener> {};
INSTANTIATE_TEST_SUITE_P(Listeners, RestListenerTest,
                         testing::Values(RestFront::Listener::kCpprest, RestFront::Listener::kBeast));

TEST_P(RestListenerTest, ServesTheApiOverASocket) {
  ASSERT_TRUE(StartWith({.listen = "127.0.0.1:0", .access_log = false, .listener = GetParam()}).ok());

  std::string made = Ask("POST /resource_providers", R"({"name": "a"})");
  std::string metrics = Ask("GET /metrics"), health = Ask("GET /healthcheck");

  EXPECT_EQ(http::StatusOf(made), 200) << made;
  EXPECT_NE(made.find(R"("name":"a")"), std::string::npos) << made;
  EXPECT_TRUE(health.ends_with("OK\n")) << health;
  for (const char* metric :
       {"placement_providers 1", "placement_commit_commands_count 1", "placement_commits_total 1",
        "placement_rest_request_seconds_bucket", "process_resident_memory_bytes"}) {
    EXPECT_NE(metrics.find(metric), std::string::npos) << metric;
  }
}

TEST_F(RestFrontTest, DoesNotTrustEverybodyOnOtherThanLoopbackAddresses) {
  Status refused = StartWith({.listen = "0.0.0.0:0"});

  EXPECT_EQ(refused.field(), "auth");
  EXPECT_TRUE(StartWith({.listen = "0.0.0.0:0", .allow_auth_none_anywhere = true}).ok());
}

TEST_F(RestFrontTest, NamesTheOptionThatIsWrong) {
  EXPECT_EQ(StartWith({.listen = "8778"}).field(), "rest-listen");
  EXPECT_EQ(StartWith({.listen = "127.0.0.1:70000"}).field(), "rest-listen");
  EXPECT_EQ(StartWith({.listen = "127.0.0.1:0", .prefix = "placement/"}).field(), "rest-prefix");
  EXPECT_EQ(StartWith({.listen = "127.0.0.1:0", .auth = RestFront::Auth::kTokenFile}).field(), "token-file");
  Status policy = StartWith({.listen = "127.0.0.1:0", .policy_file = "/nowhere"});
  EXPECT_EQ(policy.code(), StatusCode::kNotFound);
  EXPECT_EQ(policy.field(), "policy-file");
  Status tokens =
      StartWith({.listen = "127.0.0.1:0", .auth = RestFront::Auth::kTokenFile, .token_file = "/nowhere"});
  EXPECT_EQ(tokens.code(), StatusCode::kNotFound);
  EXPECT_EQ(tokens.field(), "token-file");
  Status keystone = StartWith({.listen = "127.0.0.1:0", .auth = RestFront::Auth::kKeystone});
  for (const char* field : {"rest.keystone.url", "rest.keystone.username", "rest.keystone.password"})
    EXPECT_NE(keystone.message().find(field), std::string::npos) << keystone.message();
  ASSERT_TRUE(StartWith({.listen = "127.0.0.1:0"}).ok());
  EXPECT_EQ(StartWith({.listen = front_->endpoint()}).field(), "rest-listen");
}

TEST_F(RestFrontTest, ListensOnIpv6WithBeastAndSaysThatCpprestsdkCannot) {
  Status refused = StartWith({.listen = "[::1]:0"});

  EXPECT_EQ(refused.field(), "rest-listen");
  EXPECT_NE(refused.hint().find("--rest-listener beast"), std::string::npos) << refused.ToString();
  ASSERT_TRUE(StartWith({.listen = "[::1]:0", .listener = RestFront::Listener::kBeast}).ok());
  EXPECT_TRUE(front_->endpoint().starts_with("[::1]:")) << front_->endpoint();
}

TEST(PlacementConfiguration, TellsAllErrorsAtOnce) {
  Status error = ParsePlacementConfig(R"(
grcp: {listen: x}
events_kept: 1
log_level: loud
rest: {lisen: x, prefx: y, auth: magic, keystone: {cache_s: 4000, password_file: /nowhere}, cors: {max_age_s: -1}}
)",
                                      "c.yaml")
                     .error();

  EXPECT_TRUE(error.message().starts_with("c.yaml: 9 errors:\n  grcp: unknown key")) << error.message();
  for (const char* field : {"grcp", "events_kept", "log_level", "rest.lisen", "rest.prefx", "rest.auth",
                            "rest.keystone.cache_s", "rest.keystone.password_file", "rest.cors.max_age_s"}) {
    EXPECT_NE(error.message().find(std::string("\n  ") + field + ": "), std::string::npos) << field;
  }
}

TEST(PlacementConfiguration, ReadsAllOfItsKeys) {
  auto config = ParsePlacementConfig(R"(
store: sqlite:/x.db
events_kept: 100
grpc: {listen: "127.0.0.1:1"}
rest:
  listen: "127.0.0.1:2"
  prefix: /placement
  auth: keystone
  keystone: {url: "http://k:5000/v3", username: u, password: p, cache_s: 10}
  policy_new_defaults: true
  cors: {allowed_origins: [http://a], allow_headers: [x]}
  trust_proxy_headers: yes
  listener: beast
  limits: {body_bytes: 2048, concurrent_requests: 7, request_timeout_s: 3}
)",
                                     "placement.yaml");

  ASSERT_TRUE(config) << config.error().ToString();
  EXPECT_EQ(config->placement.store, "sqlite:/x.db");
  EXPECT_EQ(config->grpc_listen, "127.0.0.1:1");
  EXPECT_EQ(config->rest.auth, RestFront::Auth::kKeystone);
  EXPECT_EQ(config->rest.keystone.cache_ms, 10'000u);
  EXPECT_TRUE(config->rest.policy_new_defaults);
  EXPECT_TRUE(config->rest.trust_proxy_headers);
  EXPECT_EQ(config->rest.listener, RestFront::Listener::kBeast);
  EXPECT_EQ(config->rest.cors.allowed_origins, (std::vector<std::string>{"http://a"}));
  EXPECT_EQ(config->rest.server.max_body_bytes, 2048u);
  EXPECT_EQ(config->rest.server.max_concurrent, 7u);
  EXPECT_EQ(config->rest.server.request_timeout, std::chrono::seconds(3));
}

TEST(PlacementConfiguration, NamesWhatItDoesNotKnow) {
  auto error = [](std::string_view text) { return ParsePlacementConfig(text, "c").error(); };

  EXPECT_NE(error("rest: {lisen: x}").ToString().find("listen"), std::string::npos);
  EXPECT_EQ(error("rest: {auth: magic}").field(), "rest.auth");
  EXPECT_EQ(error("rest: {listener: nginx}").field(), "rest.listener");
  EXPECT_NE(error("rest: {limits: {threads: 0}}").field().find("rest.limits.threads"), std::string::npos);
  EXPECT_NE(error("rest: 7").field().find("rest"), std::string::npos);
}

}  // namespace
}  // namespace berth::placement
