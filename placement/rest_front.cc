#include "placement/rest_front.h"

#include <unistd.h>

#include <atomic>
#include <charconv>
#include <ctime>

#include "common/file.h"
#include "common/log.h"
#include "common/metrics.h"
#include "common/yaml.h"
#include "placement/engine/fleet.h"
#include "placement/engine/writer.h"
#include "placement/rest/no_auth.h"
#include "placement/rest/service.h"
#include "placement/rest/token_file.h"
#include "placement/server.h"
#include "placement/store_metrics.h"

namespace berth::placement {
namespace {

uint64_t NowMs() {
  auto now = std::chrono::system_clock::now().time_since_epoch();
  return static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::milliseconds>(now).count());
}

Status ParseListen(const std::string& listen, http::ServerOptions& server) {
  size_t colon = listen.rfind(':');
  int port = -1;
  if (colon != std::string::npos) {
    const char* end = listen.data() + listen.size();
    auto [stop, error] = std::from_chars(listen.data() + colon + 1, end, port);
    if (error != std::errc() || stop != end) port = -1;
  }
  if (colon == 0 || port < 0 || port > 65535) {
    return InvalidArgument("\"" + listen + "\" is no address", "rest-listen",
                           "expected HOST:PORT, port 0 to 65535");
  }
  server.host = listen.substr(0, colon);
  if (server.host.size() > 2 && server.host.front() == '[' && server.host.back() == ']') {
    server.host = server.host.substr(1, server.host.size() - 2);
  }
  server.port = port;
  return {};
}

bool IsLoopback(const std::string& host) {
  return host == "localhost" || host == "::1" || host.starts_with("127.");
}

Result<std::unique_ptr<rest::Authenticator>> MakeKeystone(const RestFront::Options& options) {
  rest::KeystoneAuthenticator::Options keystone = options.keystone;
  std::string base = keystone.url;
  while (base.ends_with('/')) base.pop_back();
  if (base.ends_with("/v3")) base.resize(base.size() - 3);
  if (keystone.username.empty() || keystone.password.empty()) {
    return InvalidArgument("needs a user name and a password", "keystone");
  }
  TRY_ASSIGN(std::unique_ptr<http::Client> client,
             http::NewClient(base, {.ca_file = options.keystone_ca_file}));
  return std::unique_ptr<rest::Authenticator>(
      std::make_unique<rest::KeystoneAuthenticator>(std::move(keystone), std::move(client), NowMs));
}

Result<std::unique_ptr<rest::Authenticator>> MakeAuthenticator(const RestFront::Options& options,
                                                               const std::string& host) {
  switch (options.auth) {
    case RestFront::Auth::kTokenFile:
      if (options.token_file.empty()) return InvalidArgument("is missing", "token-file");
      return rest::OpenTokenFile(options.token_file);
    case RestFront::Auth::kKeystone:
      return MakeKeystone(options);
    case RestFront::Auth::kNone:
      break;
  }
  if (!IsLoopback(host) && !options.allow_auth_none_anywhere) {
    return InvalidArgument("\"none\" lets everybody do everything, and " + host + " is no loopback address",
                           "auth", "use token-file or keystone, or force it with --auth-none-anywhere");
  }
  return rest::NewNoAuthenticator();
}

Result<rest::Policy> MakePolicy(const RestFront::Options& options) {
  YamlNode overrides;
  if (!options.policy_file.empty()) {
    TRY_ASSIGN(overrides, ReadYamlFile(options.policy_file));
  }
  return rest::Policy::Make({.new_defaults_only = options.policy_new_defaults}, overrides);
}

}  // namespace

Result<RestFront::Auth> ParseAuth(std::string_view text) {
  if (text == "none") return RestFront::Auth::kNone;
  if (text == "token-file") return RestFront::Auth::kTokenFile;
  if (text == "keystone") return RestFront::Auth::kKeystone;
  return InvalidArgument("\"" + std::string(text) + "\" is no authentication", "auth",
                         "expected none, token-file or keystone");
}

