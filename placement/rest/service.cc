#include "placement/rest/service.h"

#include <algorithm>
#include <cctype>

#include "common/log.h"
#include "placement/rest/accept.h"
#include "placement/rest/engine_error.h"
#include "placement/rest/text.h"

namespace berth::placement::rest {
namespace {

std::string NewRequestId() {
  return "req-" + Uuid::Random().ToString();
}

// A header that may go into an address: a host's name or address, with a port.
bool IsHost(std::string_view text) {
  return !text.empty() && text.size() < 300 &&
         std::all_of(
             text.begin(), text.end(),
             [](unsigned char c) {
               return std::isalnum(c) != 0 ||
                      std::string_view(".:-_[]").find(static_cast<char>(c)) != std::string_view::npos;
             });
}

// The address by which the client reached the service: what Location begins with. "": it does not say.
std::string OuterAddress(const http::Request& request, bool trust_proxy) {
  std::string_view host = request.headers.Get("host"), scheme = "http";
  if (trust_proxy) {
    if (IsHost(request.headers.Get("x-forwarded-host"))) host = request.headers.Get("x-forwarded-host");
    if (request.headers.Get("x-forwarded-proto") == "https") scheme = "https";
  }
  return IsHost(host) ? std::string(scheme) + "://" + std::string(host) : std::string();
}

// A client's own id for a chain of requests, if it is one.
std::string GlobalRequestId(const http::Request& request) {
  std::string_view id = request.headers.Get("x-openstack-request-id");
  return id.size() == 40 && id.starts_with("req-") && IsUuidPattern(id.substr(4)) ? std::string(id) : "";
}

}  // namespace

RestService::RestService(Options options, Backend backend)
    : options_(std::move(options)), backend_(std::move(backend)) {}

RestService::~RestService() {
  std::unique_lock lock(mutex_);
  idle_.wait(lock, [this] { return in_work_ == 0; });
}

void RestService::Handle(http::Request request, Respond respond) {
  auto pending = std::make_shared<Pending>();
  {
    std::lock_guard lock(mutex_);
    ++in_work_;
  }
  pending->ticket = std::shared_ptr<void>(nullptr, [this](void*) {
    std::lock_guard lock(mutex_);
    if (--in_work_ == 0) idle_.notify_all();
  });
  pending->began = std::chrono::steady_clock::now();
  pending->respond = std::move(respond);
  pending->request_id = NewRequestId();
  pending->accept = request.headers.Get("accept");
  pending->call.request = std::move(request);
  pending->call.prefix = options_.prefix;
  pending->call.policy = backend_.policy;
  pending->call.now_ms = backend_.now_ms();
  if (ServeOperations(pending)) return;
  std::string path;
  if (!http::PercentDecode(pending->call.request.path, &path) || !IsUtf8(path)) {
    return Fail(pending, BadRequest("the path is not percent-encoded UTF-8"));
  }
  if (!path.starts_with(options_.prefix)) return Fail(pending, NotFoundError(""));
  path.erase(0, options_.prefix.size());
  pending->match = MatchRoute(pending->call.request.method, path);
  pending->call.path = pending->match.parts;
  Authenticate(pending);
}

// What monitors ask, without a token.
bool RestService::ServeOperations(const PendingPtr& pending) {
  const http::Request& request = pending->call.request;
  std::string_view path = request.path;
  if (!path.starts_with(options_.prefix) || request.method != "GET") return false;
  path.remove_prefix(options_.prefix.size());
  http::Response response{.status = 200, .headers = {}, .body = "OK\n"};
  response.headers.Set("content-type", "text/plain; charset=UTF-8");
  if (path == "/healthcheck") {
    Status health = backend_.health ? backend_.health() : Status();
    if (!health.ok()) {
      response.status = 503;
      response.body = health.message() + "\n";
    }
  } else if (path == "/metrics") {
    if (backend_.collect) backend_.collect();
    response.headers.Set("content-type", "text/plain; version=0.0.4; charset=utf-8");
    response.body = backend_.metrics->ToText();
  } else {
    return false;
  }
  pending->match.path = path == "/metrics" ? "/metrics" : "/healthcheck";
  Finish(pending, std::move(response));
  return true;
}

void RestService::Authenticate(const PendingPtr& pending) {
  bool root =
      pending->match.path.data() != nullptr && (pending->match.path.empty() || pending->match.path == "/");
  bool preflight = options_.cors.enabled() && pending->call.request.method == "OPTIONS";
  if (root || preflight) return Negotiate(pending);
  backend_.authenticator->Identify(
      pending->call.request, [this, pending](tl::expected<Identity, Unauthenticated> found) {
        if (found) {
          pending->call.identity = *std::move(found);
          return Negotiate(pending);
        }
        if (found.error().why == Unauthenticated::Why::kUnavailable) {
          return Fail(pending, {.status = 503, .detail = "The identity service does not answer."});
        }
        http::Response response = RenderUnauthorized(ContextOf(*pending));
        for (const auto& [name, value] : found.error().headers.fields()) response.headers.Set(name, value);
        Finish(pending, std::move(response));
      });
}

void RestService::Negotiate(const PendingPtr& pending) {
  AskedVersion asked = ParseVersionHeader(pending->call.request.headers.Get("openstack-api-version"));
  if (asked.kind != AskedVersion::Kind::kFound) {
    int status = asked.kind == AskedVersion::Kind::kMalformed ? 400 : 406;
    return Fail(pending, {.status = status, .detail = asked.reason});
  }
  pending->call.version = asked.version;
  pending->versioned = true;
  Answer answer = Dispatch(*pending);
  if (auto* response = std::get_if<http::Response>(&answer)) return Finish(pending, std::move(*response));
  if (auto* error = std::get_if<ApiError>(&answer)) return Fail(pending, *error);
  Submit(pending, std::get<Write>(std::move(answer)));
}

// 406 or 415 for what the route wants and the request lacks.
std::optional<ApiError> RestService::CheckMedia(const Pending& pending) const {
  const Route& route = *pending.match.route;
  if (route.json_out && !AcceptsJson(pending.accept)) {
    return ApiError{.status = 406, .detail = "Only application/json is provided"};
  }
  if (route.json_in) return RequireJson(pending.call);
  return std::nullopt;
}

Answer RestService::Dispatch(Pending& pending) {
  Call& call = pending.call;
  std::string_view length = Strip(call.request.headers.Get("content-length"));
  if (!std::all_of(length.begin(), length.end(), [](unsigned char c) { return std::isdigit(c) != 0; })) {
    return BadRequest("content-length header must be an integer");
  }
  if (!call.request.body.empty() && call.request.headers.Get("content-type").empty()) {
    return BadRequest("content-type header required when content-length > 0");
  }
  const RouteMatch& match = pending.match;
  if (match.path.data() == nullptr) return NotFoundError("");
  if (!match.route) {
    ApiError error{.status = 405, .detail = "The method specified is not allowed for this resource."};
    error.headers.Set("allow", match.allow);
    return error;
  }
  const Route& route = *match.route;
  if (route.media_first) {
    if (auto error = CheckMedia(pending)) return *error;
  }
  if (!call.version.At(route.since)) return ApiError{.status = route.missing_status};
  if (!route.media_first) {
    if (auto error = CheckMedia(pending)) return *error;
  }
  Policy::Target own{.project_id = call.identity.project_id, .user_id = call.identity.user_id};
  if (!route.rule.empty() && !call.policy->Allows(route.rule, call.identity, own))
    return Forbidden(route.rule);
  call.query = Query::Parse(call.request.query);
  call.view = backend_.view();
  return route.handler(call);
}

void RestService::Submit(const PendingPtr& pending, Write write) {
  auto answer = std::make_shared<decltype(write.answer)>(std::move(write.answer));
  Command command{.at_ms = pending->call.now_ms, .body = std::move(write.command)};
  command.actor = pending->request_id + " " + pending->call.identity.user_id;
  backend_.submit(std::move(command), [this, pending, answer](const Result<Outcome>& result) {
    // This is the writer's thread: it takes along what the answer needs and no more.
    auto done = std::make_shared<Result<Outcome>>(Outcome{});
    if (result) {
      (*done)->changed = result->changed;
      (*done)->generation = result->generation;
      (*done)->created = result->created;
      (*done)->provider = result->provider;
    } else {
      *done = result.error();
    }
    auto finish = [this, pending, answer, done] {
      if (!*done) return Fail(pending, ErrorOf(done->error()));
      pending->call.view = backend_.view();
      Finish(pending, (*answer)(**done));
    };
    if (backend_.run) {
      backend_.run(finish);
    } else {
      finish();
    }
  });
}

ErrorContext RestService::ContextOf(const Pending& pending) const {
  const http::Request& request = pending.call.request;
  return {.method = request.method,
          .accept = pending.accept,
          .content_type =
              request.headers.Get("content-type").empty() ? "None" : request.headers.Get("content-type"),
          .version = pending.versioned ? &pending.call.version : nullptr,
          .request_id = pending.request_id};
}

void RestService::Fail(const PendingPtr& pending, const ApiError& error) {
  if (error.code == kConcurrentUpdate) backend_.metrics->CountConflict(pending->match.path);
  Finish(pending, RenderError(error, ContextOf(*pending)));
}

void RestService::Finish(const PendingPtr& pending, http::Response response) {
  const Call& call = pending->call;
  if (pending->versioned) {
    response.headers.Set("openstack-api-version", "placement " + call.version.ToString());
    response.headers.Set("vary", "openstack-api-version");
  }
  if (const std::string* location = response.headers.Find("location")) {
    response.headers.Set("location", OuterAddress(call.request, options_.trust_proxy_headers) + *location);
  }
  ApplyCors(options_.cors, call.request, response);
  response.headers.Set("x-openstack-request-id", pending->request_id);
  std::chrono::duration<double> took = std::chrono::steady_clock::now() - pending->began;
  bool known = pending->match.path.data() != nullptr;
  std::string_view route = !known ? "other" : pending->match.path.empty() ? "/" : pending->match.path;
  backend_.metrics->Count(call.request.method, route, response.status, took.count());
  if (options_.access_log) {
    LOG(kInfo, "rest_request",
        {{"id", pending->request_id},
         {"global_id", GlobalRequestId(call.request)},
         {"remote", call.request.remote},
         {"method", call.request.method},
         {"path", call.request.path},
         {"query", call.request.query},
         {"status", response.status},
         {"bytes", response.body.size()},
         {"version", pending->versioned ? call.version.ToString() : "-"},
         {"user", call.identity.user_id},
         {"us", static_cast<int64_t>(took.count() * 1e6)}});
  }
  pending->respond(std::move(response));
}

http::Response RestService::Refuse(const http::Request& request, int status, const std::string& reason) {
  std::string id = NewRequestId();
  ErrorContext context{.method = request.method,
                       .accept = request.headers.Get("accept"),
                       .content_type = request.headers.Get("content-type"),
                       .version = nullptr,
                       .request_id = id};
  http::Response response = RenderError({.status = status, .detail = reason}, context);
  response.headers.Set("x-openstack-request-id", id);
  if (status == 503) response.headers.Set("retry-after", "1");
  backend_.metrics->Count(request.method, "refused", status, 0);
  LOG(kInfo, "rest_refused",
      {{"id", id}, {"remote", request.remote}, {"status", status}, {"reason", reason}});
  return response;
}

}  // namespace berth::placement::rest
