// What page states cost in memory and time, and conversions in system calls: beside a bitmap, a plain
// interval map and QEMU's cost model (one call for the attributes, one DMA mapping for each 4 KiB page, one
// discard). Prints one JSON object. Everything runs on the fakes: no figure is one of a kernel.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <map>
#include <memory>
#include <random>
#include <thread>
#include <vector>

#include "vmm/convert/converter.h"
#include "vmm/convert/dma_listener.h"
#include "vmm/convert/fake_memory.h"
#include "vmm/dma/fake_iommu.h"
#include "vmm/pagestate/page_state_map.h"

namespace berth::vmm {
namespace {

using Clock = std::chrono::steady_clock;
constexpr uint64_t kPage = 4096;
constexpr uint64_t kGiB = 1 << 30;
// A node of std::map<uint64_t, {end, state}>: header 32, key and value 24, and malloc's 8, rounded up.
constexpr uint64_t kMapNode = 64;

double Nanoseconds(Clock::time_point start, uint64_t operations) {
  return std::chrono::duration<double, std::nano>(Clock::now() - start).count() /
         static_cast<double>(operations);
}

// The plain interval map that the page-state map is compared with: one node for each run.
class PlainIntervals {
 public:
  explicit PlainIntervals(uint64_t size) { runs_[0] = {size, PageState::kPrivate}; }
  void Set(uint64_t base, uint64_t size, PageState state) {
    Split(base);
    Split(base + size);
    runs_.erase(runs_.lower_bound(base), runs_.lower_bound(base + size));
    auto it = runs_.emplace(base, Run{base + size, state}).first;
    Join(it);
    if (it != runs_.begin()) Join(std::prev(it));
  }
  uint64_t bytes() const { return runs_.size() * kMapNode; }

