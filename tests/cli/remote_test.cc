#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <thread>

#include "cli/output.h"
#include "common/unique_fd.h"
#include "tests/cli/command_line.h"
#include "tests/cli/fake_services.h"

namespace berth::cli {
namespace {

class RemoteCommand : public testing::Test {
 protected:
  Outcome Run(std::vector<std::string> arguments) {
    arguments.push_back("--endpoint");
    arguments.push_back(services_.endpoint());
    return RunCommand(std::move(arguments));
  }

  void ExpectGolden(const std::string& name, std::vector<std::string> arguments) {
    Outcome outcome = Run(std::move(arguments));
    EXPECT_EQ(outcome.status, 0) << outcome.err;
    EXPECT_EQ(outcome.out, Golden(name, outcome.out));
  }

  FakeCloud cloud_ = SmallCloud();
  FakeServices services_{cloud_};
};

TEST_F(RemoteCommand, HostListShowsUseAndTotals) {
  ExpectGolden("host_list.txt", {"host", "list"});
}

TEST_F(RemoteCommand, HostListWideAddsUuidAndAgent) {
  ExpectGolden("host_list_wide.txt", {"host", "list", "-o", "wide"});
}

TEST_F(RemoteCommand, HostShowListsCellsAndInstances) {
  ExpectGolden("host_show.txt", {"host", "show", "node-1"});
}

TEST_F(RemoteCommand, HostTopologyDrawsWhoUsesWhat) {
  ExpectGolden("host_topology.txt", {"host", "topology", "node-1"});
}

TEST_F(RemoteCommand, ADrainedHostIsShownAsOne) {
  cloud_.host.mutable_host()->add_traits("COMPUTE_STATUS_DISABLED");

  EXPECT_NE(Run({"host", "list"}).out.find("yes  drained"), std::string::npos);
  EXPECT_NE(Run({"host", "show", "node-1"}).out.find("status      drained"), std::string::npos);
  EXPECT_NE(Run({"host", "topology", "node-1"}).out.find("· KVM · drained\n"), std::string::npos);
}

TEST_F(RemoteCommand, AHostIsForgottenOnceItIsEmpty) {
  const Outcome refused = Run({"host", "delete", "node-1"});
  EXPECT_NE(refused.status, 0);
  EXPECT_NE(refused.err.find("host node-1 has 2 instances, among them vm1"), std::string::npos)
      << refused.err;
  cloud_.host.clear_claims();

  EXPECT_EQ(Run({"host", "delete", "node-1", "--dry-run"}).out, "node-1 would be forgotten\n");
  EXPECT_TRUE(cloud_.forgotten.empty());
  EXPECT_EQ(Run({"host", "delete", "node-1"}).out,
            "node-1: forgotten; an agent that still runs there makes it known again\n");
  EXPECT_EQ(cloud_.forgotten, (std::vector<std::string>{cloud_.host.host().uuid()}));
  EXPECT_NE(Run({"host", "delete", "node-9"}).status, 0);
}

TEST_F(RemoteCommand, AStoppedInstanceHasItsDisks) {
  v1::AttachedDisk* disk = cloud_.runtime.add_disks();
  disk->set_id("data");
  disk->set_path("/images/data.raw");
  cloud_.runtime.set_pid(0);

  const std::string shown = Run({"instance", "show", "vm1"}).out;

  EXPECT_NE(shown.find("not running on the host"), std::string::npos) << shown;
  EXPECT_NE(shown.find("/images/data.raw"), std::string::npos) << shown;
}

TEST_F(RemoteCommand, HostShowJsonHasNumbersNullsAndShortNames) {
  Json report = Json::parse(Run({"host", "show", "node-1", "-o", "json"}).out);

  EXPECT_EQ(report["host"]["cells"][0]["memory_bytes"], uint64_t{32} << 30);
  EXPECT_EQ(report["host"]["devices"][0]["type"], "type-PF");
  EXPECT_TRUE(report["host"]["devices"][4]["numa_node"].is_null());
  EXPECT_EQ(report["claims"][0]["status"]["state"], "RUNNING");
  EXPECT_EQ(report["claims"][0]["cells"][1]["pinning"][0], (Json{{"guest", 2}, {"host", 6}}));
}

TEST_F(RemoteCommand, AnUnknownHostIsAnErrorWithItsField) {
  Outcome outcome = Run({"host", "show", "node-9"});
  EXPECT_EQ(outcome.status, 1);
  EXPECT_EQ(outcome.err, "berthctl: NOT_FOUND: host: no host \"node-9\"\n");
}

TEST_F(RemoteCommand, DeviceListNamesTheInstance) {
  ExpectGolden("device_list.txt", {"device", "list"});
}

TEST_F(RemoteCommand, DeviceListWideAddsWhatPlacementKnows) {
  ExpectGolden("device_list_wide.txt", {"device", "list", "-o", "wide"});
}

TEST_F(RemoteCommand, FlavorsAndAliasesAreListed) {
  ExpectGolden("flavor_list.txt", {"flavor", "list"});
  ExpectGolden("alias_list.yaml", {"alias", "list", "-o", "yaml"});
}

TEST_F(RemoteCommand, InstanceListShowsStateHostCellsAndDevices) {
  ExpectGolden("instance_list.txt", {"instance", "list"});
}

TEST_F(RemoteCommand, InstanceShowPrintsBindingsAndProof) {
  ExpectGolden("instance_show.txt", {"instance", "show", "vm1"});
}

TEST_F(RemoteCommand, InstanceShowTellsWhatDiffersFromTheClaim) {
  cloud_.runtime.add_violations("vCPU 1 may run on CPUs 0-15, claimed 3");
  ExpectGolden("instance_show_violation.txt", {"instance", "show", "vm1"});
}

TEST_F(RemoteCommand, CreateSendsWhatWasAsked) {
  Outcome outcome = Run({"instance",
                         "create",
                         "vm1",
                         "--flavor",
                         "numa2",
                         "--kernel",
                         "/boot/k",
                         "--initramfs",
                         "/boot/i",
                         "--cmdline",
                         "console=ttyS0 quiet",
                         "--disk",
                         "/d1",
                         "--disk",
                         "path=/d2,readonly=on",
                         "--net",
                         "tap0",
                         "--image-property",
                         "hw_numa_nodes=2",
                         "--host",
                         "node-1"});

  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_EQ(cloud_.created.name(), "vm1");
  EXPECT_EQ(cloud_.created.boot().cmdline(), "console=ttyS0 quiet");
  ASSERT_EQ(cloud_.created.boot().disks_size(), 2);
  EXPECT_EQ(cloud_.created.boot().disks(0), "path=/d1");
  EXPECT_EQ(cloud_.created.boot().disks(1), "path=/d2,readonly=on");
  EXPECT_EQ(cloud_.created.boot().nets(0), "tap=tap0");
  EXPECT_EQ(cloud_.created.image_properties().at("hw_numa_nodes"), "2");
  EXPECT_EQ(cloud_.created.host(), "node-1");
  EXPECT_FALSE(cloud_.created.dry_run());
}

TEST_F(RemoteCommand, CreateWaitsUntilTheInstanceRuns) {
  cloud_.states = {v1::INSTANCE_STATE_PENDING, v1::INSTANCE_STATE_BUILDING, v1::INSTANCE_STATE_RUNNING};
  Outcome outcome = Run({"instance", "create", "vm1", "--flavor", "numa2", "--wait"});
  EXPECT_EQ(outcome.status, 0);
  EXPECT_EQ(outcome.err, "vm1: PENDING\nvm1: BUILDING\nvm1: RUNNING\n");
  EXPECT_NE(outcome.out.find("RUNNING on node-1"), std::string::npos);
}

TEST_F(RemoteCommand, CreateWithWaitFailsWhenTheInstanceFails) {
  cloud_.states = {v1::INSTANCE_STATE_FAILED};
  Outcome outcome = Run({"instance", "create", "vm1", "--flavor", "numa2", "--wait"});
  EXPECT_EQ(outcome.status, 1);
  EXPECT_NE(outcome.err.find("the instance is FAILED"), std::string::npos) << outcome.err;
}

TEST_F(RemoteCommand, StartWithWaitTakesNoFailureOfBeforeForItsOwn) {
  cloud_.states = {v1::INSTANCE_STATE_FAILED, v1::INSTANCE_STATE_FAILED, v1::INSTANCE_STATE_BUILDING,
                   v1::INSTANCE_STATE_RUNNING};
  Outcome outcome = Run({"instance", "start", "vm1", "--wait"});
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_EQ(cloud_.started, std::vector<std::string>{"vm1"});
}

TEST_F(RemoteCommand, ARefusedCreateSaysPerHostWhatIsMissing) {
  Outcome outcome = Run({"instance", "create", "big", "--flavor", "huge"});
  EXPECT_EQ(outcome.status, 1);
  EXPECT_EQ(outcome.out, "");
  EXPECT_EQ(outcome.err, Golden("create_refused.txt", outcome.err));
}

TEST_F(RemoteCommand, ADryRunClaimsNothingAndShowsTheVerdicts) {
  ExpectGolden("create_dry_run.txt", {"instance", "create", "vm1", "--flavor", "numa2", "--dry-run"});
  EXPECT_TRUE(cloud_.created.dry_run());
}

TEST_F(RemoteCommand, ADryRunThatFitsNowhereFails) {
  Outcome outcome = Run({"instance", "create", "vm1", "--flavor", "huge-dry", "--dry-run"});
  EXPECT_EQ(outcome.status, 1);
  EXPECT_EQ(outcome.out, "");
  EXPECT_NE(outcome.err.find(cloud_.no_fit.hosts(0).host()), std::string::npos) << outcome.err;
  EXPECT_NE(outcome.err.find("RESOURCE_EXHAUSTED: no host fits instance \"vm1\""), std::string::npos)
      << outcome.err;
  outcome = Run({"instance", "create", "vm1", "--flavor", "huge-dry", "--dry-run", "-o", "json"});
  EXPECT_EQ(outcome.status, 1);
  EXPECT_NE(outcome.out.find("\"verdicts\""), std::string::npos) << outcome.out;
}

TEST_F(RemoteCommand, WhatAVmmSaidInSeveralLinesIsOneLineInPictures) {
  cloud_.host.mutable_claims(0)->mutable_status()->set_detail("it failed:\n  first\r\n\nsecond\n");
  Outcome outcome = Run({"instance", "show", "vm1"});
  EXPECT_NE(outcome.out.find("it failed: |   first | second"), std::string::npos) << outcome.out;
}

TEST_F(RemoteCommand, WatchingWhatDoesNotExistEnds) {
  Outcome outcome = Run({"instance", "watch", "nobody"});
  EXPECT_EQ(outcome.status, 1);
  EXPECT_NE(outcome.err.find("NOT_FOUND"), std::string::npos) << outcome.err;
}

TEST_F(RemoteCommand, AServiceThatLacksTheCallIsTold) {
  Outcome outcome = Run({"capacity", "numa2", "--timeout", "5"});
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  grpc::ServerBuilder builder;
  int port = 0;
  v1::Placement::Service only;  // answers nothing
  builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
  builder.RegisterService(&only);
  auto server = builder.BuildAndStart();
  outcome = RunCommand({"instance", "list", "--endpoint", "127.0.0.1:" + std::to_string(port)});
  EXPECT_EQ(outcome.status, 1);
  EXPECT_NE(outcome.err.find("does not serve this: it is a call of the scheduler (berth-scheduler)"),
            std::string::npos)
      << outcome.err;
}

TEST_F(RemoteCommand, AnImagePropertyWithoutValueIsRefused) {
  Outcome outcome =
      Run({"instance", "create", "vm1", "--flavor", "numa2", "--image-property", "hw_numa_nodes"});
  EXPECT_EQ(outcome.status, 1);
  EXPECT_NE(outcome.err.find("image-property: \"hw_numa_nodes\" is not of the form KEY=VALUE"),
            std::string::npos)
      << outcome.err;
}

TEST_F(RemoteCommand, ExplainCountsReasonsAndNamesChanges) {
  ExpectGolden("explain.txt", {"explain", "numa2", "--image-property", "hw_numa_nodes=2", "--port",
                               "vnic=direct,network=red,trusted=on,numa-policy=socket"});
  EXPECT_EQ(cloud_.explained.wish().flavor(), "numa2");
  EXPECT_EQ(cloud_.explained.wish().image_properties().at("hw_numa_nodes"), "2");
  const v1::Port& port = cloud_.explained.wish().ports(0);
  EXPECT_EQ(port.id(), "port0");
  EXPECT_EQ(port.vnic_type(), "direct");
  EXPECT_EQ(port.physical_network(), "red");
  EXPECT_TRUE(port.trusted());
  EXPECT_EQ(port.numa_policy(), "socket");
}

TEST_F(RemoteCommand, ExplainPerHostAddsTheFirstLackOfEach) {
  ExpectGolden("explain_per_host.txt", {"explain", "numa2", "--per-host", "--reasons-only"});
}

TEST_F(RemoteCommand, ExplainJsonHasNumbersAndKinds) {
  Json report = Json::parse(Run({"explain", "numa2", "-o", "json"}).out);
  EXPECT_EQ(report["reasons"][0]["hosts"], 3);
  EXPECT_EQ(report["changes"][0]["kind"], "SHRINK");
  EXPECT_EQ(report["hosts_not_tried"], 1);
}

TEST_F(RemoteCommand, CapacityCountsPerHostAndInAll) {
  ExpectGolden("capacity.txt", {"capacity", "numa2"});
  Json report = Json::parse(Run({"capacity", "numa2", "-o", "json"}).out);
  EXPECT_EQ(report["instances"], 7);
  EXPECT_EQ(report["hosts"][1]["undecided"], true);
  Outcome outcome = Run({"capacity", "nope"});
  EXPECT_EQ(outcome.status, 1);
  EXPECT_NE(outcome.err.find("flavor is not defined"), std::string::npos) << outcome.err;
}

TEST_F(RemoteCommand, APortThatIsNotUnderstoodIsRefusedWithItsKeys) {
  for (auto [text, message] : {std::pair("vnic", "\"vnic\" is not KEY=VALUE"),
                               std::pair("kind=direct", "\"kind\" is no key of a port"),
                               std::pair("trusted=maybe", "trusted=maybe")}) {
    Outcome outcome = Run({"explain", "numa2", "--port", text});
    EXPECT_EQ(outcome.status, 1);
    EXPECT_NE(outcome.err.find(std::string("port: ") + message), std::string::npos) << outcome.err;
  }
}

TEST_F(RemoteCommand, DeleteWaitsUntilTheInstanceIsGone) {
  Outcome outcome = Run({"instance", "delete", "vm1", "--wait"});
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_EQ(outcome.out, "vm1: deleted\n");
  EXPECT_EQ(cloud_.deleted, std::vector<std::string>{"vm1"});
}

TEST_F(RemoteCommand, ADryDeleteTellsWhatTheInstanceHoldsAndDeletesNothing) {
  Outcome outcome = Run({"instance", "delete", "vm1", "--dry-run"});
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_TRUE(outcome.out.starts_with("vm1 would be deleted; it holds:\n")) << outcome.out;
  EXPECT_TRUE(cloud_.deleted.empty());
}

TEST(RemoteCommandWithoutServer, SaysWhereNobodyAnswered) {
  Outcome outcome = RunCommand({"--endpoint", "127.0.0.1:1", "--timeout", "5", "host", "list"});
  EXPECT_EQ(outcome.status, 1);
  EXPECT_NE(outcome.err.find("UNAVAILABLE: endpoint: no answer from 127.0.0.1:1"), std::string::npos)
      << outcome.err;
}

// Reads from a pipe until `wanted` was seen or it ends.
std::string ReadUntil(int fd, std::string_view wanted) {
  std::string text;
  std::array<char, 256> buffer;
  while (text.find(wanted) == std::string::npos) {
    ssize_t n = ::read(fd, buffer.data(), buffer.size());
    if (n <= 0) break;
    text.append(buffer.data(), static_cast<size_t>(n));
  }
  return text;
}

class ConsoleCommand : public RemoteCommand {
 protected:
  ConsoleCommand() {
    std::array<int, 2> ends;
    EXPECT_EQ(::pipe(ends.data()), 0);
    command_in_.reset(ends[0]);
    keys_.reset(ends[1]);
    EXPECT_EQ(::pipe(ends.data()), 0);
    screen_.reset(ends[0]);
    command_out_.reset(ends[1]);
  }

