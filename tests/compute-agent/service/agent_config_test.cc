#include "compute-agent/service/agent_config.h"

#include <gtest/gtest.h>

namespace berth::agent {
namespace {

Result<AgentConfig> Parse(std::string_view yaml) {
  Result<YamlNode> node = ParseYaml(yaml, "agent.yaml");
  if (!node.has_value()) return node.error();
  return ParseAgentConfig(*node);
}

TEST(AgentConfig, TheExampleIsValid) {
  auto config = ReadAgentConfig(BERTH_SOURCE_DIR "/deploy/config/agent.example.yaml");
  ASSERT_TRUE(config.has_value()) << config.error().ToString();
  EXPECT_TRUE(config->host.device_spec.entries.empty());
}

TEST(AgentConfig, AnEmptyFileMeansTheDefaults) {
  auto config = Parse("");
  ASSERT_TRUE(config.has_value());
  EXPECT_EQ(config->state_dir, "/var/lib/berth/agent");
  EXPECT_EQ(config->shutdown_timeout, std::chrono::seconds(30));
}

TEST(AgentConfig, SettingsAreRead) {
  auto config = Parse("{name: h, state_dir: /s, vmm: /v, shutdown_timeout: 5, cpu_shared_set: 0-1}");
  ASSERT_TRUE(config.has_value());
  EXPECT_EQ(config->name, "h");
  EXPECT_EQ(config->state_dir, "/s");
  EXPECT_EQ(config->vmm, "/v");
  EXPECT_EQ(config->shutdown_timeout, std::chrono::seconds(5));
  EXPECT_EQ(config->host.cpu_shared_set, CpuSet::Range(0, 1));
}

TEST(AgentConfig, AllErrorsAreShownAtOnceAndUnknownKeysGetTheNearest) {
  auto config = Parse("{stat_dir: /s, start_timeout: 0, device_spec: [{devname: eth0}]}");
  ASSERT_FALSE(config.has_value());
  const std::string& message = config.error().message();
  EXPECT_NE(message.find("3 errors:"), std::string::npos) << message;
  EXPECT_NE(message.find("did you mean \"state_dir\"?"), std::string::npos) << message;
  EXPECT_NE(message.find("start_timeout: "), std::string::npos) << message;
  EXPECT_NE(message.find("device_spec[0].devname: "), std::string::npos) << message;
}

TEST(AgentConfig, AnErrorInAFileNamesTheFile) {
  EXPECT_NE(ReadAgentConfig("/no/such/agent.yaml").error().ToString().find("/no/such/agent.yaml"),
            std::string::npos);
}

TEST(AgentConfig, PoliciesAreReadAndWrongNamesRefusedWithTheRightOnes) {
  auto read = [](std::string_view yaml) { return ParseAgentConfig(*ParseYaml(yaml, "agent.yaml")); };
  auto config =
      read("{restart: on-failure, restart_limit: 3, start_after_reboot: no, unclaimed_instances: stop}");
  ASSERT_TRUE(config.has_value()) << config.error().ToString();
  EXPECT_EQ(config->policy.restart, Restart::kOnFailure);
  EXPECT_EQ(config->policy.restart_limit, 3u);
  EXPECT_FALSE(config->policy.start_after_reboot);
  EXPECT_EQ(config->unclaimed, Unclaimed::kStop);
  EXPECT_EQ(read("{restart: perhaps}").status().ToString(),
            "INVALID_ARGUMENT: restart: \"perhaps\" is unknown (never, on-failure, always)");
  EXPECT_FALSE(read("{restart_limit: 0}").has_value());
}

}  // namespace
}  // namespace berth::agent
