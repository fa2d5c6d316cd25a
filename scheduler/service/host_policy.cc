#include "scheduler/service/host_policy.h"

#include <algorithm>
#include <filesystem>
#include <set>

namespace berth::scheduler {
namespace {

constexpr int64_t kMost = 1'000'000;
constexpr size_t kMaxAggregates = 10'000;

// Collects every error with its place.
class Reader {
 public:
  explicit Reader(std::string_view file) : file_(file) {}

  void Fail(const YamlNode& node, const Status& status) {
    std::string line = file_;
    if (node.line > 0) line += ":" + std::to_string(node.line);
    line += ": " + (status.field().empty() ? "" : status.field() + ": ") + status.message();
    if (!status.hint().empty()) line += " (" + status.hint() + ")";
    errors_ += (errors_.empty() ? "" : "\n") + line;
    if (first_field_.empty()) first_field_ = status.field();
  }
  Status Take() const { return errors_.empty() ? OkStatus() : InvalidArgument(errors_, first_field_); }

  // The errors tell their lines themselves.
  void Known(const YamlNode& map, std::string_view field, const std::vector<std::string_view>& keys) {
    for (const Status& unknown : UnknownYamlKeys(map, field, keys)) Fail(YamlNode{}, unknown);
  }

  template <class T>
  void Into(const YamlNode& map, std::string_view key, const std::string& prefix, T& out) {
    const YamlNode* node = map.Find(key);
    if (node == nullptr || node->is_null()) return;
    const std::string field = prefix + std::string(key);
    if constexpr (std::is_same_v<T, std::string>) {
      Take(*node, YamlString(*node, field), out);
    } else {
      Take(*node, YamlInt(*node, field, 0, kMost), out);
    }
  }
  template <class T, class U>
  void Take(const YamlNode& node, Result<T> value, U& out) {
    if (value.has_value()) {
      out = static_cast<U>(*std::move(value));
    } else {
      // The reader has put the line into the text already.
      Fail(YamlNode{}, value.error());
      (void)node;
    }
  }
  // False: it is there and no list or map.
  bool Is(const YamlNode& map, std::string_view key, const std::string& prefix, bool list,
          const YamlNode*& out) {
    out = map.Find(key);
    if (out == nullptr || out->is_null()) return false;
    if (list ? out->is_sequence() : out->is_map()) return true;
    Fail(*out, InvalidArgument(list ? "must be a list" : "must be a map", prefix + std::string(key)));
    return false;
  }

