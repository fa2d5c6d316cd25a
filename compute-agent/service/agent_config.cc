#include "compute-agent/service/agent_config.h"

#include <unistd.h>

#include <utility>
#include <vector>

#include "common/host_port.h"

namespace berth::agent {
namespace {

std::string ReadText(const YamlNode& root, const char* key, std::string otherwise, ErrorList& errors) {
  const YamlNode* node = root.Find(key);
  if (node == nullptr) return otherwise;
  return errors.Take(YamlString(*node, key)).value_or(otherwise);
}

std::chrono::milliseconds ReadSeconds(const YamlNode& root, const char* key, int64_t min, int64_t max,
                                      std::chrono::milliseconds otherwise, ErrorList& errors) {
  const YamlNode* node = root.Find(key);
  if (node == nullptr) return otherwise;
  std::optional<int64_t> seconds = errors.Take(YamlInt(*node, key, min, max));
  return seconds.has_value() ? std::chrono::milliseconds(*seconds * 1000) : otherwise;
}

// One of the names, the first of which is the default.
template <class T>
T ReadChoice(const YamlNode& root, const char* key, const std::vector<std::pair<const char*, T>>& choices,
             ErrorList& errors) {
  const YamlNode* node = root.Find(key);
  if (node == nullptr) return choices.front().second;
  std::optional<std::string> text = errors.Take(YamlString(*node, key));
  if (!text.has_value()) return choices.front().second;
  std::string names;
  for (const auto& [name, value] : choices) {
    if (*text == name) return value;
    names += (names.empty() ? "" : ", ") + std::string(name);
  }
  errors.Add(InvalidArgument("\"" + *text + "\" is unknown", key, names));
  return choices.front().second;
}

InstancePolicy ReadPolicy(const YamlNode& root, ErrorList& errors) {
  InstancePolicy policy;
  policy.restart = ReadChoice<Restart>(
      root, "restart",
      {{"never", Restart::kNever}, {"on-failure", Restart::kOnFailure}, {"always", Restart::kAlways}},
      errors);
  if (const YamlNode* node = root.Find("restart_limit")) {
    policy.restart_limit =
        static_cast<uint32_t>(errors.Take(YamlInt(*node, "restart_limit", 1, 1000)).value_or(5));
  }
  if (const YamlNode* node = root.Find("start_after_reboot")) {
    policy.start_after_reboot = errors.Take(YamlBool(*node, "start_after_reboot")).value_or(true);
  }
  return policy;
}

}  // namespace

Result<AgentConfig> ParseAgentConfig(const YamlNode& root) {
  AgentConfig config;
  ErrorList errors;
  if (root.is_null()) return config;
  if (!root.is_map()) return InvalidArgument("the configuration is not a map of settings");
  std::vector<std::string_view> keys = {"name",
                                        "state_dir",
                                        "vmm",
                                        "metrics_listen",
                                        "shutdown_timeout",
                                        "start_timeout",
                                        "report_interval",
                                        "restart",
                                        "restart_limit",
                                        "start_after_reboot",
                                        "unclaimed_instances"};
  keys.insert(keys.end(), HostConfig::Keys().begin(), HostConfig::Keys().end());
  errors.Add(UnknownYamlKeys(root, "", keys));
  config.name = ReadText(root, "name", "", errors);
  config.state_dir = ReadText(root, "state_dir", config.state_dir, errors);
  config.vmm = ReadText(root, "vmm", "", errors);
  config.metrics_listen = ReadText(root, "metrics_listen", "", errors);
  if (!config.metrics_listen.empty())
    errors.Add(ParseListen(config.metrics_listen, "metrics_listen").status());
  config.shutdown_timeout = ReadSeconds(root, "shutdown_timeout", 0, 3600, config.shutdown_timeout, errors);
  config.start_timeout = ReadSeconds(root, "start_timeout", 1, 86400, config.start_timeout, errors);
  config.report_interval = ReadSeconds(root, "report_interval", 1, 3600, config.report_interval, errors);
  config.policy = ReadPolicy(root, errors);
  config.unclaimed = ReadChoice<Unclaimed>(
      root, "unclaimed_instances",
      {{"heal", Unclaimed::kHeal}, {"report", Unclaimed::kReport}, {"stop", Unclaimed::kStop}}, errors);
  config.host = ParseHostConfig(root, errors);
  TRY(errors.ToStatus());
  return config;
}

Result<AgentConfig> ReadAgentConfig(const std::string& path) {
  TRY_ASSIGN(YamlNode root, ReadYamlFile(path));
  Result<AgentConfig> config = ParseAgentConfig(root);
  if (!config.has_value()) return std::move(config).error().WithContext(path);
  return config;
}

std::string DefaultVmmPath() {
  char path[4096];
  ssize_t length = ::readlink("/proc/self/exe", path, sizeof path);
  if (length <= 0) return "berth-vmm";
  std::string program(path, static_cast<size_t>(length));
  return program.substr(0, program.rfind('/') + 1) + "berth-vmm";
}

}  // namespace berth::agent
