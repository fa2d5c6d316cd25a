#include <cstdio>
#include <ctime>

#include "placement/rest/json_value.h"
#include "placement/rest/keystone.h"

namespace berth::placement::rest {
namespace {

const JsonValue* Member(const JsonValue& value, const char* name) {
  if (!value.IsObject()) return nullptr;
  auto member = value.FindMember(name);
  return member == value.MemberEnd() ? nullptr : &member->value;
}

std::string Text(const JsonValue* value) {
  return value && value->IsString() ? std::string(TextOf(*value)) : std::string();
}

// "2026-11-25T23:00:00.000000Z" as Unix time in milliseconds; 0: it is no such thing.
uint64_t ParseTime(const std::string& text) {
  std::tm utc{};
  if (std::sscanf(text.c_str(), "%4d-%2d-%2dT%2d:%2d:%2d", &utc.tm_year, &utc.tm_mon, &utc.tm_mday,
                  &utc.tm_hour, &utc.tm_min, &utc.tm_sec) != 6) {
    return 0;
  }
  utc.tm_year -= 1900;
  utc.tm_mon -= 1;
  std::time_t seconds = timegm(&utc);
  return seconds < 0 ? 0 : static_cast<uint64_t>(seconds) * 1000;
}

}  // namespace

Result<KeystoneToken> ParseKeystoneToken(std::string_view body) {
  auto document = ParseJson(body);
  if (!document) return InvalidArgument("no JSON: " + document.error());
  const JsonValue* token = Member(*document, "token");
  if (!token || !token->IsObject()) return InvalidArgument("there is no token", "token");
  KeystoneToken parsed;
  const JsonValue* user = Member(*token, "user");
  if (user) parsed.identity.user_id = Text(Member(*user, "id"));
  if (parsed.identity.user_id.empty()) return InvalidArgument("there is no user", "token.user.id");
  if (const JsonValue* project = Member(*token, "project")) {
    parsed.identity.project_id = Text(Member(*project, "id"));
  }
  if (const JsonValue* roles = Member(*token, "roles"); roles && roles->IsArray()) {
    for (const JsonValue& role : roles->GetArray()) {
      if (std::string name = Text(Member(role, "name")); !name.empty()) {
        parsed.identity.roles.push_back(std::move(name));
      }
    }
  }
  // A domain's admin is no admin of the cloud. A project's token names its domain within the project.
  parsed.identity.system_scope = Member(*token, "system") != nullptr || Member(*token, "domain") != nullptr;
  parsed.expires_ms = ParseTime(Text(Member(*token, "expires_at")));
  if (parsed.expires_ms == 0) return InvalidArgument("there is no time of expiry", "token.expires_at");
  return parsed;
}

}  // namespace berth::placement::rest
