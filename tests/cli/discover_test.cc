#include <gtest/gtest.h>

#include "cli/output.h"
#include "tests/cli/command_line.h"
#include "tests/fakes/fake_sysfs.h"

namespace berth::cli {
namespace {

// Two sockets, three nodes (one only memory), SR-IOV, a GPU, and something to warn of.
class DiscoverCommand : public testing::Test {
 protected:
  DiscoverCommand() {
    host_.Hostname("node-1").Iommu();
    host_.Node(0)
        .Socket(0)
        .Cpus("0-15,32-47")
        .ThreadsPerCore(2)
        .Memory(GiB(64))
        .HugePages(MiB(2), 4096, 4000)
        .HugePages(GiB(1), 8, 8)
        .Distances({10, 21, 17});
    host_.Node(1).Socket(1).Cpus("16-31,48-63").ThreadsPerCore(2).Memory(GiB(64)).Distances({21, 10, 28});
    host_.Node(2).Memory(GiB(256)).Distances({17, 28, 10});
    host_.OfflineCpus("63");
    host_.Device("0000:00:00.0").Id("8086", "0d58").Class(0x060000);
    host_.Device("0000:00:1f.0").Id("8086", "a1c8").Class(0x060100);
    host_.Device("0000:00:17.0").Id("8086", "a182").Class(0x010601).Driver("ahci");
    host_.Device("0000:41:00.0")
        .Id("8086", "1572")
        .OnNode(0)
        .Driver("i40e")
        .Netdev("ens1f0")
        .TotalVfs(64)
        .Vfs(6, "154c", "vfio-pci");
    host_.Device("0000:81:00.0").Id("10de", "2235").Class(0x030200).OnNode(1).Driver("nvidia");
    host_.File("sys/bus/pci/devices/10000:00:00.0/vendor", "0x8086\n");
    host_.Write();
  }

  Outcome Discover(const std::string& format) {
    return RunCommand({"discover", "--root", host_.path().string(), "-o", format});
  }

