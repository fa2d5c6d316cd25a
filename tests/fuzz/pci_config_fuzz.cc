// Configuration space and BARs against arbitrary accesses by ECAM, by ports and by MMIO. Whatever the guest
// writes, a fixed device of the bus stays reachable, and what is mapped lies in the windows.
#include <cstdint>

#include "common/log.h"
#include "tests/fakes/fake_device.h"
#include "tests/fakes/fake_interrupts.h"
#include "tests/fakes/fake_pci_function.h"
#include "tests/fakes/guest_ram.h"
#include "tests/fuzz/fuzz_input.h"
#include "vmm/bus/event_loop.h"
#include "vmm/bus/pci_root.h"
#include "vmm/virtio/pci_transport.h"
#include "vmm/virtio/rng.h"

namespace {

using namespace berth::vmm;

constexpr PciWindow kLow{0xc0000000, 0x28000000};
constexpr PciWindow kHigh{0x1000000000, 0x100000000};
constexpr uint64_t kFixed = 0xc0008000;

// Accesses that the vCPU layer can make: 1, 2, 4 or 8 bytes.
void Access(BusDevice& device, uint64_t limit, berth::FuzzInput& input) {
  const uint8_t shape = input.Take<uint8_t>();
  const size_t width = size_t{1} << shape % 4;
  if (width > limit) return;
  const uint64_t offset = input.Take<uint32_t>() % (limit - width + 1);
  uint64_t value = input.Take<uint64_t>();
  if (shape & 0x80) {
    device.Write(offset, {reinterpret_cast<const uint8_t*>(&value), width});
  } else {
    device.Read(offset, {reinterpret_cast<uint8_t*>(&value), width});
  }
}

// Registers of the first three slots, where there is something to find.
void AccessFunction(PciSegment& segment, berth::FuzzInput& input) {
  const uint64_t offset = uint64_t{input.Take<uint8_t>() % 4u} << 15 | (input.Take<uint8_t>() & 0xfcu);
  const uint32_t value = input.Take<uint32_t>();
  segment.Write(offset, {reinterpret_cast<const uint8_t*>(&value), 4});
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const bool quiet = [] {
    berth::InitLogging("fuzz", berth::LogLevel::kError);
    return true;
  }();
  static_cast<void>(quiet);
  berth::FuzzInput input(data, size);
  GuestRam ram({{0, 0x4000}});
  FakeMsiController interrupts;
  FakeIoEvents io_events;
  auto loop = *EventLoop::Create();
  Bus mmio;  // holds devices with mapped BARs, so it goes before what they use
  CHECK(mmio.Insert(kFixed, 0x1000, std::make_shared<FakeDevice>(0x77), "fixed").ok());
  auto segment = std::make_shared<PciSegment>(0, mmio, std::vector<PciWindow>{kLow, kHigh});
  PciConfigPorts ports(segment);
  BarAllocator bars({kLow.base + 0x100000, kLow.size - 0x100000}, kHigh);
  auto rng =
      *VirtioPciTransport::Create(*VirtioRng::Open("/dev/zero", *loop), ram.memory(), interrupts, io_events);
  auto plain = std::make_shared<FakePciFunction>(0x55);
  plain->config().AddBar(0, BarKind::kMemory32, 0x10000, false);
  plain->config().AddBar(2, BarKind::kMemory64, 0x10000, false);
  CHECK(bars.Place(rng->config()).ok() && bars.Place(plain->config()).ok());
  CHECK(segment->Add(MakeHostBridge(), "host bridge", 0).has_value());
  CHECK(segment->Add(rng, "rng").has_value() && segment->Add(plain, "plain").has_value());

  for (int steps = 0; !input.empty() && steps < 300; ++steps) {
    switch (input.Take<uint8_t>() % 6) {
      case 0:
        Access(*segment, 1 << 20, input);
        break;
      case 1:
        Access(ports, 8, input);
        break;
      case 2:
        Access(*rng, VirtioPciTransport::kBarSize, input);
        break;
      case 3:
        loop->Stop();
        CHECK(loop->Run().ok());
        break;
      default:
        AccessFunction(*segment, input);
    }
    uint8_t byte = 0;
    mmio.Read(kFixed, {&byte, 1});
    CHECK(byte == 0x77);
    for (const auto& [index, base] : plain->moves) {
      CHECK(!base || kLow.Contains(*base, 0x10000) || kHigh.Contains(*base, 0x10000));
    }
    plain->moves.clear();
  }
  return 0;
}
