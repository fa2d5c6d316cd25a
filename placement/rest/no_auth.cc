#include "placement/rest/no_auth.h"

#include "placement/rest/text.h"

namespace berth::placement::rest {
namespace {

class NoAuthenticator final : public Authenticator {
 public:
  void Identify(const http::Request& request, Identified done) override {
    const std::string* token = request.headers.Find("x-auth-token");
    if (!token) return done(tl::unexpected(Unauthenticated{.why = Unauthenticated::Why::kNoToken}));
    Identity identity;
    size_t colon = token->find(':');
    identity.user_id = token->substr(0, colon);
    if (colon != std::string::npos) identity.project_id = token->substr(colon + 1);
    if (identity.project_id.empty()) identity.project_id = identity.user_id;
    if (const std::string* project = request.headers.Find("x-project-id")) identity.project_id = *project;
    if (const std::string* roles = request.headers.Find("x-roles")) {
      for (std::string_view role : Split(*roles, ',')) {
        if (!Strip(role).empty()) identity.roles.emplace_back(Strip(role));
      }
    } else if (identity.user_id == "admin") {
      identity.roles = {"admin"};
    }
    if (!request.headers.Get("openstack-system-scope").empty()) {
      identity.system_scope = true;
      identity.project_id.clear();
    }
    if (identity.user_id.empty())
      return done(tl::unexpected(Unauthenticated{.why = Unauthenticated::Why::kBadToken}));
    done(std::move(identity));
  }
};

}  // namespace

std::unique_ptr<Authenticator> NewNoAuthenticator() {
  return std::make_unique<NoAuthenticator>();
}

}  // namespace berth::placement::rest
