#include "scheduler/fit/fit_state.h"

#include <cstddef>
#include <cstdint>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "scheduler/fit/quick_fit.h"
#include "tests/scheduler/fit/random_host.h"

namespace berth::scheduler {
namespace {

CpuSet Moved(const CpuSet& cpus, uint32_t by) {
  CpuSet out;
  for (uint32_t cpu : cpus.ToVector()) out.Add(cpu + by);
  return out;
}

// The same host with other CPU numbers and device addresses.
FitHost Elsewhere(FitHost host) {
  for (FitCell& cell : host.cells) {
    cell.shared_cpus = Moved(cell.shared_cpus, 300);
    cell.free_dedicated = Moved(cell.free_dedicated, 300);
    for (CpuSet& core : cell.siblings.Own()) core = Moved(core, 300);
  }
  for (FitDevice& device : host.devices) {
    device.address.bus = static_cast<uint8_t>(device.address.bus + 64);
    if (device.parent) device.parent->bus = static_cast<uint8_t>(device.parent->bus + 64);
  }
  Prepare(host);
  return host;
}

TEST(FitStates, HostsOfOneNumberGetTheSameAnswerFromCounts) {
  FitStates states;
  uint32_t fits = 0;
  for (uint32_t seed = 1; seed <= 2000; ++seed) {
    RandomCase random(seed);
    FitHost host = random.Host();
    FitHost other = Elsewhere(host);
    RequestSpec request = random.Request();

    ASSERT_EQ(states.Of(host)->number, states.Of(host)->number) << seed;
    FitStatePtr state = states.Of(host);
    ASSERT_EQ(state, states.Of(other)) << seed;
    RequestPlan plan(request, DeviceTypes::OfProcess());
    QuickFit one = FitQuickly(host, plan);
    QuickFit two = FitQuickly(other, plan);
    ASSERT_EQ(one.verdict, two.verdict) << seed;
    if (one.verdict != Verdict::kFits) continue;
    ++fits;
    ASSERT_EQ(one.non_local, two.non_local) << seed;
    ASSERT_EQ(one.waste, two.waste) << seed;
  }
  EXPECT_GT(fits, 100u);
}

TEST(FitStates, WhateverCountsCanTellMakesAnotherState) {
  FitStates states;
  FitHost host;
  host.cells.resize(2);
  host.cells[1].id = 1;
  host.cells[0].free_dedicated = host.cells[0].shared_cpus = CpuSet::Range(0, 3);
  host.cells[0].pages = {{4096, 100, 50}};
  Prepare(host);
  FitStatePtr before = states.Of(host);
  auto differs = [&](auto&& change) {
    FitHost other = host;
    change(other);
    Prepare(other);
    return states.Of(other) != before;
  };

  EXPECT_TRUE(differs([](FitHost& h) { h.cells[0].free_dedicated.Remove(3); }));
  EXPECT_TRUE(differs([](FitHost& h) { h.cells[0].shared_cpus.Add(4); }));
  EXPECT_TRUE(differs([](FitHost& h) { h.cells[0].siblings = {CpuSet{0, 1}}; }));
  EXPECT_TRUE(differs([](FitHost& h) { h.cells[0].pages[0].free = 49; }));
  EXPECT_TRUE(differs([](FitHost& h) { h.cells[1].socket = 0; }));
  EXPECT_TRUE(differs([](FitHost& h) { h.cells[1].secure_room_bytes = 4096; }));
  EXPECT_TRUE(differs([](FitHost& h) { h.cells[1].base_room_bytes = 4096; }));
  EXPECT_TRUE(differs([](FitHost& h) { h.cells[1].shared_vcpus = 1; }));
  EXPECT_TRUE(differs([](FitHost& h) { h.cells[1].physical_networks = {"red"}; }));
  EXPECT_TRUE(differs([](FitHost& h) { h.cells[1].tunneled = true; }));
  EXPECT_TRUE(differs([](FitHost& h) { h.cpu_ratio = 2; }));
  EXPECT_TRUE(differs([](FitHost& h) { h.can_run_guests = false; }));
  EXPECT_TRUE(differs([](FitHost& h) { h.floating_vcpus = 1; }));
  EXPECT_TRUE(differs([](FitHost& h) { h.devices.emplace_back(); }));
  EXPECT_FALSE(differs([](FitHost&) {}));
}

TEST(FitStates, AStateThatNobodyIsInIsForgotten) {
  FitStates states;
  FitHost host;
  Prepare(host);
  FitStatePtr state = states.Of(host);
  uint64_t number = state->number;
  EXPECT_EQ(states.size(), 1u);

  state.reset();

  EXPECT_EQ(states.size(), 0u);
  EXPECT_NE(states.Of(host)->number, number);
}

// The last view of a state may go on one thread while another finds a host in it.
TEST(FitStates, StatesThatComeAndGoOnManyThreadsKeepTheirNumbersWhileHeld) {
  FitStates states;
  std::vector<FitHost> hosts(3);
  for (size_t i = 0; i < hosts.size(); ++i) {
    hosts[i].floating_vcpus = static_cast<uint32_t>(i);
    Prepare(hosts[i]);
  }
  std::vector<std::thread> threads;
  for (size_t first = 0; first < 4; ++first) {
    threads.emplace_back([&, first] {
      for (size_t i = 0; i < 5000; ++i) {
        const FitHost& host = hosts[(first + i) % hosts.size()];
        const FitStatePtr held = states.Of(host);
        ASSERT_EQ(states.Of(host), held);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();

  EXPECT_EQ(states.size(), 0u);
}

}  // namespace
}  // namespace berth::scheduler
