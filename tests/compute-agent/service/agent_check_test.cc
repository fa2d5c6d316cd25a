// berth-agent --check: what would be reported, and nothing changed by looking.
#include "compute-agent/service/agent_check.h"

#include "tests/compute-agent/service/small_host.h"

namespace berth::agent {
namespace {

class AgentCheck : public SmallHost {
 protected:
  Result<BuiltReport> Check(const std::string& yaml, const std::string& vmm = FAKE_VMM) {
    host_.Write();
    TRY_ASSIGN(YamlNode root, ParseYaml(yaml, "agent.yaml"));
    TRY_ASSIGN(AgentConfig config, ParseAgentConfig(root));
    config.state_dir = Path("agent");
    config.vmm = vmm;
    return CheckAgent(config, host_.path());
  }
};

TEST_F(AgentCheck, ChangesNeitherTheHostNorTheStateFolder) {
  host_.Device("0000:41:00.0").Id("8086", "1572").OnNode(0).Driver("i40e").TotalVfs(8);
  const std::string numvfs = (host_.path() / "sys/bus/pci/devices/0000:41:00.0/sriov_numvfs").string();

  auto built = Check("{sriov: [{address: \"0000:41:00.0\", vfs: 8}]}");

  ASSERT_TRUE(built.has_value()) << built.status().ToString();
  EXPECT_EQ(built->report.name, "host1");
  ASSERT_FALSE(built->report.warnings.empty());
  EXPECT_EQ(built->report.warnings[0],
            "sriov: the agent would write 8 to /sys/bus/pci/devices/0000:41:00.0/sriov_numvfs");
  EXPECT_EQ(*ReadFile(numvfs), "0\n");
  EXPECT_FALSE(std::filesystem::exists(Path("agent")));
}

TEST_F(AgentCheck, LooksBesideARunningAgent) {
  ASSERT_EQ(Start("{}"), OkStatus());
  EXPECT_TRUE(Check("{}").has_value());
}

TEST_F(AgentCheck, AVmmThatCannotBeExecutedIsTold) {
  auto built = Check("{}", "/nonexistent/berth-vmm");
  ASSERT_TRUE(built.has_value()) << built.status().ToString();
  EXPECT_FALSE(built->report.can_run_guests);
  EXPECT_EQ(built->report.warnings.at(0),
            "vmm: no guest can run: /nonexistent/berth-vmm cannot be executed: No such file or directory");
}

TEST_F(AgentCheck, RefusesAsTheStartDoes) {
  EXPECT_EQ(Check("{sriov: [{address: \"0000:99:00.0\", vfs: 8}]}").status(), OkStatus())
      << "not there: told";
  AgentConfig config;
  config.state_dir = "relative";
  EXPECT_EQ(CheckAgent(config, host_.path()).error().field(), "state_dir");
  EXPECT_FALSE(std::filesystem::exists("relative"));
}

}  // namespace
}  // namespace berth::agent
