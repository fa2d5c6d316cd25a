// Memory, restart and durable writes of the Placement model: 10,000 hosts of 13 providers (root, 4 NUMA
// cells, 8 PFs of 8 VFs) and 1,000,000 allocations (a consumer has VCPU and MEMORY_MB of a cell and one VF).
// Prints JSON lines.
//
//   placement_state_bench [FOLDER] [HOSTS] [ALLOCATIONS] [WRITES]
#include <fcntl.h>
#include <malloc.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <mutex>
#include <random>
#include <string>

#include "common/log.h"
#include "db/sqlite/sqlite_store.h"
#include "placement/engine/engine.h"
#include "placement/engine/writer.h"

namespace {

using namespace berth;             // NOLINT(google-build-using-namespace)
using namespace berth::placement;  // NOLINT(google-build-using-namespace)
using SteadyClock = std::chrono::steady_clock;

constexpr uint32_t kCells = 4;
constexpr uint32_t kPfs = 8;
constexpr int32_t kVfs = 8;

double Since(SteadyClock::time_point start) {
  return std::chrono::duration<double>(SteadyClock::now() - start).count();
}

// Of the whole process: what an idle machine would need of wall time where one thread works.
double CpuSeconds() {
  timespec now{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

size_t HeapBytes() {
  struct mallinfo2 info = mallinfo2();
  return info.uordblks + info.hblkhd;
}

Uuid HostId(uint32_t host) {
  return Uuid::FromName({}, "host" + std::to_string(host));
}
Uuid CellId(uint32_t host, uint32_t cell) {
  return Uuid::FromName(HostId(host), "numa" + std::to_string(cell));
}
Uuid PfId(uint32_t host, uint32_t pf) {
  return Uuid::FromName(HostId(host), "pf" + std::to_string(pf));
}
Uuid ConsumerId(uint32_t number) {
  return Uuid::FromName({}, "consumer" + std::to_string(number));
}

struct Ids {
  ResourceClassId vcpu, memory, vf;
  TraitId numa, custom;
};

Inventory Stock(ResourceClassId id, int32_t total, double ratio) {
  Inventory inventory;
  inventory.resource_class = id;
  inventory.total = inventory.max_unit = total;
  inventory.allocation_ratio = ratio;
  return inventory;
}

void AddHost(uint32_t host, const Ids& ids, db::Contents& contents) {
  Provider root;
  root.uuid = HostId(host);
  root.name = "compute-" + std::to_string(host) + ".example.org";
  root.created_at_ms = 1;
  root.inventories = {Stock(ResourceClassId{2}, 4000, 1.0)};
  for (uint32_t cell = 0; cell < kCells; ++cell) {
    Provider provider;
    provider.uuid = CellId(host, cell);
    provider.name = root.name + "_numa_" + std::to_string(cell);
    provider.parent = root.uuid;
    provider.created_at_ms = 1;
    provider.inventories = {Stock(ids.vcpu, 32, 4.0), Stock(ids.memory, 131072, 1.0)};
    provider.traits = {ids.numa};
    contents.providers.push_back({provider, TreeOwner::kClients});
  }
  for (uint32_t pf = 0; pf < kPfs; ++pf) {
    Provider provider;
    provider.uuid = PfId(host, pf);
    provider.name = root.name + "_0000:" + std::to_string(10 + pf) + ":00.0";
    provider.parent = CellId(host, pf % kCells);
    provider.created_at_ms = 1;
    provider.inventories = {Stock(ids.vf, kVfs, 1.0)};
    provider.traits = {ids.custom};
    contents.providers.push_back({provider, TreeOwner::kClients});
  }
  contents.providers.push_back({root, TreeOwner::kClients});
  contents.generations.push_back({root.uuid, std::vector<uint64_t>(1 + kCells + kPfs, 3)});
}

std::shared_ptr<const Consumer> MakeConsumer(uint32_t number, uint32_t hosts, const Ids& ids) {
  auto consumer = std::make_shared<Consumer>();
  const uint32_t host = number % hosts;
  const uint32_t pf = number / hosts % kPfs;
  consumer->uuid = ConsumerId(number);
  consumer->generation = 1;
  consumer->project = ProjectId{number % 100};
  consumer->user = UserId{number % 100};
  consumer->created_at_ms = consumer->updated_at_ms = 1;
  Uuid cell = CellId(host, pf % kCells);
  consumer->allocations = {{cell, ids.vcpu, 2}, {cell, ids.memory, 1024}, {PfId(host, pf), ids.vf, 1}};
  std::sort(consumer->allocations.begin(), consumer->allocations.end());
  return consumer;
}

// Names as the engine would have made them, then hosts and consumers.
db::Contents MakeFleet(uint32_t hosts, uint32_t allocations) {
  auto engine = *Engine::Restore({});
  auto apply = [&](auto body) { CHECK(engine->Apply({.at_ms = 1, .body = std::move(body)}).has_value()); };
  apply(CreateResourceClass{"CUSTOM_PCI_8086_1889"});
  apply(CreateTrait{"CUSTOM_PHYSNET_1"});
  engine->Commit();
  const ResourceView& view = engine->resources();
  Ids ids{ResourceClassId{0}, ResourceClassId{1},
          *view.resource_classes().Find(std::string_view("CUSTOM_PCI_8086_1889")),
          *view.traits().Find(std::string_view("HW_NUMA_ROOT")),
          *view.traits().Find(std::string_view("CUSTOM_PHYSNET_1"))};
  db::Contents contents = engine->Export();
  for (uint32_t i = 0; i < 100; ++i) {
    contents.names.push_back({db::NameKind::kProject, i, "project" + std::to_string(i), 1, 0});
    contents.names.push_back({db::NameKind::kUser, i, "user" + std::to_string(i), 1, 0});
  }
  for (uint32_t host = 0; host < hosts; ++host) AddHost(host, ids, contents);
  for (uint32_t n = 0; n < allocations / 3; ++n) contents.consumers.push_back(MakeConsumer(n, hosts, ids));
  return contents;
}

void Restart(const std::string& path) {
  auto start = SteadyClock::now();
  const double cpu_start = CpuSeconds();
  auto store = *db::OpenSqliteStore(path, {});
  const double opened = Since(start);
  size_t heap = HeapBytes();
  auto contents = std::make_unique<db::Contents>(*store->Load());
  const double loaded = Since(start);
  auto engine = *Engine::Restore(*contents);
  const double restored = Since(start);
  const double cpu = CpuSeconds() - cpu_start;
  contents.reset();
  malloc_trim(0);
  const ResourceView& view = engine->resources();
  size_t hot = 0;
  size_t cold = 0;
  size_t hosts = 0;
  for (TreeSlot slot = 0; slot < view.slots(); ++slot) {
    hot += view.tree(slot)->HotBytes();
    cold += view.tree(slot)->ColdBytes();
    ++hosts;
  }
  const double heap_now = static_cast<double>(HeapBytes() - heap);
  std::printf(
      "{\"bench\":\"placement_restart\",\"hosts\":%zu,\"providers\":%zu,\"allocations\":%zu,\"open_s\":%.3f,"
      "\"load_s\":%.3f,\"serving_s\":%.3f,\"serving_cpu_s\":%.3f,\"hot_bytes_per_host\":%.0f,\"cold_bytes_"
      "per_host\":%.0f,"
      "\"heap_mib\":%.0f}\n",
      hosts, view.provider_count(), view.allocation_count(), opened, loaded - opened, restored, cpu,
      static_cast<double>(hot) / static_cast<double>(hosts),
      static_cast<double>(cold) / static_cast<double>(hosts), heap_now / 1048576);
}

// Heap with and without consumers, in memory alone. The engine keeps the consumers of its contents, so that
// they count as its own.
void Memory(const db::Contents& all) {
  db::Contents contents = all;
  contents.consumers.clear();
  size_t before = HeapBytes();
  auto bare = *Engine::Restore(contents);
  const size_t trees = HeapBytes() - before;
  bare.reset();
  before = HeapBytes();
  for (const auto& consumer : all.consumers) {
    contents.consumers.push_back(std::make_shared<const Consumer>(*consumer));
  }
  auto engine = *Engine::Restore(contents);
  std::vector<std::shared_ptr<const Consumer>>().swap(contents.consumers);
  const size_t full = HeapBytes() - before;
  const ResourceView& view = engine->resources();
  std::printf(
      "{\"bench\":\"placement_memory\",\"heap_bytes_per_host_all_in\":%.0f,\"bytes_per_allocation\":%.1f}\n",
      static_cast<double>(trees) / static_cast<double>(view.AllTrees().Count()),
      static_cast<double>(full - trees) / static_cast<double>(view.allocation_count()));
}

// How long the disk takes for a small write and its sync.
double SyncSeconds(const std::string& folder) {
  std::string path = folder + "/placement_state_bench.sync";
  int fd = open(path.c_str(), O_CREAT | O_RDWR | O_TRUNC, 0600);
  char block[4096] = {};
  std::vector<double> took;
  for (int i = 0; i < 50; ++i) {
    auto start = SteadyClock::now();
    if (pwrite(fd, block, sizeof block, i * 4096) != sizeof block || fdatasync(fd) != 0) break;
    took.push_back(Since(start));
  }
  close(fd);
  std::filesystem::remove(path);
  std::sort(took.begin(), took.end());
  return took.empty() ? 0 : took[took.size() / 2];
}

// REST-like claims through the writer: `in_flight` at a time.
void Writes(const std::string& path, const std::string& folder, uint32_t hosts, uint32_t first,
            uint32_t count, uint32_t in_flight) {
  auto store = *db::OpenSqliteStore(path, {});
  db::Contents contents = *store->Load();
  auto engine = *Engine::Restore(contents);
  Fleet fleet;
  fleet.Load(engine->Hosts(), engine->resources());
  EventHub hub(fleet, {});
  hub.Load(contents.events, contents.sequence);
  contents = {};
  Writer writer(*engine, *store, hub, {}, 1, 1);
  std::mutex mutex;
  std::condition_variable done;
  uint32_t sent = 0;
  uint32_t answered = 0;
  std::atomic<uint32_t> failed{0};
  std::vector<double> latency(count);
  const double cpu_start = CpuSeconds();
  auto start = SteadyClock::now();
  std::unique_lock lock(mutex);
  while (answered < count) {
    while (sent < count && sent - answered < in_flight) {
      const uint32_t number = sent++;
      Uuid cell = CellId(number % hosts, number / hosts % kCells);
      ConsumerInput input;
      input.consumer = ConsumerId(first + number);
      input.project = "project1";
      input.user = "user1";
      input.check_generation = true;
      input.allocations = {{cell, "VCPU", 1}, {cell, "MEMORY_MB", 64}};
      SetAllocations body;
      body.consumers.push_back(std::move(input));
      lock.unlock();
      auto begin = SteadyClock::now();
      writer.Submit({.at_ms = 2, .actor = "bench", .body = std::move(body)},
                    [&, number, begin](const Result<Outcome>& outcome) {
                      if (!outcome) ++failed;
                      latency[number] = Since(begin);
                      std::lock_guard guard(mutex);
                      ++answered;
                      done.notify_one();
                    });
      lock.lock();
    }
    done.wait(lock, [&] { return answered == count || (sent < count && sent - answered < in_flight); });
  }
  const double took = Since(start);
  const double cpu = CpuSeconds() - cpu_start;
  lock.unlock();
  writer.Stop();
  std::sort(latency.begin(), latency.end());
  std::printf(
      "{\"bench\":\"placement_writes\",\"in_flight\":%u,\"writes\":%u,\"failed\":%u,\"per_s\":%.0f,\"p50_"
      "us\":%.0f,"
      "\"p99_us\":%.0f,\"cpu_us\":%.1f,\"commits\":%llu,\"sync_us\":%.0f}\n",
      in_flight, count, failed.load(), count / took, latency[count / 2] * 1e6,
      latency[count * 99 / 100] * 1e6, cpu / count * 1e6,
      static_cast<unsigned long long>(writer.counters().commits), SyncSeconds(folder) * 1e6);
  std::fflush(stdout);
}

}  // namespace

int main(int argc, char** argv) {
  setvbuf(stdout, nullptr, _IOLBF, 0);
  InitLogging("placement_state_bench", LogLevel::kWarning);
  const std::string folder = argc > 1 ? argv[1] : ".";
  auto number = [&](int at, uint32_t standard) {
    return argc > at ? static_cast<uint32_t>(std::max(1, std::atoi(argv[at]))) : standard;
  };
  const uint32_t hosts = number(2, 10000);
  const uint32_t allocations = number(3, 1000000);
  const uint32_t writes = number(4, 20000);
  const std::string path = folder + "/placement_state_bench." + std::to_string(getpid()) + ".db";
  {
    db::Contents fleet = MakeFleet(hosts, allocations);
    Memory(fleet);
    auto engine = *Engine::Restore(fleet);
    auto store = *db::OpenSqliteStore(path, {});
    CHECK(store->Append({.changes = engine->AllChanges(), .sequence = 0}).ok());
  }
  malloc_trim(0);
  Restart(path);
  uint32_t first = allocations;
  for (uint32_t in_flight : {1U, 16U, 256U}) {
    const uint32_t count = in_flight == 1 ? std::max(1U, writes / 10) : writes;
    Writes(path, folder, hosts, first, count, in_flight);
    first += count;
  }
  for (const char* suffix : {"", "-wal", "-shm"}) std::filesystem::remove(path + suffix);
  return 0;
}
