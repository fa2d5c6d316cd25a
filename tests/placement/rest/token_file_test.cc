#include "placement/rest/token_file.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include "common/file.h"
#include "placement/rest/no_auth.h"
#include "tests/fakes/temp_folder.h"

namespace berth::placement::rest {
namespace {

using Found = tl::expected<Identity, Unauthenticated>;

Found Ask(Authenticator& authenticator, std::initializer_list<http::Headers::Field> headers) {
  http::Request request;
  for (const auto& [name, value] : headers) request.headers.Set(name, value);
  Found found;
  authenticator.Identify(request, [&](Found answer) { found = std::move(answer); });
  return found;
}

constexpr std::string_view kFile = R"(
tokens:
- {token: 0123456789abcdef, user: nova, project: service, roles: [service, reader]}
- {token: fedcba9876543210, user: eve, project: p1, roles: []}
)";

TEST(TokenFile, KnowsItsTokensAndNoOthers) {
  auto file = ParseTokenFile(kFile, "tokens.yaml");
  ASSERT_TRUE(file) << file.error().ToString();

  Found nova = Ask(**file, {{"x-auth-token", "0123456789abcdef"}});

  ASSERT_TRUE(nova);
  EXPECT_EQ(*nova, (Identity{.user_id = "nova", .project_id = "service", .roles = {"service", "reader"}}));
  EXPECT_FALSE(Ask(**file, {{"x-auth-token", "0123456789abcdeg"}}));
  EXPECT_FALSE(Ask(**file, {}));
  EXPECT_TRUE(Ask(**file, {{"x-auth-token", "fedcba9876543210"}, {"x-roles", "admin"}})->roles.empty());
}

TEST(TokenFile, NamesWhatIsWrong) {
  auto field = [](std::string_view text) { return ParseTokenFile(text, "t").error().field(); };

  EXPECT_EQ(field("tokens: 1"), "tokens");
  EXPECT_EQ(field("tokens: [{token: short, user: u, project: p, roles: []}]"), "tokens[0].token");
  EXPECT_EQ(field("tokens: [{token: 0123456789abcdef, user: u, project: p}]"), "tokens[0].roles");
  EXPECT_EQ(field("tokens: [{token: 0123456789abcdef, project: p, roles: []}]"), "tokens[0].user");
  EXPECT_EQ(field("tokens: [{token: 0123456789abcdef, user: u, project: p, roles: []}, "
                  "{token: 0123456789abcdef, user: v, project: p, roles: []}]"),
            "tokens[1].token");
}

TEST(TokenFile, IsNotReadWhenEverybodyCanReadIt) {
  fakes::TempFolder folder;
  std::string path = folder.path().string() + "/tokens.yaml";
  ASSERT_TRUE(WriteFileAtomically(path, kFile, 0644).ok());
  EXPECT_EQ(OpenTokenFile(path).error().code(), StatusCode::kPermissionDenied);

  ASSERT_EQ(chmod(path.c_str(), 0640), 0);

  EXPECT_TRUE(OpenTokenFile(path));
}

TEST(NoAuth, BelievesWhatTheClientSays) {
  auto auth = NewNoAuthenticator();

  EXPECT_EQ(*Ask(*auth, {{"x-auth-token", "admin"}}),
            (Identity{.user_id = "admin", .project_id = "admin", .roles = {"admin"}}));
  EXPECT_EQ(*Ask(*auth, {{"x-auth-token", "u:p"}, {"x-roles", "member, reader"}}),
            (Identity{.user_id = "u", .project_id = "p", .roles = {"member", "reader"}}));
  EXPECT_TRUE(Ask(*auth, {{"x-auth-token", "u"}})->roles.empty());
  EXPECT_TRUE(Ask(*auth, {{"x-auth-token", "admin"}, {"openstack-system-scope", "all"}})->system_scope);
  EXPECT_FALSE(Ask(*auth, {}));
}

}  // namespace
}  // namespace berth::placement::rest