Result<RestFront::Listener> ParseListener(std::string_view text) {
  if (text == "cpprestsdk") return RestFront::Listener::kCpprest;
  if (text == "beast") return RestFront::Listener::kBeast;
  return InvalidArgument("\"" + std::string(text) + "\" is no listener", "listener",
                         "expected cpprestsdk or beast");
}

// In the order of their making; they go in the opposite one.
struct RestFront::Parts {
  MetricsRegistry registry;
  std::unique_ptr<StoreMetrics> store_metrics;
  std::unique_ptr<rest::RestMetrics> metrics;
  std::unique_ptr<rest::Authenticator> authenticator;
  std::unique_ptr<rest::Policy> policy;
  std::unique_ptr<rest::RestService> service;
  std::unique_ptr<http::Server> server;
  // `server` once it is there: requests come as soon as it listens, which is before the start returns.
  std::atomic<http::Server*> listening{nullptr};
  std::string endpoint;
};

Result<std::unique_ptr<RestFront>> RestFront::Start(const Options& options, PlacementServer& placement) {
  auto parts = std::make_unique<Parts>();
  http::ServerOptions server = options.server;
  TRY(ParseListen(options.listen, server));
  if (!options.prefix.empty() && (!options.prefix.starts_with('/') || options.prefix.ends_with('/'))) {
    return InvalidArgument("\"" + options.prefix + "\" is no prefix", "rest-prefix", "such as /placement");
  }
  TRY_ASSIGN(parts->authenticator, MakeAuthenticator(options, server.host));
  TRY_ASSIGN(rest::Policy policy, MakePolicy(options));
  parts->policy = std::make_unique<rest::Policy>(std::move(policy));
  parts->metrics = std::make_unique<rest::RestMetrics>(parts->registry);
  parts->store_metrics = std::make_unique<StoreMetrics>(parts->registry, placement);
  Parts* p = parts.get();
  rest::RestService::Backend backend{
      .view = [&placement] { return placement.fleet().resources(); },
      .submit =
          [&placement](Command command, std::function<void(const Result<Outcome>&)> done) {
            placement.writer().Submit(std::move(command), std::move(done));
          },
      .authenticator = parts->authenticator.get(),
      .policy = parts->policy.get(),
      .metrics = parts->metrics.get(),
      .now_ms = NowMs,
      .run =
          [p](std::function<void()> work) {
            http::Server* now = p->listening.load(std::memory_order_acquire);
            if (now == nullptr) return work();
            now->RunSoon(std::move(work));
          },
      .collect =
          [p] {
            const http::Server* now = p->listening.load(std::memory_order_acquire);
            p->store_metrics->Collect(now == nullptr ? http::Server::Counters{} : now->counters());
          },
      .health = [&placement] { return placement.writer().health(); }};
  parts->service = std::make_unique<rest::RestService>(
      rest::RestService::Options{.prefix = options.prefix,
                                 .cors = options.cors,
                                 .access_log = options.access_log,
                                 .trust_proxy_headers = options.trust_proxy_headers},
      std::move(backend));
  auto start = options.listener == Listener::kBeast ? http::StartBeastServer : http::StartServer;
  TRY_ASSIGN(parts->server, start(server, *parts->service));
  parts->listening.store(parts->server.get(), std::memory_order_release);
  std::string host = server.host.find(':') == std::string::npos ? server.host : "[" + server.host + "]";
  parts->endpoint = host + ":" + std::to_string(parts->server->port());
  return std::unique_ptr<RestFront>(new RestFront(std::move(parts)));
}

RestFront::RestFront(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}

RestFront::~RestFront() {
  Stop(std::chrono::milliseconds(0));
}

const std::string& RestFront::endpoint() const {
  return parts_->endpoint;
}

void RestFront::Stop(std::chrono::milliseconds grace) {
  if (parts_->server) parts_->server->Stop(grace);
}

}  // namespace berth::placement
