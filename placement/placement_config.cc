#include "placement/placement_config.h"

#include <limits>

#include "common/file.h"
#include "common/yaml.h"

namespace berth::placement {
namespace {

// Reads the keys of one map; keys that are absent leave the value as it is.
class Section {
 public:
  Section(const YamlNode& map, std::string path) : map_(map), path_(std::move(path)) {}

  Status Known(const std::vector<std::string_view>& keys) const {
    if (map_.is_null()) return {};
    return CheckYamlKeys(map_, path_.empty() ? "configuration" : path_, keys);
  }
  Status Read(std::string_view key, std::string& value) const {
    const YamlNode* node = map_.Find(key);
    if (!node) return {};
    TRY_ASSIGN(value, YamlString(*node, Field(key)));
    return {};
  }
  Status Read(std::string_view key, bool& value) const {
    const YamlNode* node = map_.Find(key);
    if (!node) return {};
    TRY_ASSIGN(value, YamlBool(*node, Field(key)));
    return {};
  }
  template <class T>
  Status ReadNumber(std::string_view key, T& value, int64_t min, int64_t max) const {
    const YamlNode* node = map_.Find(key);
    if (!node) return {};
    TRY_ASSIGN(int64_t number, YamlInt(*node, Field(key), min, max));
    value = static_cast<T>(number);
    return {};
  }
  Status ReadSeconds(std::string_view key, std::chrono::milliseconds& value) const {
    int64_t seconds = value.count() / 1000;
    TRY(ReadNumber(key, seconds, 1, 86400));
    value = std::chrono::seconds(seconds);
    return {};
  }
  Status Read(std::string_view key, std::vector<std::string>& list) const {
    const YamlNode* node = map_.Find(key);
    if (!node) return {};
    if (!node->is_sequence()) return InvalidArgument("must be a list", Field(key));
    list.clear();
    for (const YamlNode& item : node->items) {
      TRY_ASSIGN(std::string text, YamlString(item, Field(key)));
      list.push_back(std::move(text));
    }
    return {};
  }
  Section Child(std::string_view key) const {
    static const YamlNode kNone;
    const YamlNode* node = map_.Find(key);
    return Section(node ? *node : kNone, Field(key));
  }
  bool Has(std::string_view key) const { return map_.Find(key) != nullptr; }
  std::string Field(std::string_view key) const {
    return path_.empty() ? std::string(key) : path_ + "." + std::string(key);
  }

