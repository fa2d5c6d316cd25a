#include "vmm/machine/host_performance.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "tests/fakes/temp_folder.h"
#include "vmm/machine/acpi_input.h"

namespace berth::vmm {
namespace {

// A /sys with the figures of a host's own HMAT, and a VM whose zones are bound to its nodes.
class HostPerformanceTest : public testing::Test {
 protected:
  void Tell(uint32_t node, const std::string& file, const std::string& text) {
    const std::filesystem::path folder =
        folder_.path() / "sys/devices/system/node" / ("node" + std::to_string(node)) / "access0/initiators";
    std::filesystem::create_directories(folder);
    std::ofstream(folder / file) << text;
  }
  void TellAll(uint32_t node, uint32_t latency, uint32_t bandwidth) {
    Tell(node, "read_latency", std::to_string(latency) + "\n");
    Tell(node, "write_latency", std::to_string(latency + 5) + "\n");
    Tell(node, "read_bandwidth", std::to_string(bandwidth) + "\n");
    Tell(node, "write_bandwidth", std::to_string(bandwidth - 7) + "\n");
  }
  void Bind(const std::string& zone, std::optional<uint32_t> host_node) {
    MemoryZoneConfig& added = config_.memory_zones.emplace_back();
    added.id = zone;
    added.size = MiB(64);
    added.host_numa_node = host_node;
  }
  HostPerformance Read() { return ReadHostPerformance(config_, folder_.path().string()); }

  fakes::TempFolder folder_{"host_performance"};
  VmConfig config_;
};

TEST_F(HostPerformanceTest, ReadsTheFiguresOfTheNodesThatZonesAreBoundTo) {
  for (uint32_t node : {0u, 1u, 2u}) TellAll(node, 80 + 10 * node, 90'000 - 1000 * node);
  // Processors of another kind of distance (access1) do not count.
  std::filesystem::create_directories(folder_.path() / "sys/devices/system/node/node3/access1/initiators");
  Bind("a", 2);
  Bind("b", 0);
  Bind("c", 2);
  Bind("d", std::nullopt);
  Bind("e", 3);

  EXPECT_EQ(Read(), (HostPerformance{{0, {80, 85, 90'000, 89'993}}, {2, {100, 105, 88'000, 87'993}}}));
}

TEST_F(HostPerformanceTest, WhatIsMissingIsUnknown) {
  Tell(1, "read_latency", "120\n");
  Tell(1, "write_bandwidth", "4000\n");
  Bind("a", 0);
  Bind("b", 1);
  EXPECT_EQ(Read(), (HostPerformance{{1, {120, 0, 0, 4000}}}));
}

TEST_F(HostPerformanceTest, NonsenseIsUnknown) {
  const char* nonsense[] = {"", "\n", "fast\n", "-5\n", "99999999999\n"};
  for (uint32_t node = 0; node < std::size(nonsense); ++node) {
    for (const char* file : {"read_latency", "write_latency", "read_bandwidth", "write_bandwidth"})
      Tell(node, file, nonsense[node]);
    Bind("z" + std::to_string(node), node);
  }
  EXPECT_EQ(Read(), HostPerformance());

  Tell(2, "read_latency", "77\n");
  EXPECT_EQ(Read(), (HostPerformance{{2, {77, 0, 0, 0}}}));
}

TEST_F(HostPerformanceTest, WithoutZonesOrAHostThatTellsThereIsNone) {
  TellAll(0, 80, 90'000);
  EXPECT_EQ(Read(), HostPerformance());
  Bind("a", 0);
  EXPECT_EQ(ReadHostPerformance(config_, (folder_.path() / "none").string()), HostPerformance());
}

// On to the guest's HMAT: by its own nodes, the first zone of each decides.
TEST_F(HostPerformanceTest, TheGuestIsToldOfItsNodes) {
  TellAll(0, 80, 90'000);
  TellAll(2, 250, 20'000);
  Bind("near", 0);
  Bind("far", 2);
  Bind("free", std::nullopt);
  Bind("silent", 1);
  config_.cpus.boot = 2;
  config_.numa.resize(3);
  config_.numa[0].guest_numa_id = 5;
  config_.numa[0].cpus = {0};
  config_.numa[0].memory_zones = {"far", "near"};
  config_.numa[1].guest_numa_id = 6;
  config_.numa[1].cpus = {1};
  config_.numa[1].memory_zones = {"free"};
  config_.numa[2].guest_numa_id = 7;
  config_.numa[2].memory_zones = {"silent"};
  // "far" lies below "near".
  std::vector<MemoryRegion> regions;
  for (const char* zone : {"far", "near", "free", "silent"}) {
    MemoryRegion& region = regions.emplace_back();
    region.base = Gpa{(regions.size() - 1) << 26};
    region.size = uint64_t{64} << 20;
    region.zone = zone;
    for (const MemoryZoneConfig& bound : config_.memory_zones) {
      if (bound.id == zone) region.host_numa_node = bound.host_numa_node;
    }
  }
  const auto topology = BuildCpuTopology(config_.cpus, config_.numa);
  ASSERT_TRUE(topology.has_value());

  const acpi::AcpiInput input =
      BuildAcpiInput(config_, *topology, GuestMemory(std::move(regions)), {}, Read(), 46);

  ASSERT_EQ(input.performance.size(), 1u);
  EXPECT_EQ(input.performance[0].node, 5u);
  EXPECT_EQ(input.performance[0].read_latency_ns, 250u);
  EXPECT_EQ(input.performance[0].write_latency_ns, 255u);
  EXPECT_EQ(input.performance[0].read_bandwidth_mbs, 20'000u);
  EXPECT_EQ(input.performance[0].write_bandwidth_mbs, 19'993u);
  EXPECT_EQ(input.memory.size(), 4u);
}

}  // namespace
}  // namespace berth::vmm
