// An assigned device against arbitrary accesses of the guest: configuration space, BARs, MSI-X table, with
// calls of VFIO, KVM and the IOMMU that fail now and then. Whatever the guest does, what is mapped lies in
// the windows and belongs to the device, nothing reaches hidden registers, and all is gone at the end.
#include <cstdint>
#include <cstdlib>

#include "common/log.h"
#include "tests/fakes/fake_interrupts.h"
#include "tests/fuzz/fuzz_input.h"
#include "vmm/bus/event_loop.h"
#include "vmm/bus/pci_root.h"
#include "vmm/kvm/fake_kvm.h"
#include "vmm/vfio/fake_vfio.h"
#include "vmm/vfio/vfio_function.h"

namespace {

using namespace berth::vmm;

constexpr PciWindow kLow{0xc0000000, 0x28000000};
constexpr PciWindow kHigh{0x1000000000, 0x100000000};
constexpr PciWindow kIo{0x1000, 0xf000};

void Access(BusDevice& device, uint64_t limit, berth::FuzzInput& input) {
  const uint8_t shape = input.Take<uint8_t>();
  const size_t width = size_t{1} << shape % 4;
  const uint64_t offset = input.Take<uint16_t>() % (limit - width + 1);
  uint64_t value = input.Take<uint64_t>();
  if (shape & 0x80) {
    device.Write(offset, {reinterpret_cast<const uint8_t*>(&value), width});
  } else {
    device.Read(offset, {reinterpret_cast<uint8_t*>(&value), width});
  }
}

void CheckMappings(const FakeVm& vm, FakeVfioDevice& device) {
  for (const auto& [number, slot] : vm.slots) {
    CHECK(kLow.Contains(Raw(slot.gpa), slot.size) || kHigh.Contains(Raw(slot.gpa), slot.size));
    const uint8_t* bar0 = device.bar_memory(0);
    const uint8_t* bar3 = device.bar_memory(3);
    const bool in_bar0 = slot.host >= bar0 && slot.host + slot.size <= bar0 + 0x4000;
    // Not the pages of the MSI-X table and of the pending bits.
    const bool in_bar3 = slot.host == bar3 + 0x1000 || slot.host == bar3 + 0x3000;
    CHECK(in_bar0 || (in_bar3 && slot.size == 0x1000));
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const bool quiet = [] {
    return berth::InitFileLogging("fuzz", berth::LogLevel::kError, "/dev/null").ok();
  }();
  static_cast<void>(quiet);
  berth::FuzzInput input(data, size);
  FakeKvm kvm;
  auto vm = *kvm.CreateVm();
  MemorySlots slots(*vm, 8);
  auto loop = *EventLoop::Create();
  FakeMsiController interrupts(40);
  FakeVfioHost host;
  const uint8_t kind = input.Take<uint8_t>();
  FakeVfioDevice& device = host.Add({.bars = {{.index = 0, .size = 0x4000},
                                              {.index = 1, .size = 0x20, .io = true},
                                              {.index = 3, .size = 0x4000, .wide = true}},
                                     .intx = (kind & 1) != 0,
                                     .msi_vectors = kind & 2 ? 4u : 0u,
                                     .msix_vectors = kind & 4 ? 100u : 3u,
                                     .msix_resizable = (kind & 8) != 0});
  {
    Bus mmio, ports;
    auto segment = std::make_shared<PciSegment>(0, mmio, std::vector<PciWindow>{kLow, kHigh},
                                                PciSegment::IoSpace{&ports, kIo});
    BarAllocator bars(kLow, kHigh, kIo);
    auto opened = *host.Open("0000:21:10.0");
    auto function =
        *VfioFunction::Create(opened, "dev", {vm.get(), &interrupts, &slots, loop.get(), host.dma()});
    CHECK(bars.Place(function->config()).ok());
    CHECK(segment->Add(function, "dev").has_value());
    CHECK(function
              ->Start(
                  [](std::function<void()>) {
                    class Line : public IrqLine {
                      void SetLevel(bool) override {}
                    };
                    return std::make_unique<Line>();
                  },
                  {})
              .ok());
    for (int steps = 0; !input.empty() && steps < 300; ++steps) {
      switch (input.Take<uint8_t>() % 8) {
        case 0:
          Access(*function->BarDevice(0), 0x4000, input);
          break;
        case 1:
          Access(*function->BarDevice(3), 0x4000, input);
          break;
        case 2:
          Access(*function->BarDevice(1), 0x20, input);
          break;
        case 3:
          device.Fire(input.Take<uint8_t>() % 3, input.Take<uint8_t>() % 4);
          break;
        case 4:
          device.FailCall(static_cast<VfioCall>(input.Take<uint8_t>() % 8), 12, input.Take<uint8_t>() % 3);
          if (input.Take<uint8_t>() % 2) host.iommu().FailCall(0, 12);
          break;
        case 5:
          loop->Stop();
          CHECK(loop->Run().ok());
          break;
        default: {
          const uint32_t offset = input.Take<uint8_t>() % 4 == 0 ? 0x100u : 0u;
          const uint64_t at = (1 << 15) + offset + (input.Take<uint8_t>() & 0xfcu);
          const uint32_t value = input.Take<uint32_t>();
          const size_t width = size_t{1} << input.Take<uint8_t>() % 3;
          segment->Write(at, {reinterpret_cast<const uint8_t*>(&value), width});
        }
      }
      CheckMappings(kvm.vm(), device);
      for (uint32_t hidden = 0x140; hidden < 0x180; ++hidden) {
        CHECK(!device.config_writes().contains(hidden));  // SR-IOV
      }
    }
    host.iommu().ForgetFailures();
    for (uint32_t bar = 0; bar < 6; ++bar) function->BarMoved(bar, std::nullopt);
  }
  CHECK(kvm.vm().slots.empty());
  CHECK(host.iommu().mappings().empty());
  CHECK(interrupts.routes() == 0);
  return 0;
}
