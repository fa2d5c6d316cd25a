#include "compute-agent/instances/placement_proof.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <thread>

#include "compute-agent/instances/vmm_options.h"
#include "tests/compute-agent/instances/claims.h"

namespace berth::agent {
namespace {

constexpr uint64_t kMi = uint64_t{1} << 20;

TEST(PlacementProof, OnlyMappingsBoundToNodesAreGuestMemory) {
  constexpr std::string_view kMaps =
      "00400000 default file=/usr/bin/berth-vmm mapped=10 N0=10 kernelpagesize_kB=4\n"
      "7f0000000000 bind:0 anon=512 dirty=512 N0=512 kernelpagesize_kB=4\n"
      "7f1000000000 bind:1 file=/memfd:mem1\\040(deleted) huge dirty=8 N1=7 N0=1 kernelpagesize_kB=2048\n"
      "7f2000000000 prefer:1 anon=5 N1=5 kernelpagesize_kB=4\n"
      "nonsense\n7f30 bind:0 Nx=7 N9=z kernelpagesize_kB=4\n";
  EXPECT_EQ(BoundMemory(kMaps), (std::map<placement::NumaNode, uint64_t>{{0, 4 * kMi}, {1, 14 * kMi}}));
  EXPECT_TRUE(BoundMemory("").empty());
}

placement::Claim PinnedClaim() {
  placement::Claim claim = TestClaim("vm", 2, 8 * kMi);
  claim.cells = {TestBinding(0, 0, "0", 4 * kMi), TestBinding(1, 1, "1", 4 * kMi)};
  claim.cells[0].pinning = {{0, 2}};
  claim.cells[1].pinning = {{1, 5}};
  return claim;
}

TEST(PlacementProof, WhatIsAsClaimedHasNoViolations) {
  placement::Claim claim = PinnedClaim();
  ProcessPlacement actual{{{0, 100, {2}}, {1, 101, {5}}}, {{0, 4 * kMi}, {1, 4 * kMi}}};
  EXPECT_TRUE(ComparePlacement(claim, VcpuAffinity(claim, TestHost(), {}), actual).empty());
}

TEST(PlacementProof, EachDifferenceIsNamed) {
  placement::Claim claim = PinnedClaim();
  ProcessPlacement actual{{{0, 100, {2, 3}}}, {{0, 6 * kMi}, {1, 1 * kMi}, {2, 1 * kMi}}};
  EXPECT_EQ(ComparePlacement(claim, VcpuAffinity(claim, TestHost(), {}), actual),
            (std::vector<std::string>{"vCPU 0 may run on CPUs 2-3, claimed are 2", "vCPU 1 has no thread",
                                      "node 1 holds 1.00 MiB of guest memory, claimed are 4.00 MiB",
                                      "node 2 holds 1.00 MiB of guest memory, none is claimed there"}));
}

TEST(PlacementProof, TheGuestsNodesAreThoseOfTheClaim) {
  const placement::Claim claim = PinnedClaim();
  EXPECT_TRUE(CompareGuestNodes(claim, {{0, {0}, 4 * kMi, {0}}, {1, {1}, 4 * kMi, {1}}}).empty());
  EXPECT_EQ(CompareGuestNodes(claim, {{0, {0, 1}, 2 * kMi, {1}}, {3, {}, 0, {}}}),
            (std::vector<std::string>{"guest node 0 has CPUs 0-1, claimed are 0",
                                      "guest node 0 has 2.00 MiB, claimed are 4.00 MiB",
                                      "guest node 0 is bound to host node 1, claimed is 0",
                                      "the guest has no node 1", "guest node 3 is not claimed"}));
  EXPECT_TRUE(CompareGuestNodes(TestClaim("no cells", 2, 8 * kMi), {}).empty());
}

TEST(PlacementProof, ThisProcessIsReadAsTheKernelShowsIt) {
  std::atomic<bool> ready{false};
  std::atomic<bool> stop{false};
  std::thread vcpu([&] {
    ::pthread_setname_np(::pthread_self(), "vcpu3");
    ready = true;
    ready.notify_all();
    stop.wait(false);
  });
  ready.wait(false);
  void* memory = ::mmap(nullptr, 4 * kMi, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(memory, MAP_FAILED);
  unsigned long node0 = 1;
  ASSERT_EQ(::syscall(SYS_mbind, memory, 4 * kMi, 2, &node0, 64, 0), 0);
  std::memset(memory, 1, 4 * kMi);

  Result<ProcessPlacement> placement = ReadProcessPlacement(::getpid());

  stop = true;
  stop.notify_all();
  vcpu.join();
  ::munmap(memory, 4 * kMi);
  ASSERT_TRUE(placement.has_value());
  ASSERT_EQ(placement->vcpus.size(), 1u);
  EXPECT_EQ(placement->vcpus[0].vcpu, 3u);
  EXPECT_FALSE(placement->vcpus[0].cpus_allowed.empty());
  EXPECT_EQ(placement->guest_memory, (std::map<placement::NumaNode, uint64_t>{{0, 4 * kMi}}));
}

TEST(PlacementProof, AProcessThatIsNotThereIsNotFound) {
  EXPECT_EQ(ReadProcessPlacement(1 << 30).error().code(), StatusCode::kNotFound);
}

}  // namespace
}  // namespace berth::agent