 private:
  struct Run {
    uint64_t end;
    PageState state;
  };
  using Runs = std::map<uint64_t, Run>;
  void Split(uint64_t at) {
    auto it = runs_.upper_bound(at);
    if (it == runs_.begin()) return;
    --it;
    if (it->first == at || it->second.end <= at) return;
    runs_.emplace(at, it->second);
    it->second.end = at;
  }
  void Join(Runs::iterator it) {
    auto next = std::next(it);
    if (next == runs_.end() || next->second.state != it->second.state) return;
    it->second.end = next->second.end;
    runs_.erase(next);
  }
  Runs runs_;
};

// 64 GiB with 1 GiB of bounce buffers and 2000 runs of drivers.
template <class Map>
void Typical(Map& map) {
  std::mt19937_64 random(1);
  map.Set(kGiB, kGiB, PageState::kShared);
  for (int i = 0; i < 2000; ++i) {
    const uint64_t pages = 1 + random() % 16;
    map.Set(random() % (64 * kGiB / kPage - pages) * kPage, pages * kPage, PageState::kShared);
  }
}

void StateBytes() {
  PageStateMap map = *PageStateMap::Create({{.base = 0, .size = 64 * kGiB}});
  PlainIntervals plain(64 * kGiB);
  Typical(map);
  Typical(plain);
  std::printf(
      "  \"state_bytes_per_gib\": {\"bitmap\": %llu, \"typical\": {\"map\": %llu, \"plain_intervals\": "
      "%llu},",
      static_cast<unsigned long long>(kGiB / kPage / 8),
      static_cast<unsigned long long>(map.memory_bytes() / 64),
      static_cast<unsigned long long>(plain.bytes() / 64));

  std::mt19937_64 random(2);
  uint64_t found = 0;
  auto start = Clock::now();
  for (int i = 0; i < 2'000'000; ++i) found += map.BytesIn(PageState::kShared, random() % (64 * kGiB), 16);
  const double lookup = Nanoseconds(start, 2'000'000);
  start = Clock::now();
  for (int i = 0; i < 200'000; ++i) {
    const uint64_t gpa = random() % (64 * kGiB / kPage) * kPage;
    map.Set(gpa, kPage, i % 2 == 0 ? PageState::kShared : PageState::kPrivate);
  }
  const double set = Nanoseconds(start, 200'000);

  PageStateMap adversarial = *PageStateMap::Create({{.base = 0, .size = 4 * kGiB}});
  PlainIntervals plain_adversarial(4 * kGiB);
  start = Clock::now();
  for (uint64_t gpa = 0; gpa < 4 * kGiB; gpa += 2 * kPage) adversarial.Set(gpa, kPage, PageState::kShared);
  const double alternate = Nanoseconds(start, 2 * kGiB / kPage);
  for (uint64_t gpa = 0; gpa < 4 * kGiB; gpa += 2 * kPage)
    plain_adversarial.Set(gpa, kPage, PageState::kShared);
  std::printf(" \"adversarial\": {\"map\": %llu, \"plain_intervals\": %llu}},\n",
              static_cast<unsigned long long>(adversarial.memory_bytes() / 4),
              static_cast<unsigned long long>(plain_adversarial.bytes() / 4));
  std::printf(
      "  \"nanoseconds\": {\"lookup\": %.0f, \"set_random_page\": %.0f, \"set_alternating_page\": %.0f, "
      "\"found\": %llu},\n",
      lookup, set, alternate, static_cast<unsigned long long>(found));
}

struct Guest {
  Guest(uint64_t size, FakeIommu::Interface interface, DmaStrategy strategy, uint64_t call_ns)
      : memory({.size = size, .call_ns = call_ns}),
        iommu({.interface = interface, .entry_limit = UINT64_MAX}),
        engine(iommu.MakeBackend()),
        listener(engine, {{0, size, reinterpret_cast<uint8_t*>(uint64_t{0x7f0000000000})}},
                 {strategy, true, {}}),
        pages(*PageStateMap::Create({{.base = 0, .size = size}})),
        converter(pages, memory, memory, {&listener}, {}) {
    CHECK(converter.Start().ok());
  }
  uint64_t Calls() const { return memory.calls() + iommu.calls(); }

  FakeMemory memory;
  FakeIommu iommu;
  DmaEngine engine;
  DmaListener listener;
  GuestPages pages;
  Converter converter;
};

// System calls for 1 GiB of bounce buffers, shared in the 512 pieces in which KVM reports them.
void SystemCalls() {
  constexpr uint64_t kPieces = 512;
  std::printf("  \"system_calls\": {\"per_2mib\": {\"qemu_model\": %u", 1 + 512 + 1);
  for (const auto& [name, interface, strategy] :
       {std::tuple{"cut", FakeIommu::Interface::kIommufdCut, DmaStrategy::kCut},
        std::tuple{"exact", FakeIommu::Interface::kType1, DmaStrategy::kExact},
        std::tuple{"chunks", FakeIommu::Interface::kType1, DmaStrategy::kChunks},
        std::tuple{"pages", FakeIommu::Interface::kType1, DmaStrategy::kPages}}) {
    Guest guest(kGiB, interface, strategy, 0);
    const uint64_t before = guest.Calls();
    for (uint64_t i = 0; i < kPieces; ++i) {
      CHECK(guest.converter.Convert(i * kStateChunk, kStateChunk, Direction::kToShared).has_value());
    }
    std::printf(", \"%s\": %.1f", name, static_cast<double>(guest.Calls() - before) / kPieces);
  }
  std::printf("}, \"per_gib_shared_in_2mib\": {\"qemu_model\": %llu, \"cut\": %llu}},\n",
              static_cast<unsigned long long>(kPieces * 514), static_cast<unsigned long long>(kPieces * 4));
}

// Each thread shares and takes back 2 MiB of its own.
double ConversionsPerSecond(int threads, uint64_t call_ns) {
  constexpr int kEach = 1000;
  Guest guest(256 << 20, FakeIommu::Interface::kIommufdCut, DmaStrategy::kCut, call_ns);
  std::vector<std::thread> vcpus;
  const auto start = Clock::now();
  for (int v = 0; v < threads; ++v) {
    vcpus.emplace_back([&guest, v] {
      const uint64_t gpa = static_cast<uint64_t>(v) * 32 * kStateChunk / 2;
      for (int i = 0; i < kEach; ++i) {
        const Direction direction = i % 2 == 0 ? Direction::kToShared : Direction::kToPrivate;
        CHECK(guest.converter.Convert(gpa, kStateChunk, direction).has_value());
      }
    });
  }
  for (std::thread& vcpu : vcpus) vcpu.join();
  return threads * kEach / std::chrono::duration<double>(Clock::now() - start).count();
}

}  // namespace
}  // namespace berth::vmm

int main() {
  using namespace berth::vmm;
  std::printf("{\n");
  StateBytes();
  SystemCalls();
  std::printf("  \"conversions_per_second_of_2mib\": {");
  for (int threads : {1, 2, 4, 8}) {
    std::printf("%s\"%d\": %.0f", threads == 1 ? "" : ", ", threads, ConversionsPerSecond(threads, 0));
  }
  std::printf("},\n  \"with_20_us_in_each_call\": {");
  for (int threads : {1, 2, 4, 8}) {
    std::printf("%s\"%d\": %.0f", threads == 1 ? "" : ", ", threads, ConversionsPerSecond(threads, 20'000));
  }
  std::printf("},\n  \"processors\": %u\n}\n", std::thread::hardware_concurrency());
  return 0;
}
