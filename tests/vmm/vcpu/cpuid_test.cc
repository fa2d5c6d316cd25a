#include "vmm/vcpu/cpuid.h"

#include <gtest/gtest.h>

#include <optional>
#include <vector>

namespace berth::vmm {
namespace {

kvm_cpuid_entry2 Leaf(uint32_t function, uint32_t eax = 0, uint32_t ebx = 0, uint32_t ecx = 0,
                      uint32_t edx = 0, uint32_t index = 0) {
  kvm_cpuid_entry2 leaf{};
  leaf.function = function;
  leaf.index = index;
  leaf.eax = eax;
  leaf.ebx = ebx;
  leaf.ecx = ecx;
  leaf.edx = edx;
  return leaf;
}

std::optional<kvm_cpuid_entry2> Find(const std::vector<kvm_cpuid_entry2>& leaves, uint32_t function,
                                     uint32_t index = 0) {
  for (const auto& leaf : leaves) {
    if (leaf.function == function && leaf.index == index) return leaf;
  }
  return std::nullopt;
}

NumaConfig Node(uint32_t id, CpuSet cpus) {
  NumaConfig node;
  node.guest_numa_id = id;
  node.cpus = std::move(cpus);
  return node;
}

CpuTopology Topology(uint32_t vcpus, const std::vector<NumaConfig>& numa = {}) {
  CpusConfig cpus;
  cpus.boot = vcpus;
  auto topology = BuildCpuTopology(cpus, numa);
  EXPECT_TRUE(topology.has_value());
  return *topology;
}

// "GenuineIntel" and "AuthenticAMD" in EBX of leaf 0.
constexpr uint32_t kIntel = 0x756e6547, kAmd = 0x68747541;
constexpr uint32_t kKvm = 0x40000000;

TEST(CpuTopology, NumbersOneSocketWithoutNuma) {
  CpuTopology topology = Topology(3);

  EXPECT_EQ(topology.apic_ids(), (std::vector<uint32_t>{0, 1, 2}));
  EXPECT_EQ(topology.core_bits, 2u);
  EXPECT_EQ(topology.cores_per_die, 3u);
}

TEST(CpuTopology, GivesEachNodeASocketOfItsOwn) {
  CpuTopology topology = Topology(5, {Node(0, {0, 2, 4}), Node(7, {1, 3})});

  EXPECT_EQ(topology.core_bits, 2u);
  EXPECT_EQ(topology.apic_ids(), (std::vector<uint32_t>{0, 4, 1, 5, 2}));
  EXPECT_EQ(topology.vcpus[3].socket, 1u);
  EXPECT_EQ(topology.vcpus[3].core, 1u);
}

TEST(CpuTopology, HasNoCoreBitsWithOneCpuASocket) {
  CpuTopology topology = Topology(2, {Node(0, {0}), Node(1, {1})});

  EXPECT_EQ(topology.core_bits, 0u);
  EXPECT_EQ(topology.apic_ids(), (std::vector<uint32_t>{0, 1}));
}

TEST(CpuTopology, RefusesApicIdsThatDoNotFitEightBits) {
  CpusConfig cpus;
  cpus.boot = 255;  // ids 0 to 254
  EXPECT_TRUE(BuildCpuTopology(cpus, {}).has_value());
  cpus.boot = 256;
  EXPECT_EQ(BuildCpuTopology(cpus, {}).status().code(), StatusCode::kOutOfRange);

  // Two nodes of 129 and 1 vCPUs: 8 bits of core number, so the second socket starts at 256.
  cpus.boot = 130;
  EXPECT_EQ(BuildCpuTopology(cpus, {Node(0, CpuSet::Range(0, 128)), Node(1, {129})}).status().message(),
            "APIC id 256 is above 254: too many vCPUs (130) or NUMA nodes of very different size");
}

TEST(CpuTopology, GroupsAsItIsTold) {
  CpusConfig cpus;
  cpus.boot = 24;
  cpus.topology = CpuTopologyConfig{2, 3, 2, 2};

  CpuTopology topology = *BuildCpuTopology(cpus, {});

  EXPECT_EQ(topology.socket_bits(), 4u);  // 1 for threads, 2 for cores, 1 for dies
  EXPECT_EQ(topology.vcpus_per_socket(), 12u);
  EXPECT_EQ(topology.vcpus[1].apic_id, 1u);
  EXPECT_EQ(topology.vcpus[5].apic_id, 5u);
  EXPECT_EQ(topology.vcpus[6].apic_id, 8u);    // the second die's first core
  EXPECT_EQ(topology.vcpus[12].apic_id, 16u);  // the second socket
  EXPECT_EQ(topology.vcpus[23].apic_id, 29u);
}

TEST(Cpuid, TellsThreadsCoresAndDies) {
  CpusConfig cpus;
  cpus.boot = 8;
  cpus.topology = CpuTopologyConfig{2, 2, 2, 1};
  CpuTopology topology = *BuildCpuTopology(cpus, {});

  auto leaves = BuildCpuid({Leaf(0, 0x1f, kIntel), Leaf(1), Leaf(0xb), Leaf(0x1f)}, {}, topology, 5, 0);

  std::vector<std::vector<uint32_t>> levels;
  for (const auto& leaf : leaves) {
    if (leaf.function == 0xb || leaf.function == 0x1f)
      levels.push_back({leaf.function, leaf.eax, leaf.ebx, leaf.ecx, leaf.edx});
  }
  EXPECT_EQ(levels, (std::vector<std::vector<uint32_t>>{{0xb, 1, 2, 0x100, 5},
                                                        {0xb, 3, 8, 0x201, 5},
                                                        {0xb, 0, 0, 2, 5},
                                                        {0x1f, 1, 2, 0x100, 5},
                                                        {0x1f, 2, 4, 0x201, 5},
                                                        {0x1f, 3, 8, 0x502, 5},
                                                        {0x1f, 0, 0, 3, 5}}));
}

TEST(Cpuid, CanTellFewerAddressBits) {
  std::vector<kvm_cpuid_entry2> leaves = {Leaf(0x80000008)};
  leaves[0].eax = 0x3930;  // 48 and 57 bits

  LimitPhysicalAddressBits(leaves, 40);

  EXPECT_EQ(leaves[0].eax, 0x3928u);
  EXPECT_EQ(PhysicalAddressBits(leaves), 40u);
}

TEST(Cpuid, PutsTheApicIdIntoEveryPlace) {
  CpuTopology topology = Topology(4, {Node(0, {0, 1}), Node(1, {2, 3})});
  std::vector<kvm_cpuid_entry2> host = {Leaf(0, 0x1f, kIntel), Leaf(1, 0, 0x07100800, 0, 0),
                                        Leaf(0xb, 9, 9, 9, 9), Leaf(0xb, 9, 9, 9, 9, 1), Leaf(0x1f)};

  auto leaves = BuildCpuid(host, {}, topology, 3, 0);

  EXPECT_EQ(Find(leaves, 1)->ebx, 0x03020800u);  // APIC id 3, two logical processors a socket
  for (uint32_t function : {0xbu, 0x1fu}) {
    EXPECT_EQ(Find(leaves, function, 0)->edx, 3u);
    EXPECT_EQ(Find(leaves, function, 0)->eax, 0u);  // one thread a core
    EXPECT_EQ(Find(leaves, function, 0)->ebx, 1u);
    EXPECT_EQ(Find(leaves, function, 0)->ecx, 0x100u);  // SMT level
    EXPECT_EQ(Find(leaves, function, 1)->eax, 1u);      // one bit of core number
    EXPECT_EQ(Find(leaves, function, 1)->ebx, 2u);
    EXPECT_EQ(Find(leaves, function, 1)->ecx, 0x201u);  // core level
    EXPECT_EQ(Find(leaves, function, 1)->edx, 3u);
    EXPECT_EQ(Find(leaves, function, 2)->ecx, 2u);  // the end
  }
}

TEST(Cpuid, TellsThatItIsAVirtualMachine) {
  KvmCapabilities capabilities;
  capabilities.tsc_deadline_timer = true;

  auto with = BuildCpuid({Leaf(0, 1, kAmd), Leaf(1)}, capabilities, Topology(1), 0, 0);
  auto without = BuildCpuid({Leaf(0, 1, kAmd), Leaf(1)}, {}, Topology(1), 0, 0);

  EXPECT_EQ(Find(with, 1)->ecx, 1u << 31 | 1u << 24 | 1u << 21);
  EXPECT_EQ(Find(without, 1)->ecx, 1u << 31 | 1u << 21);
}

TEST(Cpuid, SharesTheLastCacheInTheSocketOnly) {
  // Level 1 data, level 2 unified, level 3 unified; sharing and core fields full of ones.
  std::vector<kvm_cpuid_entry2> host = {Leaf(0, 4, kIntel), Leaf(4, 0xffffc021, 0, 0, 0, 0),
                                        Leaf(4, 0xffffc043, 0, 0, 0, 1), Leaf(4, 0xffffc063, 0, 0, 0, 2),
                                        Leaf(4, 0, 0, 0, 0, 3)};

  auto leaves = BuildCpuid(host, {}, Topology(4), 0, 0);

  EXPECT_EQ(Find(leaves, 4, 0)->eax, 3u << 26 | 0x21);
  EXPECT_EQ(Find(leaves, 4, 1)->eax, 3u << 26 | 0x43);
  EXPECT_EQ(Find(leaves, 4, 2)->eax, 3u << 26 | 3u << 14 | 0x63);
  EXPECT_EQ(Find(leaves, 4, 3)->eax, 0u);
}

TEST(Cpuid, DescribesCoresTheWayAmdDoes) {
  std::vector<kvm_cpuid_entry2> host = {
      Leaf(0, 0x10, kAmd), Leaf(0x80000001, 0, 0, 0, 0), Leaf(0x80000008, 0x3028, 0, 0x7fff, 0),
      Leaf(0x8000001d, 0xffffc163, 0, 0, 0, 3), Leaf(0x8000001e, 9, 9, 9, 9)};
  CpuTopology topology = Topology(6, {Node(0, {0, 1, 2}), Node(1, {3, 4, 5})});

  auto leaves = BuildCpuid(host, {}, topology, 4, 0);

  EXPECT_EQ(Find(leaves, 0x80000001)->ecx, 2u);       // CmpLegacy
  EXPECT_EQ(Find(leaves, 0x80000008)->ecx, 0x2002u);  // 2 bits of core number, 3 cores
  EXPECT_EQ(Find(leaves, 0x80000008)->eax, 0x3028u);
  EXPECT_EQ(Find(leaves, 0x8000001d, 3)->eax, 3u << 14 | 0x163);
  EXPECT_EQ(Find(leaves, 0x8000001e)->eax, 5u);  // APIC id: socket 1, core 1
  EXPECT_EQ(Find(leaves, 0x8000001e)->ebx, 1u);
  EXPECT_EQ(Find(leaves, 0x8000001e)->ecx, 1u);
  EXPECT_EQ(Find(leaves, 0xb, 1)->edx, 5u);  // added: the host's highest leaf is 0x10
}

TEST(Cpuid, TellsThreadsTheWayAmdDoesWhereTheHostHasNone) {
  const std::vector<kvm_cpuid_entry2> host = {Leaf(0, 0x10, kAmd), Leaf(0x80000000, 0x8000001f),
                                              Leaf(0x80000001, 0, 0, 0, 0)};
  CpusConfig cpus;
  cpus.boot = 4;
  cpus.topology = CpuTopologyConfig{2, 2, 1, 1};
  const CpuTopology threads = *BuildCpuTopology(cpus, {});

  auto leaves = BuildCpuid(host, {}, threads, 3, 0);

  EXPECT_EQ(Find(leaves, 0x80000001)->ecx, 1u << 22 | 1u << 1);
  ASSERT_TRUE(Find(leaves, 0x8000001e));
  EXPECT_EQ(Find(leaves, 0x8000001e)->eax, 3u);
  EXPECT_EQ(Find(leaves, 0x8000001e)->ebx, 1u | 1u << 8) << "core 1, two threads in each";
  leaves = BuildCpuid(host, {}, Topology(4, {}), 3, 0);
  EXPECT_EQ(Find(leaves, 0x80000001)->ecx, 1u << 1) << "no threads";
  EXPECT_FALSE(Find(leaves, 0x8000001e));
  const std::vector<kvm_cpuid_entry2> old = {Leaf(0, 0x10, kAmd), Leaf(0x80000000, 0x80000008),
                                             Leaf(0x80000001, 0, 0, 0, 0)};
  EXPECT_EQ(Find(BuildCpuid(old, {}, threads, 3, 0), 0x80000001)->ecx, 1u << 1) << "no such leaf";
}

TEST(Cpuid, TellsTheTscFrequency) {
  std::vector<kvm_cpuid_entry2> intel = {Leaf(0, 0x16, kIntel), Leaf(0x15), Leaf(kKvm, 0x40000001)};
  std::vector<kvm_cpuid_entry2> amd = {Leaf(0, 0x10, kAmd), Leaf(0x15), Leaf(kKvm, 0x40000001)};

  auto on_intel = BuildCpuid(intel, {}, Topology(1), 0, 2'445'432);
  auto on_amd = BuildCpuid(amd, {}, Topology(1), 0, 2'445'432);

  // 1 MHz * 2445432 / 1000
  EXPECT_EQ(Find(on_intel, 0x15)->eax, 1000u);
  EXPECT_EQ(Find(on_intel, 0x15)->ebx, 2'445'432u);
  EXPECT_EQ(Find(on_intel, 0x15)->ecx, 1'000'000u);
  EXPECT_EQ(Find(on_amd, 0x15)->ebx, 0u);
  for (const auto& leaves : {on_intel, on_amd}) {
    EXPECT_EQ(Find(leaves, kKvm)->eax, 0x40000010u);
    EXPECT_EQ(Find(leaves, 0x40000010)->eax, 2'445'432u);
    EXPECT_EQ(Find(leaves, 0x40000010)->ebx, 1'000'000u);
  }
}

TEST(Cpuid, SaysNothingOfAFrequencyThatIsNotKnown) {
  auto leaves = BuildCpuid({Leaf(0, 0x16, kIntel), Leaf(kKvm, 0x40000001)}, {}, Topology(1), 0, 0);

  EXPECT_EQ(Find(leaves, kKvm)->eax, 0x40000001u);
  EXPECT_FALSE(Find(leaves, 0x40000010).has_value());
}

TEST(Cpuid, ReadsTheWidthOfAddresses) {
  EXPECT_EQ(PhysicalAddressBits({Leaf(0x80000008, 0x3030)}), 48u);
  EXPECT_EQ(PhysicalAddressBits({Leaf(0x80000008, 0x3039)}), 52u);
  EXPECT_EQ(PhysicalAddressBits({}), 36u);
}

}  // namespace
}  // namespace berth::vmm
