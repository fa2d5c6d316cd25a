#include <gtest/gtest.h>

#include "tests/cli/command_line.h"
#include "tests/compute-agent/preflight/confidential_hosts.h"

namespace berth::cli {
namespace {

TEST(HostCheck, AKunpengHostWithOneFaultIsShownWithItsRepair) {
  fakes::FakeSysfs host;
  agent::MakeKunpeng(host);
  host.OvercommitMemory(0);
  host.Write();

  Outcome outcome = RunCommand({"host", "check", "--root", host.path().string()});

  EXPECT_EQ(outcome.status, 1);
  EXPECT_EQ(outcome.err, "berthctl: FAILED_PRECONDITION: 1 check failed\n");
  EXPECT_EQ(outcome.out, Golden("host_check_kunpeng.txt", outcome.out));
}

TEST(HostCheck, TheSameAsJsonAndWithAConfiguration) {
  fakes::FakeSysfs host;
  agent::MakeTdxHost(host);
  host.Write();
  std::string config = host.path().string() + "/agent.yaml";
  std::ofstream(config) << "confidential: {secure_memory: [{node: 0, size: 32G}, {node: 1, size: 32G}]}\n";

  Outcome outcome =
      RunCommand({"host", "check", "--root", host.path().string(), "--config", config, "-o", "json"});

  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_EQ(outcome.out, Golden("host_check_tdx.json", outcome.out));
  EXPECT_EQ(RunCommand({"host", "check", "--root", host.path().string(), "--config", config, "--json"}).out,
            outcome.out);
  std::ofstream(config) << "confidential: {type: sgx}\n";
  EXPECT_EQ(RunCommand({"host", "check", "--root", host.path().string(), "--config", config}).status, 1);
}

}  // namespace
}  // namespace berth::cli