 private:
  const YamlNode& map_;
  std::string path_;
};

Status ReadLimits(const Section& section, http::ServerOptions& server) {
  TRY(section.Known({"threads", "body_bytes", "header_bytes", "concurrent_requests", "connections",
                     "request_timeout_s", "idle_timeout_s"}));
  TRY(section.ReadNumber("threads", server.threads, 2, 256));
  TRY(section.ReadNumber("body_bytes", server.max_body_bytes, 1024, 1 << 30));
  TRY(section.ReadNumber("header_bytes", server.max_header_bytes, 1024, 1 << 20));
  TRY(section.ReadNumber("concurrent_requests", server.max_concurrent, 1, 1 << 20));
  TRY(section.ReadNumber("connections", server.max_connections, 1, 1 << 20));
  TRY(section.ReadSeconds("request_timeout_s", server.request_timeout));
  return section.ReadSeconds("idle_timeout_s", server.idle_timeout);
}

Status ReadCors(const Section& section, rest::CorsOptions& cors) {
  TRY(section.Known({"allowed_origins", "allow_headers", "allow_methods", "expose_headers",
                     "allow_credentials", "max_age_s"}));
  TRY(section.Read("allowed_origins", cors.allowed_origins));
  TRY(section.Read("allow_headers", cors.allow_headers));
  TRY(section.Read("allow_methods", cors.allow_methods));
  TRY(section.Read("expose_headers", cors.expose_headers));
  TRY(section.Read("allow_credentials", cors.allow_credentials));
  return section.ReadNumber("max_age_s", cors.max_age_s, 0, 86400);
}

Status ReadKeystone(const Section& section, RestFront::Options& rest) {
  TRY(section.Known({"url", "username", "password", "password_file", "user_domain", "project",
                     "project_domain", "cache_s", "ca_file"}));
  auto& keystone = rest.keystone;
  TRY(section.Read("url", keystone.url));
  TRY(section.Read("username", keystone.username));
  TRY(section.Read("password", keystone.password));
  TRY(section.Read("user_domain", keystone.user_domain));
  TRY(section.Read("project", keystone.project));
  TRY(section.Read("project_domain", keystone.project_domain));
  TRY(section.Read("ca_file", rest.keystone_ca_file));
  uint64_t cache_s = keystone.cache_ms / 1000;
  TRY(section.ReadNumber("cache_s", cache_s, 0, 3600));
  keystone.cache_ms = cache_s * 1000;
  std::string file;
  TRY(section.Read("password_file", file));
  if (file.empty()) return {};
  TRY_ASSIGN(keystone.password, ReadFile(file));
  while (keystone.password.ends_with('\n')) keystone.password.pop_back();
  return {};
}

Status ReadRest(const Section& section, RestFront::Options& rest) {
  TRY(section.Known({"listen", "prefix", "auth", "auth_none_anywhere", "token_file", "keystone",
                     "policy_file", "policy_new_defaults", "cors", "access_log", "trust_proxy_headers",
                     "listener", "limits"}));
  TRY(section.Read("listen", rest.listen));
  std::string listener;
  TRY(section.Read("listener", listener));
  if (!listener.empty()) {
    Result<RestFront::Listener> parsed = ParseListener(listener);
    if (!parsed) return std::move(parsed).error().WithField(section.Field("listener"));
    rest.listener = *parsed;
  }
  TRY(section.Read("prefix", rest.prefix));
  std::string auth;
  TRY(section.Read("auth", auth));
  if (!auth.empty()) {
    Result<RestFront::Auth> parsed = ParseAuth(auth);
    if (!parsed) return std::move(parsed).error().WithField(section.Field("auth"));
    rest.auth = *parsed;
  }
  TRY(section.Read("auth_none_anywhere", rest.allow_auth_none_anywhere));
  TRY(section.Read("token_file", rest.token_file));
  TRY(section.Read("policy_file", rest.policy_file));
  TRY(section.Read("policy_new_defaults", rest.policy_new_defaults));
  TRY(section.Read("access_log", rest.access_log));
  TRY(section.Read("trust_proxy_headers", rest.trust_proxy_headers));
  TRY(ReadKeystone(section.Child("keystone"), rest));
  TRY(ReadCors(section.Child("cors"), rest.cors));
  return ReadLimits(section.Child("limits"), rest.server);
}

}  // namespace

Result<PlacementConfig> ParsePlacementConfig(std::string_view text, std::string_view name) {
  TRY_ASSIGN(YamlNode root, ParseYaml(text, name));
  PlacementConfig config;
  Section section(root, "");
  TRY(section.Known({"grpc", "rest", "store", "store_max_pages", "events_kept", "queue_limit", "log_level"}));
  TRY(section.Read("store", config.placement.store));
  TRY(section.ReadNumber("store_max_pages", config.placement.store_max_pages, 0,
                         std::numeric_limits<int64_t>::max()));
  TRY(section.ReadNumber("events_kept", config.placement.events_kept, 16, 1 << 24));
  TRY(section.ReadNumber("queue_limit", config.placement.queue_limit, 1, 1 << 24));
  TRY(section.Read("log_level", config.log_level));
  Section grpc = section.Child("grpc");
  TRY(grpc.Known({"listen"}));
  TRY(grpc.Read("listen", config.grpc_listen));
  TRY(ReadRest(section.Child("rest"), config.rest));
  return config;
}

Result<PlacementConfig> ReadPlacementConfig(const std::string& path) {
  TRY_ASSIGN(std::string text, ReadFile(path));
  return ParsePlacementConfig(text, path);
}

}  // namespace berth::placement
