#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>

#include "common/http/server.h"
#include "placement/engine/command.h"
#include "placement/rest/call.h"
#include "placement/rest/cors.h"
#include "placement/rest/identity.h"
#include "placement/rest/policy.h"
#include "placement/rest/rest_metrics.h"
#include "placement/rest/router.h"

namespace berth::placement::rest {

// The REST API of OpenStack Placement over the engine: from a request to its answer, in the order
//   request id -> authentication -> microversion -> route -> media types -> policy -> handler -> engine.
// Thread-safe.
class RestService final : public http::Handler {
 public:
  struct Options {
    std::string prefix = {};  // under which the service is mounted: "" or "/placement"
    CorsOptions cors = {};
    bool access_log = true;
    bool trust_proxy_headers = false;  // X-Forwarded-Proto and -Host say how the client reached the service
  };
  // All that it works with; outlives it.
  struct Backend {
    // The newest snapshot.
    std::function<std::shared_ptr<const ResourceView>()> view;
    // Makes a change durable, then calls `done` once, on any thread (quickly: it may be the writer's).
    std::function<void(Command, std::function<void(const Result<Outcome>&)>)> submit;
    Authenticator* authenticator = nullptr;
    const Policy* policy = nullptr;
    RestMetrics* metrics = nullptr;
    std::function<uint64_t()> now_ms;
    // Runs something soon on a thread that may take its time. Empty: at once on the caller's.
    std::function<void(std::function<void()>)> run;
    // Called before the metrics are told, to bring them up to date. May be empty.
    std::function<void()> collect;
    // Whether changes can be made. May be empty: always.
    std::function<Status()> health;
  };

  RestService(Options options, Backend backend);
  // Waits for the requests that others (the engine, Keystone) still have; no new ones may come.
  ~RestService() override;
  RestService(const RestService&) = delete;
  RestService& operator=(const RestService&) = delete;

  void Handle(http::Request request, Respond respond) override;
  http::Response Refuse(const http::Request& request, int status, const std::string& reason) override;

 private:
  // A request on its way.
  struct Pending {
    std::shared_ptr<void> ticket;  // goes last: then the service may go
    Call call;
    Respond respond;
    std::string request_id;
    std::string accept;  // as it counts: "*/*" and nothing mean JSON
    RouteMatch match;
    bool versioned = false;  // the version is known
    std::chrono::steady_clock::time_point began;
  };
  using PendingPtr = std::shared_ptr<Pending>;

  bool ServeOperations(const PendingPtr& pending);
  void Authenticate(const PendingPtr& pending);
  void Negotiate(const PendingPtr& pending);
  Answer Dispatch(Pending& pending);
  std::optional<ApiError> CheckMedia(const Pending& pending) const;
  void Submit(const PendingPtr& pending, Write write);
  void Finish(const PendingPtr& pending, http::Response response);
  void Fail(const PendingPtr& pending, const ApiError& error);
  ErrorContext ContextOf(const Pending& pending) const;

  const Options options_;
  const Backend backend_;
  std::mutex mutex_;  // guards in_work_
  std::condition_variable idle_;
  size_t in_work_ = 0;
};

}  // namespace berth::placement::rest
