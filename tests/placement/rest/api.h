#pragma once

#include <gtest/gtest.h>
#include <rapidjson/pointer.h>
#include <rapidjson/stringbuffer.h>
#include <rapidjson/writer.h>

#include <future>
#include <memory>
#include <string>

#include "placement/engine/event_hub.h"
#include "placement/engine/fleet.h"
#include "placement/engine/writer.h"
#include "placement/rest/no_auth.h"
#include "placement/rest/service.h"
#include "tests/fakes/fake_store.h"

namespace berth::placement::rest {

inline constexpr const char* kA = "aaaaaaaa-0000-4000-8000-000000000001";
inline constexpr const char* kB = "bbbbbbbb-0000-4000-8000-000000000002";
inline constexpr const char* kC = "cccccccc-0000-4000-8000-000000000003";
inline constexpr const char* kConsumer = "dddddddd-0000-4000-8000-000000000004";
inline constexpr const char* kConsumer2 = "eeeeeeee-0000-4000-8000-000000000005";
inline constexpr const char* kAggregate = "ffffffff-0000-4000-8000-000000000006";

struct Reply {
  int status = 0;
  http::Headers headers;
  std::string body;
  JsonDocument json;

  // The value at a JSON pointer ("/errors/0/code") as text; "-" when there is none.
  std::string At(const std::string& pointer) const {
    const JsonValue* value = rapidjson::Pointer(pointer.c_str()).Get(json);
    if (!value) return "-";
    return value->IsString() ? std::string(TextOf(*value)) : PythonRepr(*value);
  }
  std::string Detail() const { return At("/errors/0/detail"); }
  std::string Code() const { return At("/errors/0/code"); }
  bool Says(std::string_view text) const { return Detail().find(text) != std::string::npos; }
};

// The whole service but for its listener: requests go through the real engine and writer, on a store in
// memory.
class Api {
 public:
  explicit Api(RestService::Options options = {.access_log = false},
               Policy::Options policy = {.new_defaults_only = false})
      : store_(std::make_shared<db::FakeDisk>()), policy_(*Policy::Make(policy, YamlNode())) {
    auto contents = store_.Load();
    engine_ = *Engine::Restore(*contents);
    fleet_.Load(engine_->Hosts(), engine_->resources());
    hub_ = std::make_unique<EventHub>(fleet_, EventHub::Options{});
    writer_ = std::make_unique<Writer>(*engine_, store_, *hub_, Writer::Options{}, 1);
    RestService::Backend backend{
        .view = [this] { return fleet_.resources(); },
        .submit =
            [this](Command command, std::function<void(const Result<Outcome>&)> done) {
              writer_->Submit(std::move(command), std::move(done));
            },
        .authenticator = auth_.get(),
        .policy = &policy_,
        .metrics = &metrics_,
        .now_ms = [] { return uint64_t{1'700'000'000'000}; },
        .run = {},
        .collect = {},
        .health = {}};
    service_ = std::make_unique<RestService>(std::move(options), std::move(backend));
  }
  ~Api() { writer_->Stop(); }

  Reply Send(http::Request request) {
    auto promise = std::make_shared<std::promise<http::Response>>();
    service_->Handle(std::move(request),
                     [promise](http::Response response) { promise->set_value(std::move(response)); });
    http::Response response = promise->get_future().get();
    Reply reply{.status = response.status, .headers = response.headers, .body = response.body, .json = {}};
    if (auto json = ParseJson(reply.body)) reply.json = *std::move(json);
    return reply;
  }
  static http::Request Make(std::string method, const std::string& target, int minor, std::string body = {}) {
    http::Request request{.method = std::move(method),
                          .path = target.substr(0, target.find('?')),
                          .query = {},
                          .headers = {},
                          .body = std::move(body),
                          .remote = "127.0.0.1"};
    if (size_t at = target.find('?'); at != std::string::npos) request.query = target.substr(at + 1);
    request.headers.Set("x-auth-token", "admin");
    request.headers.Set("host", "placement:8778");
    request.headers.Set("openstack-api-version", "placement 1." + std::to_string(minor));
    if (!request.body.empty()) request.headers.Set("content-type", "application/json");
    return request;
  }
  Reply Get(const std::string& target, int minor = 39) { return Send(Make("GET", target, minor)); }
  Reply Delete(const std::string& target, int minor = 39) { return Send(Make("DELETE", target, minor)); }
  Reply Put(const std::string& target, std::string body, int minor = 39) {
    return Send(Make("PUT", target, minor, std::move(body)));
  }
  Reply Post(const std::string& target, std::string body, int minor = 39) {
    return Send(Make("POST", target, minor, std::move(body)));
  }

  // --- what many tests begin with; each must succeed ---
  void Provider(const char* uuid, const std::string& name, const char* parent = nullptr) {
    std::string body = R"({"name": ")" + name + R"(", "uuid": ")" + uuid + "\"";
    if (parent) body += R"(, "parent_provider_uuid": ")" + std::string(parent) + "\"";
    ASSERT_EQ(Post("/resource_providers", body + "}").status, 200);
  }
  void Inventory(const char* uuid, const std::string& resource_class, const std::string& fields) {
    Reply reply = Post("/resource_providers/" + std::string(uuid) + "/inventories",
                       R"({"resource_class": ")" + resource_class + "\", " + fields + "}");
    ASSERT_EQ(reply.status, 201) << reply.body;
  }
  Reply Allocate(const char* consumer, const char* provider, const std::string& resources,
                 const std::string& generation = "null", int minor = 28) {
    return Put("/allocations/" + std::string(consumer),
               R"({"allocations": {")" + std::string(provider) + R"(": {"resources": )" + resources +
                   R"(}}, "project_id": "p1", "user_id": "u1", "consumer_generation": )" + generation + "}",
               minor);
  }
  // What comes by gRPC: a host's report.
  void Report(const HostReport& report) {
    ASSERT_TRUE(writer_->Execute({.at_ms = 1'700'000'000'000, .body = ReportHost{report}}).has_value());
  }
  RestMetrics& metrics() { return metrics_; }

 private:
  db::FakeStore store_;
  std::unique_ptr<Engine> engine_;
  Fleet fleet_;
  std::unique_ptr<EventHub> hub_;
  std::unique_ptr<Writer> writer_;
  MetricsRegistry registry_;
  RestMetrics metrics_{registry_};
  std::unique_ptr<Authenticator> auth_ = NewNoAuthenticator();
  Policy policy_;
  std::unique_ptr<RestService> service_;
};

inline std::string Rp(const char* uuid, std::string_view rest = "") {
  return "/resource_providers/" + std::string(uuid) + std::string(rest);
}

}  // namespace berth::placement::rest
