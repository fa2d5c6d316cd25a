#include "vmm/machine/accounting.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace berth::vmm {
namespace {

std::vector<MemoryRegionFacts> Regions() {
  return {{"m0", 0, 0x400000, 0x7f0000000000, 0x400000, 1},
          {"m1", 0x400000, 0x400000, 0x7f0001000000, 0x400000, {}}};
}

constexpr char kMaps[] =
    "55d0c0a00000 default file=/usr/bin/berth-vmm mapped=10 N0=4 N1=6 kernelpagesize_kB=4\n"
    "7f0000000000 bind:1 anon=512 dirty=512 N1=512 kernelpagesize_kB=4\n"
    "7f0000200000 bind:1 anon=100 dirty=100 N0=100 kernelpagesize_kB=4\n"
    "7f0001000000 default file=/memfd huge dirty=2 N3=2 kernelpagesize_kB=2048\n"
    "7f0001400000 default anon=1 dirty=1 N0=1 kernelpagesize_kB=4\n"
    "rubbish\n\n7fff00000000 default stack N0=x kernelpagesize_kB=\n";

TEST(Accounting, CountsGuestRamApartFromTheRest) {
  const MemoryAccount account = CountMemory(kMaps, Regions());

  EXPECT_EQ(account.nodes.at(0).guest_ram, 100u * 4096);
  EXPECT_EQ(account.nodes.at(0).vmm, 5u * 4096);
  EXPECT_EQ(account.nodes.at(1).guest_ram, 512u * 4096);
  EXPECT_EQ(account.nodes.at(3).guest_huge, 2u << 21);
  EXPECT_EQ(account.zones.at("m0").at(1), 512u * 4096);
  auto json = nlohmann::json::parse(AccountJson(account, VmFacts()));
  EXPECT_EQ(json["total"]["guest_ram"], 612u * 4096 + (2u << 21));
}

TEST(Accounting, PlacementNamesWhatIsElsewhere) {
  VmConfig config;
  config.numa = {{0, {0}, {}, {"m0"}}, {1, {1}, {}, {"m1"}}};
  VmFacts facts;
  facts.memory_regions = Regions();
  facts.vcpus = {{0, 100, {}}, {1, 101, {}}};
  auto allowed = [](pid_t tid) { return tid == 100 ? CpuSet{2, 4} : CpuSet{0}; };
  auto near = [](uint32_t node) { return node == 1 ? CpuSet{2, 3} : CpuSet{0, 1}; };

  auto json =
      nlohmann::json::parse(PlacementJson(config, facts, CountMemory(kMaps, Regions()), allowed, near));

  EXPECT_EQ(json["placed"], false);
  ASSERT_EQ(json["mismatches"].size(), 2u) << json.dump();
  EXPECT_EQ(json["mismatches"][0], "zone m0 has 409600 bytes on host node 0, not on 1");
  EXPECT_EQ(json["mismatches"][1],
            "vCPU 0 may run on host CPUs 4, outside of host node 1 where its memory lies");
  EXPECT_EQ(json["vcpus"][1]["guest_numa_id"], 1);
}

TEST(Accounting, WhatIsInPlaceIsPlaced) {
  VmConfig config;
  VmFacts facts;
  facts.memory_regions = {{"m0", 0, 0x400000, 0x7f0000000000, 0x400000, 1}};
  auto json = nlohmann::json::parse(PlacementJson(
      config, facts, CountMemory("7f0000000000 bind:1 N1=512 kernelpagesize_kB=4\n", facts.memory_regions),
      [](pid_t) { return CpuSet(); }, [](uint32_t) { return CpuSet(); }));
  EXPECT_EQ(json["placed"], true);
}

// Two zones of private memory, on nodes 1 and 3.
VmFacts Confidential() {
  VmFacts facts;
  facts.confidential.emplace();
  facts.confidential->private_bytes = 96 << 20;
  facts.confidential->private_by_node = {{1, 64 << 20}, {3, 32 << 20}};
  facts.confidential->shared_bytes = 32 << 20;
  facts.confidential->bounce_bytes = 64 << 20;
  facts.confidential->bounce_node = 1;
  return facts;
}
nlohmann::json Proof(const VmFacts& facts, const MemoryAccount& account) {
  return nlohmann::json::parse(PlacementJson(
      VmConfig(), facts, account, [](pid_t) { return CpuSet(); }, [](uint32_t) { return CpuSet(); }));
}

TEST(Accounting, PrivateMemoryOnTheNodesOfItsZonesIsPlaced) {
  MemoryAccount account;
  account.confidential = PrivateAccount{{{1, (64 << 20) + 4096}, {3, 30 << 20}}, "", 1 << 20};
  auto json = Proof(Confidential(), account);
  EXPECT_EQ(json["placed"], true) << json.dump();
  EXPECT_EQ(json["private"]["known"], true);
  auto accounting = nlohmann::json::parse(AccountJson(account, Confidential()))["confidential"];
  EXPECT_EQ(accounting["private"], 96 << 20);
  EXPECT_EQ(accounting["shared"], 32 << 20);
  EXPECT_EQ(accounting["private_nodes"][1]["bytes"], 30 << 20);
  EXPECT_EQ(accounting["swiotlb"]["node"], 1);
}

TEST(Accounting, PrivateMemoryElsewhereIsNamed) {
  MemoryAccount account;
  account.confidential = PrivateAccount{{{1, 32 << 20}, {2, 8 << 20}, {3, 56 << 20}}, "", 1 << 20};
  auto json = Proof(Confidential(), account);
  EXPECT_EQ(json["placed"], false);
  ASSERT_EQ(json["mismatches"].size(), 2u) << json.dump();
  EXPECT_EQ(json["mismatches"][0], "host node 2 has 8388608 bytes of private memory, its zones have 0");
  EXPECT_EQ(json["mismatches"][1],
            "host node 3 has 58720256 bytes of private memory, its zones have 33554432");
  // Memory of a zone that is bound nowhere may lie there.
  VmFacts facts = Confidential();
  facts.confidential->private_bytes += 32 << 20;
  EXPECT_EQ(Proof(facts, account)["placed"], true);
}

TEST(Accounting, PrivateMemoryThatCannotBeFoundIsSaidToBeUnknown) {
  MemoryAccount account;
  account.confidential = PrivateAccount{{}, "the cgroup /user is not the VMM's alone", 0};
  auto json = Proof(Confidential(), account);
  EXPECT_EQ(json["private"]["known"], false);
  EXPECT_EQ(json["private"]["reason"], "the cgroup /user is not the VMM's alone");
  EXPECT_EQ(
      nlohmann::json::parse(AccountJson(account, Confidential()))["confidential"].count("private_nodes"), 0u);
}

}  // namespace
}  // namespace berth::vmm
