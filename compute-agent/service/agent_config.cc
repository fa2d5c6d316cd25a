#include "compute-agent/service/agent_config.h"

#include <unistd.h>

#include <vector>

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

}  // namespace

Result<AgentConfig> ParseAgentConfig(const YamlNode& root) {
  AgentConfig config;
  ErrorList errors;
  if (root.is_null()) return config;
  if (!root.is_map()) return InvalidArgument("the configuration is not a map of settings");
  std::vector<std::string_view> keys = {"name",          "state_dir",      "vmm", "shutdown_timeout",
                                        "start_timeout", "report_interval"};
  keys.insert(keys.end(), HostConfig::Keys().begin(), HostConfig::Keys().end());
  for (const auto& entry : root.entries) {
    YamlNode one;
    one.kind = YamlNode::Kind::kMap;
    one.entries.push_back(entry);
    errors.Add(CheckYamlKeys(one, "", keys));
  }
  config.name = ReadText(root, "name", "", errors);
  config.state_dir = ReadText(root, "state_dir", config.state_dir, errors);
  config.vmm = ReadText(root, "vmm", "", errors);
  config.shutdown_timeout = ReadSeconds(root, "shutdown_timeout", 0, 3600, config.shutdown_timeout, errors);
  config.start_timeout = ReadSeconds(root, "start_timeout", 1, 86400, config.start_timeout, errors);
  config.report_interval = ReadSeconds(root, "report_interval", 1, 3600, config.report_interval, errors);
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