  fakes::FakeSysfs host_;
};

TEST_F(DiscoverCommand, DrawsTheHost) {
  Outcome outcome = Discover("tree");
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_EQ(outcome.out, Golden("discover_tree.txt", outcome.out));
}

TEST_F(DiscoverCommand, PrintsTables) {
  Outcome outcome = Discover("table");
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_EQ(outcome.out, Golden("discover_table.txt", outcome.out));
}

TEST_F(DiscoverCommand, PrintsYaml) {
  Outcome outcome = Discover("yaml");
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_EQ(outcome.out, Golden("discover.yaml", outcome.out));
}

TEST_F(DiscoverCommand, JsonHasThePromisedKeys) {
  Json report = Json::parse(Discover("json").out);

  EXPECT_EQ(report["numa_nodes"].size(), 3u);
  const Json& node = report["numa_nodes"][0];
  EXPECT_EQ(node["id"], 0);
  EXPECT_EQ(node["socket"], 0);
  EXPECT_EQ(node["cpus"], "0-15,32-47");
  EXPECT_EQ(node["siblings"][1], Json::array({1, 33}));
  EXPECT_EQ(node["memory_bytes"], uint64_t{64} << 30);
  EXPECT_EQ(node["pages"][1], (Json{{"size_bytes", 2097152}, {"total", 4096}, {"free", 4000}}));
  EXPECT_EQ(node["distances"], Json::array({10, 21, 17}));
  EXPECT_TRUE(report["numa_nodes"][2]["socket"].is_null());
  EXPECT_EQ(report["pci_devices"][4], (Json{{"address", "0000:41:02.0"},
                                            {"vendor_id", "8086"},
                                            {"product_id", "154c"},
                                            {"class", "020000"},
                                            {"dev_type", "type-VF"},
                                            {"parent", "0000:41:00.0"},
                                            {"numa_node", 0},
                                            {"driver", "vfio-pci"},
                                            {"iommu_group", 5},
                                            {"sriov_total_vfs", 0},
                                            {"sriov_num_vfs", 0},
                                            {"netdevs", Json::array()}}));
  EXPECT_TRUE(report["pci_devices"][0]["numa_node"].is_null());
  EXPECT_EQ(report["pci_devices"][3]["sriov_num_vfs"], 6);
  ASSERT_EQ(report["warnings"].size(), 1u);
  EXPECT_NE(report["warnings"][0].get<std::string>().find("10000:00:00.0"), std::string::npos);
}

TEST(CommandLine, WrongUseIsStatus2AndExplained) {
  for (const std::vector<std::string>& arguments :
       std::vector<std::vector<std::string>>{{},
                                             {"nonsense"},
                                             {"host"},
                                             {"host", "show"},
                                             {"discover", "--frobnicate"},
                                             {"--timeout", "x", "host", "list"}}) {
    Outcome outcome = RunCommand(arguments);
    EXPECT_EQ(outcome.status, 2);
    EXPECT_EQ(outcome.out, "");
    EXPECT_EQ(outcome.err.substr(0, 10), "berthctl: ");
  }
}

TEST(CommandLine, EveryVerbHasHelpWithAnExample) {
  for (const std::vector<std::string>& verb : std::vector<std::vector<std::string>>{{"discover"},
                                                                                    {"host", "list"},
                                                                                    {"host", "show"},
                                                                                    {"host", "topology"},
                                                                                    {"device", "list"},
                                                                                    {"flavor", "list"},
                                                                                    {"alias", "list"},
                                                                                    {"instance", "create"},
                                                                                    {"instance", "list"},
                                                                                    {"instance", "show"},
                                                                                    {"instance", "console"},
                                                                                    {"instance", "delete"}}) {
    std::vector<std::string> arguments = verb;
    arguments.push_back("--help");
    Outcome outcome = RunCommand(arguments);
    EXPECT_EQ(outcome.status, 0);
    std::string name = verb.size() == 1 ? verb[0] : verb[0] + " " + verb[1];
    EXPECT_NE(outcome.out.find("Example:\n  berthctl " + name), std::string::npos) << outcome.out;
  }
}

TEST(CommandLine, AnUnknownFormatIsAnErrorThatNamesTheOthers) {
  Outcome outcome = RunCommand({"discover", "-o", "xml"});
  EXPECT_EQ(outcome.status, 2);  // docs/cli.md: a wrong command line
  EXPECT_NE(outcome.err.find("allowed: table, wide, tree, json, yaml"), std::string::npos) << outcome.err;
}

TEST(CommandLine, AnUnknownCommandIsNamedBesideThoseThereAre) {
  Outcome outcome = RunCommand({"foo"});
  EXPECT_EQ(outcome.status, 2);
  EXPECT_TRUE(outcome.err.starts_with("berthctl: there is no command \"foo\"; there are: discover host "))
      << outcome.err;
  outcome = RunCommand({"host", "foo"});
  EXPECT_EQ(outcome.status, 2);
  EXPECT_TRUE(outcome.err.starts_with("berthctl: there is no command \"foo\"; there are: check "))
      << outcome.err;
  outcome = RunCommand({"host"});
  EXPECT_EQ(outcome.status, 2);
  EXPECT_NE(outcome.err.find("A subcommand is required"), std::string::npos) << outcome.err;
}

TEST(CommandLine, WhatHasNoEffectIsRefused) {
  for (const std::vector<std::string>& arguments :
       {std::vector<std::string>{"rebalance", "plan"},
        {"rebalance", "plan", "--for", "a", "--drain", "b"},
        {"host", "check", "h1", "--config", "x.yaml"},
        {"instance", "create-many", "p", "--count", "1", "--flavor", "f", "--alternates", "2"}}) {
    EXPECT_EQ(RunCommand(arguments).status, 2) << arguments[0];
  }
}

TEST(CommandLine, AnEndpointThatIsNoAddressIsRefused) {
  for (const char* endpoint : {"127.0.0.1:99999", "127.0.0.1", "bad", "127.0.0.1:0"}) {
    for (const std::vector<std::string>& verb :
         {std::vector<std::string>{"host", "list"}, {"instance", "watch"}}) {
      std::vector<std::string> arguments = verb;
      arguments.insert(arguments.end(), {"--endpoint", endpoint});
      Outcome outcome = RunCommand(arguments);
      EXPECT_EQ(outcome.status, 2) << endpoint;
      EXPECT_NE(outcome.err.find("endpoint: \"" + std::string(endpoint) + "\" is no address"),
                std::string::npos)
          << outcome.err;
    }
  }
}

TEST(CommandLine, OutputThatCannotBeWrittenIsAnError) {
  std::ofstream out("/dev/full");
  ASSERT_TRUE(out.is_open());
  std::ostringstream err;
  EXPECT_EQ(RunBerthctl({"discover", "-o", "json"}, Terminal{.out = out, .err = err}), 1);
  EXPECT_EQ(err.str(), "berthctl: DATA_LOSS: the output could not be written\n");
}

TEST(CommandLine, AWaitThatNoClockCanMeasureIsRefused) {
  for (const char* verb : {"create", "delete"}) {
    for (const char* seconds : {"-1", "1e300", "nan"}) {
      std::vector<std::string> arguments = {"instance", verb, "vm", "--wait-timeout", seconds};
      if (std::string(verb) == "create") arguments.insert(arguments.end(), {"--flavor", "small"});
      Outcome outcome = RunCommand(arguments);
      EXPECT_EQ(outcome.status, 2) << verb << " " << seconds;
      EXPECT_NE(outcome.err.find("--wait-timeout"), std::string::npos) << outcome.err;
    }
  }
}

TEST(CommandLine, AMissingRootIsAnError) {
  Outcome outcome = RunCommand({"discover", "--root", "/nonexistent"});
  EXPECT_EQ(outcome.status, 1);
  EXPECT_EQ(outcome.err, "berthctl: NOT_FOUND: root: /nonexistent: No such file or directory\n");
}

}  // namespace
}  // namespace berth::cli
