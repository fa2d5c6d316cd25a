#include "placement/placement_config.h"

#include <limits>
#include <optional>

#include "common/error_list.h"
#include "common/file.h"
#include "common/host_port.h"
#include "common/log.h"
#include "common/yaml.h"
#include "placement/store/open_store.h"

namespace berth::placement {
namespace {

// Reads the keys of one map; keys that are absent leave the value as it is, and so do wrong ones, whose
// errors are collected.
class Section {
 public:
  Section(const YamlNode& map, std::string path, ErrorList& errors)
      : map_(map), path_(std::move(path)), errors_(errors) {}

  void Known(const std::vector<std::string_view>& keys) const {
    if (!map_.is_null()) errors_.Add(UnknownYamlKeys(map_, path_, keys));
  }
  void Read(std::string_view key, std::string& value) const {
    if (const YamlNode* node = map_.Find(key)) Take(YamlString(*node, Field(key)), value);
  }
  void Read(std::string_view key, bool& value) const {
    if (const YamlNode* node = map_.Find(key)) Take(YamlBool(*node, Field(key)), value);
  }
  template <class T>
  void ReadNumber(std::string_view key, T& value, int64_t min, int64_t max) const {
    if (const YamlNode* node = map_.Find(key)) Take(YamlInt(*node, Field(key), min, max), value);
  }
  void ReadSeconds(std::string_view key, std::chrono::milliseconds& value) const {
    int64_t seconds = value.count() / 1000;
    ReadNumber(key, seconds, 1, 86400);
    value = std::chrono::seconds(seconds);
  }
  void Read(std::string_view key, std::vector<std::string>& list) const {
    const YamlNode* node = map_.Find(key);
    if (!node) return;
    if (!node->is_sequence()) return errors_.Add(InvalidArgument("must be a list", Field(key)));
    list.clear();
    for (size_t i = 0; i < node->items.size(); ++i) {
      std::string text;
      Take(YamlString(node->items[i], Field(key) + "[" + std::to_string(i) + "]"), text);
      list.push_back(std::move(text));
    }
  }
  // A text of which `parse` makes the value.
  template <class T>
  void ReadParsed(std::string_view key, T& value, Result<T> (*parse)(std::string_view)) const {
    std::string text;
    Read(key, text);
    if (text.empty()) return;
    Result<T> parsed = parse(text);
    if (!parsed) return errors_.Add(std::move(parsed).error().WithField(Field(key)));
    value = *parsed;
  }
  Section Child(std::string_view key) const {
    static const YamlNode kNone;
    const YamlNode* node = map_.Find(key);
    return Section(node ? *node : kNone, Field(key), errors_);
  }
  std::string Field(std::string_view key) const {
    return path_.empty() ? std::string(key) : path_ + "." + std::string(key);
  }
  void Fail(std::string_view key, Status status) const {
    errors_.Add(std::move(status).WithField(Field(key)));
  }

 private:
  template <class T, class U>
  void Take(Result<T> read, U& value) const {
    if (std::optional<T> taken = errors_.Take(std::move(read))) value = static_cast<U>(*std::move(taken));
  }

