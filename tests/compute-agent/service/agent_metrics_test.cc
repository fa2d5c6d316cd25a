#include "compute-agent/service/agent_metrics.h"

#include "tests/common/http/raw_client.h"
#include "tests/compute-agent/service/small_host.h"

namespace berth::agent {
namespace {

bool Contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

placement::Device DeviceAt(const char* address, bool assignable, const char* parent = nullptr) {
  placement::Device device;
  device.address = *PciAddress::Parse(address);
  device.assignable = assignable;
  if (parent != nullptr) device.parent = *PciAddress::Parse(parent);
  return device;
}

TEST(CountDevices, EveryDeviceHasOneState) {
  const std::vector<placement::Device> devices = {
      DeviceAt("0000:41:00.0", false), DeviceAt("0000:41:02.0", true, "0000:41:00.0"),
      DeviceAt("0000:41:02.1", true, "0000:41:00.0"), DeviceAt("0000:81:00.0", false)};
  const std::set<PciAddress> held = {*PciAddress::Parse("0000:41:02.1"), *PciAddress::Parse("0000:c1:00.0")};

  EXPECT_EQ(CountDevices(devices, held), (std::map<DeviceState, size_t>{{DeviceState::kFree, 1},
                                                                        {DeviceState::kHeld, 1},
                                                                        {DeviceState::kMissing, 1},
                                                                        {DeviceState::kWithheld, 1},
                                                                        {DeviceState::kParent, 1}}));
}

TEST(AgentMetrics, StatesVerdictsAndDevicesAreGaugesAndEventsAreCounters) {
  InstanceEvents events;
  AgentMetrics metrics(events);
  AgentSnapshot now;
  now.instances.by_state = {{placement::InstanceState::kRunning, 2}, {placement::InstanceState::kFailed, 1}};
  now.instances.proven = 1;
  now.instances.different = 1;
  now.devices = {{DeviceState::kHeld, 3}};
  now.available_memory = {{0, 1024}, {1, 2048}};
  now.low_memory = {1};
  now.reported = true;
  events.claims_restored = 4;

  std::string text = metrics.Text(now);

  for (const char* line :
       {"agent_instances{state=\"running\"} 2\n", "agent_instances{state=\"failed\"} 1\n",
        "agent_instances{state=\"paused\"} 0\n", "agent_placement_proofs{verdict=\"proven\"} 1\n",
        "agent_placement_proofs{verdict=\"different\"} 1\n", "agent_devices{state=\"held\"} 3\n",
        "agent_devices{state=\"missing\"} 0\n", "agent_node_memory_available_bytes{node=\"1\"} 2048\n",
        "agent_node_memory_low{node=\"0\"} 0\n", "agent_node_memory_low{node=\"1\"} 1\n",
        "agent_host_reported 1\n", "agent_claims_healed_total{result=\"restored\"} 4\n",
        "agent_claims_healed_total{result=\"refused\"} 0\n"})
    EXPECT_TRUE(Contains(text, line)) << line << text;
  events.claims_restored = 5;
  now.instances.by_state.clear();
  text = metrics.Text(now);
  EXPECT_TRUE(Contains(text, "agent_claims_healed_total{result=\"restored\"} 5\n")) << text;
  EXPECT_TRUE(Contains(text, "agent_instances{state=\"running\"} 0\n")) << text;
}

using AgentMetricsOfHost = SmallHost;

TEST_F(AgentMetricsOfHost, AreServedWhereTheConfigurationSays) {
  ASSERT_EQ(Start("{metrics_listen: \"127.0.0.1:0\"}"), OkStatus());
  ASSERT_EQ(agent_->ServeMetrics(), OkStatus());
  http::RawClient client(agent_->metrics_port());

  client.Send("GET /metrics HTTP/1.1\r\nHost: h\r\n\r\n");
  std::string answer = client.Answer();

  EXPECT_TRUE(answer.starts_with("HTTP/1.1 200")) << answer;
  EXPECT_TRUE(Contains(answer, "agent_instances{state=\"running\"} 0\n")) << answer;
  client.Send("GET /secrets HTTP/1.1\r\nHost: h\r\n\r\n");
  EXPECT_TRUE(client.Answer().starts_with("HTTP/1.1 404"));
  client.Send("POST /metrics HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n");
  EXPECT_TRUE(client.Answer().starts_with("HTTP/1.1 405"));
  for (const char* wrong : {"nowhere", "127.0.0.1:70000", "127.0.0.1"}) {
    EXPECT_EQ(Start("{metrics_listen: \"" + std::string(wrong) + "\"}").field(), "metrics_listen") << wrong;
  }
}

TEST_F(AgentMetricsOfHost, AnInstanceAndItsDeviceAreCountedUntilTheyAreGone) {
  host_.Device("0000:81:00.0").Id("8086", "154d").OnNode(0).Driver("vfio-pci");
  const std::string config = "{report_interval: 1, device_spec: [{product_id: 154d, managed: no}]}";
  ASSERT_EQ(Start(config), OkStatus());
  ASSERT_TRUE(AwaitAssignable("0000:81:00.0"));
  auto shows = [&](const char* line) { return Contains(agent_->MetricsText(), line); };
  EXPECT_TRUE(Await([&] { return shows("agent_devices{state=\"free\"} 1\n"); }));
  EXPECT_TRUE(Await([&] { return shows("agent_host_reported 1\n"); }));
  ASSERT_EQ(CreateInstance("vm", "0000:81:00.0"), OkStatus());
  ASSERT_TRUE(AwaitState("vm", v1::INSTANCE_STATE_RUNNING));

  EXPECT_TRUE(shows("agent_instances{state=\"running\"} 1\n")) << agent_->MetricsText();
  EXPECT_TRUE(shows("agent_devices{state=\"held\"} 1\n")) << agent_->MetricsText();
  EXPECT_TRUE(shows("agent_vmms_started_total 1\n"));
  std::filesystem::remove(host_.path() / "sys/bus/pci/devices/0000:81:00.0");
  EXPECT_TRUE(Await([&] { return shows("agent_devices{state=\"missing\"} 1\n"); })) << agent_->MetricsText();
  EXPECT_EQ(Claims()[0].devices(0).address(), "0000:81:00.0");

  DeleteInstance("vm");
  EXPECT_TRUE(Await([&] { return shows("agent_devices{state=\"missing\"} 0\n"); })) << agent_->MetricsText();
}

TEST_F(AgentMetricsOfHost, NonSecureMemoryRunningLowIsAWarningOfTheHostWithARecommendedValue) {
  ASSERT_EQ(Start("{report_interval: 1}"), OkStatus());
  ASSERT_TRUE(Await([&] { return Host().name() == "host1"; }));
  EXPECT_EQ(Host().warnings_size(), 0) << Host().DebugString();
  auto free_kib = [&](const char* kib) {
    const std::filesystem::path file = host_.path() / "sys/devices/system/node/node0/meminfo";
    ASSERT_EQ(WriteFileAtomically(
                  file, std::string("Node 0 MemTotal: 4194304 kB\nNode 0 MemFree: ") + kib + " kB\n"),
              OkStatus());
  };
  auto warns = [&] {
    const v1::Host host = Host();
    return std::any_of(host.warnings().begin(), host.warnings().end(), [](const std::string& warning) {
      return Contains(warning, "ordinary memory is running low") &&
             Contains(warning, "at least 128 MiB more");
    });
  };

  free_kib("151552");  // 148 MiB of the 256 MiB that are to be free

  EXPECT_TRUE(Await(warns)) << Host().DebugString();
  EXPECT_TRUE(Contains(agent_->MetricsText(), "agent_node_memory_low{node=\"0\"} 1\n"));
  free_kib("1048576");
  EXPECT_TRUE(Await([&] { return !warns(); })) << Host().DebugString();
  EXPECT_TRUE(Contains(agent_->MetricsText(), "agent_node_memory_low{node=\"0\"} 0\n"));
}

}  // namespace
}  // namespace berth::agent
