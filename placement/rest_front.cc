#include "placement/rest_front.h"

#include <unistd.h>

#include <atomic>
#include <optional>

#include "common/error_list.h"
#include "common/file.h"
#include "common/host_port.h"
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

using AuthenticatorPtr = std::unique_ptr<rest::Authenticator>;

AuthenticatorPtr MakeKeystone(const RestFront::Options& options, ErrorList& errors) {
  rest::KeystoneAuthenticator::Options keystone = options.keystone;
  std::string base = keystone.url;
  while (base.ends_with('/')) base.pop_back();
  if (base.ends_with("/v3")) base.resize(base.size() - 3);
  auto need = [&](const std::string& value, const char* field, const char* hint) {
    if (value.empty()) errors.Add(InvalidArgument("is missing", field, hint));
  };
  need(keystone.url, "rest.keystone.url", "such as http://keystone:5000");
  need(keystone.username, "rest.keystone.username", "the service's own user");
  need(keystone.password, "rest.keystone.password", "or name a file in password_file");
  if (!options.keystone_ca_file.empty()) {
    Status file = ReadFile(options.keystone_ca_file).status();
    if (!file.ok()) errors.Add(std::move(file).WithField("rest.keystone.ca_file"));
  }
  if (!errors.empty()) return nullptr;
  auto client = http::NewClient(base, {.ca_file = options.keystone_ca_file});
  if (!client) {
    errors.Add(std::move(client).error().WithField("rest.keystone.url"));
    return nullptr;
  }
  return std::make_unique<rest::KeystoneAuthenticator>(std::move(keystone), *std::move(client), NowMs);
}

// An error of a file: that it cannot be read belongs to the option, all else to a place in the file.
Status OfFile(Status error, const std::string& option, const std::string& path) {
  if (error.field().empty()) return std::move(error).WithField(option);
  return error.field() == option ? error : std::move(error).WithContext(path);
}

AuthenticatorPtr MakeAuthenticator(const RestFront::Options& options, const std::string& host,
                                   ErrorList& errors) {
  if (options.auth == RestFront::Auth::kKeystone) return MakeKeystone(options, errors);
  if (options.auth == RestFront::Auth::kNone) {
    if (!IsLoopback(host) && !options.allow_auth_none_anywhere) {
      errors.Add(
          InvalidArgument("\"none\" lets everybody do everything, and " + host + " is no loopback address",
                          "auth", "use token-file or keystone, or force it with --auth-none-anywhere"));
    }
    return rest::NewNoAuthenticator();
  }
  if (options.token_file.empty()) {
    errors.Add(InvalidArgument("is missing", "token-file"));
    return nullptr;
  }
  Result<AuthenticatorPtr> file = rest::OpenTokenFile(options.token_file);
  if (file) return *std::move(file);
  errors.Add(OfFile(std::move(file).error(), "token-file", options.token_file));
  return nullptr;
}

Result<rest::Policy> MakePolicy(const RestFront::Options& options) {
  YamlNode overrides;
  if (!options.policy_file.empty()) {
    TRY_ASSIGN(overrides, ReadYamlFile(options.policy_file));
  }
  return rest::Policy::Make({.new_defaults_only = options.policy_new_defaults}, overrides);
}

// What the options make, before anything listens.
struct Prepared {
  http::ServerOptions server;
  AuthenticatorPtr authenticator;
  std::unique_ptr<rest::Policy> policy;
};

HostPort PrepareListener(const RestFront::Options& options, ErrorList& errors) {
  std::optional<HostPort> listen = errors.Take(ParseListen(options.listen, "rest-listen"));
  // Without an address there is nothing to say about who may reach it.
  if (!listen) return {.host = "localhost", .port = 0};
  if (listen->is_ipv6() && options.listener == RestFront::Listener::kCpprest) {
    errors.Add(InvalidArgument("cpprestsdk cannot listen on the IPv6 address " + listen->ToString(),
                               "rest-listen", "use --rest-listener beast, in the file rest.listener: beast"));
  }
  return *listen;
}

Prepared Prepare(const RestFront::Options& options, ErrorList& errors) {
  Prepared made{.server = options.server, .authenticator = nullptr, .policy = nullptr};
  HostPort listen = PrepareListener(options, errors);
  made.server.host = listen.host;
  made.server.port = listen.port;
  if (!options.prefix.empty() && (!options.prefix.starts_with('/') || options.prefix.ends_with('/'))) {
    errors.Add(InvalidArgument("\"" + options.prefix + "\" is no prefix", "rest-prefix",
                               "begins with / and does not end with it, such as /placement"));
  }
  ErrorList of_auth;
  made.authenticator = MakeAuthenticator(options, listen.host, of_auth);
  errors.Add(of_auth.errors());
  Result<rest::Policy> policy = MakePolicy(options);
  if (policy) {
    made.policy = std::make_unique<rest::Policy>(*std::move(policy));
  } else {
    errors.Add(OfFile(std::move(policy).error(), "policy-file", options.policy_file));
  }
  return made;
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

std::vector<Status> RestFront::Check(const Options& options) {
  ErrorList errors;
  Prepare(options, errors);
  return errors.errors();
}

Result<std::unique_ptr<RestFront>> RestFront::Start(const Options& options, PlacementServer& placement) {
  ErrorList errors;
  Prepared prepared = Prepare(options, errors);
  TRY(errors.ToStatus());
  auto parts = std::make_unique<Parts>();
  parts->authenticator = std::move(prepared.authenticator);
  parts->policy = std::move(prepared.policy);
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
  Result<std::unique_ptr<http::Server>> started = start(prepared.server, *parts->service);
  if (!started) return std::move(started).error().WithField("rest-listen");
  parts->server = *std::move(started);
  parts->listening.store(parts->server.get(), std::memory_order_release);
  parts->endpoint = HostPort{prepared.server.host, parts->server->port()}.ToString();
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
