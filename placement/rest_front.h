#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "common/http/server.h"
#include "common/status.h"
#include "placement/rest/cors.h"
#include "placement/rest/keystone.h"

namespace berth::placement {

class PlacementServer;

// The REST face of a placement service: listener, authentication, policy, metrics. For berth-placement and
// for the all-in-one program.
class RestFront {
 public:
  enum class Auth { kNone, kTokenFile, kKeystone };
  enum class Listener { kCpprest, kBeast };
  struct Options {
    std::string listen = {};  // "HOST:PORT", port 0: any; "": no REST
    std::string prefix = {};  // "/placement", ""
    Auth auth = Auth::kNone;
    bool allow_auth_none_anywhere = false;  // else only on a loopback address
    std::string token_file = {};            // kTokenFile
    rest::KeystoneAuthenticator::Options keystone = {};
    std::string keystone_ca_file = {};
    std::string policy_file = {};      // a map of rules; "": none
    bool policy_new_defaults = false;  // only those
    rest::CorsOptions cors = {};
    bool access_log = true;
    bool trust_proxy_headers = false;  // X-Forwarded-Proto, X-Forwarded-Host
    Listener listener = Listener::kCpprest;
    http::ServerOptions server = {};  // host and port come from `listen`
  };

  // All that Start would refuse by these options, without listening.
  static std::vector<Status> Check(const Options& options);
  // Errors name the option. `placement` outlives it.
  static Result<std::unique_ptr<RestFront>> Start(const Options& options, PlacementServer& placement);
  ~RestFront();  // Stop
  RestFront(const RestFront&) = delete;
  RestFront& operator=(const RestFront&) = delete;

  // Where clients find it: "host:port".
  const std::string& endpoint() const;
  // Answers what was accepted, `grace` at most, then closes. Before the writer stops.
  void Stop(std::chrono::milliseconds grace);

 private:
  struct Parts;
  explicit RestFront(std::unique_ptr<Parts> parts);

  std::unique_ptr<Parts> parts_;
};

// "none", "token-file", "keystone".
Result<RestFront::Auth> ParseAuth(std::string_view text);
// "cpprestsdk", "beast".
Result<RestFront::Listener> ParseListener(std::string_view text);

}  // namespace berth::placement