  int RunConsoleCommand(const std::string& instance) {
    Terminal terminal{
        .out = out_, .err = err_, .input_fd = command_in_.get(), .output_fd = command_out_.get()};
    return RunBerthctl({"instance", "console", instance, "--endpoint", services_.endpoint()}, terminal);
  }
  void Type(std::string_view text) {
    ASSERT_EQ(::write(keys_.get(), text.data(), text.size()), static_cast<ssize_t>(text.size()));
  }

  UniqueFd command_in_, keys_, screen_, command_out_;
  std::ostringstream out_, err_;
};

TEST_F(ConsoleCommand, CarriesBytesBothWaysUntilTheEscapeKey) {
  int status = -1;
  std::thread command([&] { status = RunConsoleCommand("vm1"); });
  EXPECT_EQ(ReadUntil(screen_.get(), "login: "), "login: ");
  Type("root\n");
  EXPECT_EQ(ReadUntil(screen_.get(), "root\n"), "root\n");
  Type("\x1d");
  command.join();
  EXPECT_EQ(status, 0) << err_.str();
}

TEST_F(ConsoleCommand, TheEndOfTheInputEndsTheSessionAfterTheLastOutput) {
  Type("last words");
  keys_.reset();
  EXPECT_EQ(RunConsoleCommand("vm1"), 0) << err_.str();
  EXPECT_EQ(ReadUntil(screen_.get(), "words"), "login: last words");
}

TEST_F(ConsoleCommand, AnUnknownInstanceIsAnError) {
  EXPECT_EQ(RunConsoleCommand("vm9"), 1);
  EXPECT_EQ(err_.str(), "berthctl: NOT_FOUND: instance: no instance \"vm9\"\n");
}

}  // namespace
}  // namespace berth::cli
