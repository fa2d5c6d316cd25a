// The split virtqueue against arbitrary rings that change between calls. Nothing outside guest RAM may be
// touched (behind each region lies an unmapped page), chains stay within their limits, and no call hangs.
#include <cstdint>

#include "tests/fakes/virtio_driver.h"
#include "tests/fuzz/fuzz_input.h"
#include "vmm/virtio/queue.h"

namespace {

using berth::vmm::DescriptorChain;
using berth::vmm::Gpa;
using berth::vmm::GuestRam;
using berth::vmm::SplitQueue;

constexpr uint64_t kRegion = 0x2000;

void Poke(GuestRam& ram, berth::FuzzInput& input) {
  const uint64_t address = input.Take<uint16_t>() % (2 * kRegion);
  const auto bytes = input.TakeBytes(input.Take<uint8_t>() % 64);
  static_cast<void>(!ram.memory().Write(Gpa{address}, bytes).ok());
}

void CheckChain(const SplitQueue& queue, const DescriptorChain& chain) {
  CHECK(chain.head < queue.size());
  CHECK(chain.readable.size() + chain.writable.size() <= UINT32_MAX);
  CHECK(chain.readable.size() + chain.writable.size() > 0);
  uint8_t buffer[128] = {};
  chain.readable.CopyOut(chain.readable.size() / 2, buffer);
  chain.writable.CopyIn(chain.writable.size() / 2, buffer);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  berth::FuzzInput input(data, size);
  GuestRam ram({{0, kRegion}, {kRegion, kRegion}, {0x100000, 0x1000}});
  berth::vmm::QueueConfig config;
  const uint8_t flags = input.Take<uint8_t>();
  config.size = static_cast<uint16_t>(1u << flags % 8);
  config.indirect = flags & 0x40;
  config.event_idx = flags & 0x80;
  config.descriptors = Gpa{input.Take<uint8_t>() * 16ull};
  config.driver = Gpa{0x1000 + input.Take<uint8_t>() * 16ull};
  config.device = Gpa{0x1800 + input.Take<uint8_t>() * 16ull};
  auto queue = SplitQueue::Create(ram.memory(), config);
  if (!queue) return 0;
  DescriptorChain chain;
  for (int steps = 0; !input.empty() && steps < 500; ++steps) {
    switch (input.Take<uint8_t>() % 6) {
      case 0:
        Poke(ram, input);
        break;
      case 1: {
        auto popped = queue->Pop(chain);
        if (!popped) break;
        if (*popped) CheckChain(*queue, chain);
        break;
      }
      case 2:
        queue->Push(chain.head, input.Take<uint32_t>());
        break;
      case 3:
        queue->DisableNotifications();
        break;
      case 4:
        queue->EnableNotifications(input.Take<uint8_t>());
        break;
      default:
        queue->NeedsInterrupt();
    }
  }
  return 0;
}
