// A placement service in one process with its clients, for tests that kill it: threads write consumers'
// allocations as REST would, and each answer goes to standard output as one line "CONSUMER AMOUNT" before the
// next is asked for.
//
//   placement_allocator STORE ROUND THREADS
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "common/log.h"
#include "placement/engine/writer.h"
#include "placement/store/open_store.h"
#include "tests/placement/crash/allocator_plan.h"

using namespace berth;             // NOLINT(google-build-using-namespace)
using namespace berth::placement;  // NOLINT(google-build-using-namespace)

namespace {

// The pools, once.
void MakePools(Writer& writer) {
  for (uint32_t pool = 0; pool < testing::kPools; ++pool) {
    (void)writer.Execute(
        {.at_ms = 1, .body = CreateProvider{testing::PoolId(pool), "pool" + std::to_string(pool), {}}});
    InventoryInput vcpu;
    vcpu.resource_class = "VCPU";
    vcpu.total = testing::kPoolSize;
    (void)writer.Execute({.at_ms = 1, .body = SetInventories{testing::PoolId(pool), 0, {vcpu}}});
  }
}

void Client(Writer& writer, uint32_t round, uint32_t thread) {
  std::mt19937 random(round * 1000 + thread);
  for (uint32_t n = 0;; ++n) {
    SetAllocations body;
    ConsumerInput input;
    input.consumer = testing::ConsumerId(round, thread, n % 20);
    const auto amount = static_cast<int32_t>(1 + random() % 5);
    input.allocations = {
        {testing::PoolId(static_cast<uint32_t>(random()) % testing::kPools), "VCPU", amount}};
    if (random() % 6 == 0) input.allocations.clear();
    body.consumers = {input};
    auto outcome = writer.Execute({.at_ms = 2, .actor = "client", .body = std::move(body)});
    if (!outcome) continue;
    // One write of a short line is not mixed with others.
    std::string line =
        input.consumer.ToString() + " " + std::to_string(input.allocations.empty() ? 0 : amount) + "\n";
    if (write(STDOUT_FILENO, line.data(), line.size()) < 0) return;
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) return 2;
  InitLogging("placement_allocator", LogLevel::kError);
  auto store = OpenStore(argv[1], 0);
  if (!store) {
    std::fprintf(stderr, "%s\n", store.status().ToString().c_str());
    return 1;
  }
  auto contents = (*store)->Load();
  auto engine = Engine::Restore(*contents);
  if (!engine) {
    std::fprintf(stderr, "%s\n", engine.status().ToString().c_str());
    return 1;
  }
  Fleet fleet;
  EventHub hub(fleet, {});
  Writer writer(**engine, **store, hub, {}, contents->sequence + 1, contents->first_audit);
  const auto round = static_cast<uint32_t>(std::atoi(argv[2]));
  if (round == 0) MakePools(writer);
  std::vector<std::thread> threads;
  for (int t = 0; t < std::atoi(argv[3]); ++t) {
    threads.emplace_back([&writer, round, t] { Client(writer, round, static_cast<uint32_t>(t)); });
  }
  for (auto& thread : threads) thread.join();
  return 0;
}
