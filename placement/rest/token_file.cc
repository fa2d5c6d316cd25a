#include "placement/rest/token_file.h"

#include <sys/stat.h>

#include <cerrno>

#include "common/file.h"
#include "common/yaml.h"
#include "placement/rest/text.h"

namespace berth::placement::rest {
namespace {

struct Known {
  std::string token;
  Identity identity;
};

// Without a hint, by the time it takes, how much of a token was right.
bool SameToken(std::string_view a, std::string_view b) {
  if (a.size() != b.size()) return false;
  unsigned different = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    different |= static_cast<unsigned>(static_cast<unsigned char>(a[i]) ^ static_cast<unsigned char>(b[i]));
  }
  return different == 0;
}

class TokenFile final : public Authenticator {
 public:
  explicit TokenFile(std::vector<Known> known) : known_(std::move(known)) {}

  void Identify(const http::Request& request, Identified done) override {
    const std::string* token = request.headers.Find("x-auth-token");
    if (!token) return done(tl::unexpected(Unauthenticated{.why = Unauthenticated::Why::kNoToken}));
    const Identity* found = nullptr;
    for (const Known& known : known_) {
      if (SameToken(known.token, *token)) found = &known.identity;
    }
    if (!found) return done(tl::unexpected(Unauthenticated{.why = Unauthenticated::Why::kBadToken}));
    done(*found);
  }

 private:
  const std::vector<Known> known_;
};

Result<Known> ParseToken(const YamlNode& node, const std::string& field) {
  TRY(CheckYamlKeys(node, field, {"token", "user", "project", "roles"}));
  Known known;
  auto text = [&](std::string_view key, std::string* value) -> Status {
    const YamlNode* child = node.Find(key);
    if (!child) return InvalidArgument("is missing", field + "." + std::string(key));
    TRY_ASSIGN(*value, YamlString(*child, field + "." + std::string(key)));
    return {};
  };
  TRY(text("token", &known.token));
  TRY(text("user", &known.identity.user_id));
  TRY(text("project", &known.identity.project_id));
  if (known.token.size() < 16) {
    return InvalidArgument("is too short to be a secret", field + ".token", "at least 16 characters");
  }
  if (known.identity.user_id.empty()) return InvalidArgument("must not be empty", field + ".user");
  const YamlNode* roles = node.Find("roles");
  if (!roles || !roles->is_sequence()) return InvalidArgument("must be a list of names", field + ".roles");
  for (const YamlNode& role : roles->items) {
    TRY_ASSIGN(std::string name, YamlString(role, field + ".roles"));
    known.identity.roles.push_back(std::move(name));
  }
  return known;
}

}  // namespace

Result<std::unique_ptr<Authenticator>> ParseTokenFile(std::string_view text, std::string_view name) {
  TRY_ASSIGN(YamlNode root, ParseYaml(text, name));
  TRY(CheckYamlKeys(root, "", {"tokens"}));
  const YamlNode* list = root.Find("tokens");
  if (!list || !list->is_sequence()) return InvalidArgument("must be a list", "tokens");
  std::vector<Known> known;
  for (size_t i = 0; i < list->items.size(); ++i) {
    std::string field = "tokens[" + std::to_string(i) + "]";
    TRY_ASSIGN(Known one, ParseToken(list->items[i], field));
    for (const Known& other : known) {
      if (other.token == one.token) return InvalidArgument("is there twice", field + ".token");
    }
    known.push_back(std::move(one));
  }
  return std::unique_ptr<Authenticator>(std::make_unique<TokenFile>(std::move(known)));
}

Result<std::unique_ptr<Authenticator>> OpenTokenFile(const std::string& path) {
  struct stat file{};
  if (stat(path.c_str(), &file) != 0) return ErrnoStatus(path, errno);
  if ((file.st_mode & S_IROTH) != 0) {
    return Status(StatusCode::kPermissionDenied, path + " can be read by everybody", "token-file",
                  "chmod 640");
  }
  TRY_ASSIGN(std::string text, ReadFile(path));
  return ParseTokenFile(text, path);
}

}  // namespace berth::placement::rest