 private:
  const std::string file_;
  std::string errors_;
  std::string first_field_;
};

void ReadFilters(const YamlNode& root, Reader& reader, FilterSettings& settings) {
  const YamlNode* list = nullptr;
  settings.names = FilterSet::Names();
  if (!reader.Is(root, "filters", "", true, list)) return;
  settings.names.clear();
  for (size_t i = 0; i < list->items.size(); ++i) {
    std::string name;
    reader.Take(list->items[i], YamlString(list->items[i], "filters[" + std::to_string(i) + "]"), name);
    settings.names.push_back(std::move(name));
  }
  if (auto set = FilterSet::Make(settings); !set.has_value()) {
    size_t at = 0;
    for (size_t i = 0; i < list->items.size(); ++i) {
      if (set.error().field() == "filters[" + std::to_string(i) + "]") at = i;
    }
    reader.Fail(list->items.empty() ? *list : list->items[at], set.error());
  }
}

void ReadWeighers(const YamlNode& root, Reader& reader, WeigherSet& weighers) {
  const YamlNode* map = nullptr;
  if (!reader.Is(root, "weighers", "", false, map)) return;
  std::vector<std::pair<std::string, double>> multipliers;
  for (const auto& [name, value] : map->entries) {
    double multiplier = 0;
    reader.Take(value, YamlDouble(value, "weighers." + name, -1e6, 1e6), multiplier);
    multipliers.emplace_back(name, multiplier);
    auto alone = WeigherSet::Make({{name, multiplier}});
    if (!alone.has_value()) reader.Fail(value, alone.error());
  }
  if (auto set = WeigherSet::Make(multipliers); set.has_value()) weighers = *std::move(set);
}

void ReadBackoff(const YamlNode& root, Reader& reader, FilterSettings& settings) {
  const YamlNode* map = nullptr;
  if (!reader.Is(root, "build_backoff", "", false, map)) return;
  reader.Known(*map, "build_backoff", {"first_seconds", "longest_seconds"});
  reader.Into(*map, "first_seconds", "build_backoff.", settings.backoff_first_s);
  reader.Into(*map, "longest_seconds", "build_backoff.", settings.backoff_longest_s);
}

void ReadAggregate(const YamlNode& node, const std::string& field, Reader& reader, Aggregate& out) {
  if (!node.is_map()) return reader.Fail(node, InvalidArgument("must be a map", field));
  reader.Known(node, field, {"name", "uuid", "availability_zone", "hosts", "metadata"});
  reader.Into(node, "name", field + ".", out.name);
  if (out.name.empty()) reader.Fail(node, InvalidArgument("is missing or empty", field + ".name"));
  reader.Into(node, "availability_zone", field + ".", out.availability_zone);
  std::string uuid;
  reader.Into(node, "uuid", field + ".", uuid);
  if (!uuid.empty()) {
    auto parsed = Uuid::Parse(uuid);
    if (parsed.has_value()) {
      out.uuid = *parsed;
    } else {
      reader.Fail(*node.Find("uuid"), std::move(parsed.error()).WithField(field + ".uuid"));
    }
  }
  const YamlNode* hosts = nullptr;
  if (reader.Is(node, "hosts", field + ".", true, hosts)) {
    for (const YamlNode& host : hosts->items) {
      std::string name;
      reader.Take(host, YamlString(host, field + ".hosts"), name);
      out.hosts.push_back(std::move(name));
    }
  }
  const YamlNode* metadata = nullptr;
  if (reader.Is(node, "metadata", field + ".", false, metadata)) {
    for (const auto& [key, value] : metadata->entries) {
      if (value.is_scalar()) {
        out.metadata.emplace_back(key, value.scalar);
      } else {
        reader.Fail(value, InvalidArgument("must be a string", field + ".metadata." + key));
      }
    }
    std::sort(out.metadata.begin(), out.metadata.end());
  }
}

void ReadAggregates(const YamlNode& root, Reader& reader, FilterSettings& settings) {
  const YamlNode* list = nullptr;
  if (!reader.Is(root, "aggregates", "", true, list)) return;
  if (list->items.size() > kMaxAggregates)
    return reader.Fail(*list,
                       InvalidArgument("has " + std::to_string(list->items.size()) + " items, at most " +
                                           std::to_string(kMaxAggregates) + " are allowed",
                                       "aggregates"));
  std::set<std::string> names;
  for (size_t i = 0; i < list->items.size(); ++i) {
    const std::string field = "aggregates[" + std::to_string(i) + "]";
    Aggregate one;
    ReadAggregate(list->items[i], field, reader, one);
    if (!one.name.empty() && !names.insert(one.name).second) {
      reader.Fail(list->items[i],
                  InvalidArgument("aggregate \"" + one.name + "\" is defined twice", field + ".name"));
    }
    settings.aggregates.push_back(std::move(one));
  }
}

Result<HostPolicy> Build(const YamlNode& root, std::string_view file) {
  HostPolicy policy;
  Reader reader(file);
  if (!root.is_null() && !root.is_map()) return InvalidArgument(std::string(file) + ": must be a map");
  if (!root.is_null()) {
    reader.Known(root, "",
                 {"filters", "weighers", "max_instances_per_host", "build_backoff",
                  "default_availability_zone", "aggregates"});
  }
  ReadAggregates(root, reader, policy.settings);
  reader.Into(root, "max_instances_per_host", "", policy.settings.max_instances_per_host);
  reader.Into(root, "default_availability_zone", "", policy.settings.default_zone);
  ReadBackoff(root, reader, policy.settings);
  ReadFilters(root, reader, policy.settings);
  ReadWeighers(root, reader, policy.weighers);
  TRY(reader.Take());
  TRY_ASSIGN(policy.filters, FilterSet::Make(policy.settings));
  return policy;
}

}  // namespace

HostPolicy DefaultPolicy() {
  auto policy = Build(YamlNode{}, "");
  CHECK(policy.has_value());
  return *std::move(policy);
}

Result<HostPolicy> ParsePolicy(std::string_view yaml, std::string_view name) {
  TRY_ASSIGN(YamlNode root, ParseYaml(yaml, name));
  return Build(root, name);
}

Result<HostPolicy> LoadPolicy(const std::string& folder) {
  std::string path = folder + "/scheduler.yaml";
  std::error_code error;
  if (!std::filesystem::exists(path, error)) return DefaultPolicy();
  TRY_ASSIGN(YamlNode root, ReadYamlFile(path));
  return Build(root, path);
}

}  // namespace berth::scheduler