  const YamlNode& map_;
  std::string path_;
  ErrorList& errors_;
};

void ReadLimits(const Section& section, http::ServerOptions& server) {
  section.Known({"threads", "body_bytes", "header_bytes", "concurrent_requests", "connections",
                 "request_timeout_s", "idle_timeout_s"});
  section.ReadNumber("threads", server.threads, 2, 256);
  section.ReadNumber("body_bytes", server.max_body_bytes, 1024, 1 << 30);
  section.ReadNumber("header_bytes", server.max_header_bytes, 1024, 1 << 20);
  section.ReadNumber("concurrent_requests", server.max_concurrent, 1, 1 << 20);
  section.ReadNumber("connections", server.max_connections, 1, 1 << 20);
  section.ReadSeconds("request_timeout_s", server.request_timeout);
  section.ReadSeconds("idle_timeout_s", server.idle_timeout);
}

void ReadCors(const Section& section, rest::CorsOptions& cors) {
  section.Known({"allowed_origins", "allow_headers", "allow_methods", "expose_headers", "allow_credentials",
                 "max_age_s"});
  section.Read("allowed_origins", cors.allowed_origins);
  section.Read("allow_headers", cors.allow_headers);
  section.Read("allow_methods", cors.allow_methods);
  section.Read("expose_headers", cors.expose_headers);
  section.Read("allow_credentials", cors.allow_credentials);
  section.ReadNumber("max_age_s", cors.max_age_s, 0, 86400);
}

void ReadKeystone(const Section& section, RestFront::Options& rest) {
  section.Known({"url", "username", "password", "password_file", "user_domain", "project", "project_domain",
                 "cache_s", "ca_file"});
  auto& keystone = rest.keystone;
  section.Read("url", keystone.url);
  section.Read("username", keystone.username);
  section.Read("password", keystone.password);
  section.Read("user_domain", keystone.user_domain);
  section.Read("project", keystone.project);
  section.Read("project_domain", keystone.project_domain);
  section.Read("ca_file", rest.keystone_ca_file);
  uint64_t cache_s = keystone.cache_ms / 1000;
  section.ReadNumber("cache_s", cache_s, 0, 3600);
  keystone.cache_ms = cache_s * 1000;
  std::string file;
  section.Read("password_file", file);
  if (file.empty()) return;
  Result<std::string> password = ReadFile(file);
  if (!password) return section.Fail("password_file", std::move(password).error());
  keystone.password = *std::move(password);
  while (keystone.password.ends_with('\n')) keystone.password.pop_back();
}

void ReadRest(const Section& section, RestFront::Options& rest) {
  section.Known({"listen", "prefix", "auth", "auth_none_anywhere", "token_file", "keystone", "policy_file",
                 "policy_new_defaults", "cors", "access_log", "trust_proxy_headers", "listener", "limits"});
  section.Read("listen", rest.listen);
  section.ReadParsed("listener", rest.listener, ParseListener);
  section.Read("prefix", rest.prefix);
  section.ReadParsed("auth", rest.auth, ParseAuth);
  section.Read("auth_none_anywhere", rest.allow_auth_none_anywhere);
  section.Read("token_file", rest.token_file);
  section.Read("policy_file", rest.policy_file);
  section.Read("policy_new_defaults", rest.policy_new_defaults);
  section.Read("access_log", rest.access_log);
  section.Read("trust_proxy_headers", rest.trust_proxy_headers);
  ReadKeystone(section.Child("keystone"), rest);
  ReadCors(section.Child("cors"), rest.cors);
  ReadLimits(section.Child("limits"), rest.server);
}

}  // namespace

Result<PlacementConfig> ParsePlacementConfig(std::string_view text, std::string_view name) {
  TRY_ASSIGN(YamlNode root, ParseYaml(text, name));
  PlacementConfig config;
  ErrorList errors;
  Section section(root, "", errors);
  section.Known({"grpc", "rest", "store", "store_max_pages", "events_kept", "queue_limit", "log_level"});
  section.Read("store", config.placement.store);
  section.ReadNumber("store_max_pages", config.placement.store_max_pages, 0,
                     std::numeric_limits<int64_t>::max());
  section.ReadNumber("events_kept", config.placement.events_kept, 16, 1 << 24);
  section.ReadNumber("queue_limit", config.placement.queue_limit, 1, 1 << 24);
  section.Read("log_level", config.log_level);
  if (Result<LogLevel> level = ParseLogLevel(config.log_level); !level) {
    section.Fail("log_level", std::move(level).error());
  }
  Section grpc = section.Child("grpc");
  grpc.Known({"listen"});
  grpc.Read("listen", config.grpc_listen);
  ReadRest(section.Child("rest"), config.rest);
  if (!errors.empty()) return errors.ToStatus().WithContext(name);
  return config;
}

Result<PlacementConfig> ReadPlacementConfig(const std::string& path) {
  Result<std::string> text = ReadFile(path);
  if (!text) return std::move(text).error().WithField("config");
  return ParsePlacementConfig(*text, path);
}

Status CheckPlacementConfig(const PlacementConfig& config) {
  ErrorList errors;
  errors.Add(StorePath(config.placement.store).status());
  errors.Add(ParseListen(config.grpc_listen, "grpc-listen").status());
  if (!config.rest.listen.empty()) errors.Add(RestFront::Check(config.rest));
  return errors.ToStatus();
}

}  // namespace berth::placement
