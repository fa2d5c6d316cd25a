#pragma once

#include <functional>
#include <string>
#include <tl/expected.hpp>
#include <vector>

#include "common/http/message.h"

namespace berth::placement::rest {

// Who asks, as the authentication has found out.
struct Identity {
  std::string user_id;
  std::string project_id;  // "": not scoped to a project
  std::vector<std::string> roles;
  bool system_scope = false;  // a token for the whole cloud or for a domain, which this API refuses

  friend bool operator==(const Identity&, const Identity&) = default;
};

// Why there is no identity.
struct Unauthenticated {
  enum class Why {
    kNoToken,      // 401
    kBadToken,     // 401
    kUnavailable,  // 503: whoever could tell does not answer
  };
  Why why = Why::kNoToken;
  http::Headers headers = {};  // of the answer, such as WWW-Authenticate
};

// Finds out who sent a request. Thread-safe.
class Authenticator {
 public:
  using Identified = std::function<void(tl::expected<Identity, Unauthenticated>)>;

  virtual ~Authenticator() = default;
  // Never waits: `done` is called before it returns, or later on another thread.
  virtual void Identify(const http::Request& request, Identified done) = 0;
};

}  // namespace berth::placement::rest
