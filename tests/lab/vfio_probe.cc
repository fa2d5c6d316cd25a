// vfio_probe - drives QEMU's "edu" device through the VMM's VFIO and DMA engine, without a guest: proves them
// against the real kernel
//
// usage: vfio_probe group|device-file|cut|device-file-copies|cut-copies PCI-ADDRESS
//
// DMA in both directions, an MSI on an event descriptor, a reset, many mappings with their time, and that a
// device reaches nothing that is not mapped; with cut, that an unmap in the midst of a mapping leaves its
// neighbours alone; with copies, the same by runs that are copied from a space without devices.
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstring>
#include <string>
#include <thread>

#include "vmm/vfio/linux_vfio_host.h"
#include "vmm/vfio/preflight.h"

namespace berth::vmm {
namespace {

constexpr uint64_t kPage = 4096;
constexpr uint64_t kIova = 0x1000000;
constexpr uint64_t kDeviceBuffer = 0x40000;  // in the device's own address space

int failures = 0;

void Check(bool ok, const char* what) {
  std::printf("%s: %s\n", ok ? "ok" : "FAILED", what);
  if (!ok) ++failures;
}

void Check(const Status& status, const char* what) {
  Check(status.ok(), what);
  if (!status.ok()) std::printf("  %s\n", status.ToString().c_str());
}

class Edu {
 public:
  explicit Edu(VfioDevice& device) : device_(device) {}

  uint32_t Read32(uint64_t offset) {
    uint32_t value = 0;
    Status status = device_.ReadRegion(0, offset, {reinterpret_cast<uint8_t*>(&value), sizeof value});
    return status.ok() ? value : 0;
  }
  template <class T>
  void Write(uint64_t offset, T value) {
    static_cast<void>(
        device_.WriteRegion(0, offset, {reinterpret_cast<const uint8_t*>(&value), sizeof value}));
  }
  // Bits 1 of `command`: from the device, 2: interrupt at the end.
  bool Dma(uint64_t from, uint64_t to, uint64_t size, uint64_t command) {
    Write<uint64_t>(0x80, from);
    Write<uint64_t>(0x88, to);
    Write<uint64_t>(0x90, size);
    Write<uint64_t>(0x98, command | 1);
    for (int i = 0; i < 5000; ++i) {
      if (!(Read32(0x98) & 1)) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return false;
  }
  bool ToDevice(uint64_t iova) { return Dma(iova, kDeviceBuffer, kPage, 0); }
  bool FromDevice(uint64_t iova, bool interrupt = false) {
    return Dma(kDeviceBuffer, iova, kPage, interrupt ? 6 : 2);
  }

 private:
  VfioDevice& device_;
};

bool Holds(const uint8_t* page, uint8_t byte) {
  for (uint64_t i = 0; i < kPage; ++i) {
    if (page[i] != byte) return false;
  }
  return true;
}

DmaRun Run(uint64_t iova, uint64_t pages, uint8_t* host) {
  DmaRun run;
  run.iova = iova;
  run.size = pages * kPage;
  run.host = host;
  return run;
}

void ProveDma(Edu& edu, DmaEngine& dma, VfioDevice& device, uint8_t* memory, bool cut) {
  const int event = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  Check(device.SetTriggers(VFIO_PCI_MSI_IRQ_INDEX, 0, {&event, 1}), "MSI on an event descriptor");
  for (uint64_t i = 0; i < kPage; ++i) memory[i] = static_cast<uint8_t>(i * 7 + 3);
  Check(dma.Map({Run(kIova, 8, memory)}), "eight pages mapped");
  Check(edu.ToDevice(kIova), "memory to device");
  Check(edu.FromDevice(kIova + kPage, true), "device to memory, with an interrupt");
  Check(std::memcmp(memory, memory + kPage, kPage) == 0, "the data came round");
  pollfd wait{event, POLLIN, 0};
  Check(::poll(&wait, 1, 10'000) == 1, "the interrupt arrived");

  std::memset(memory + kPage, 0xaa, 7 * kPage);
  Status part = dma.Unmap(kIova + 3 * kPage, kPage);
  if (cut) {
    Check(part, "one page is cut out of the mapping");
    edu.FromDevice(kIova + 3 * kPage);
    Check(Holds(memory + 3 * kPage, 0xaa), "the device does not reach it any more");
    edu.FromDevice(kIova + 2 * kPage);
    edu.FromDevice(kIova + 4 * kPage);
    Check(std::memcmp(memory, memory + 2 * kPage, kPage) == 0 &&
              std::memcmp(memory, memory + 4 * kPage, kPage) == 0,
          "and still reaches both neighbours");
  } else {
    Check(part.code() == StatusCode::kFailedPrecondition, "a mapping in use is not cut");
    Check(dma.Unmap(kIova + 3 * kPage, kPage, PartialUnmap::kRemapRest), "but unmapped and mapped around it");
    edu.FromDevice(kIova + 3 * kPage);
    Check(Holds(memory + 3 * kPage, 0xaa), "the device does not reach the hole");
    edu.FromDevice(kIova + 4 * kPage);
    Check(std::memcmp(memory, memory + 4 * kPage, kPage) == 0, "it reaches what is behind it");
  }
  Check(dma.Unmap(kIova, 8 * kPage), "all unmapped");
  std::memset(memory + kPage, 0xbb, kPage);
  edu.FromDevice(kIova + kPage);
  Check(Holds(memory + kPage, 0xbb), "DMA to what is not mapped does not arrive");
  Check(device.DisableIrqs(VFIO_PCI_MSI_IRQ_INDEX), "MSI off");
  ::close(event);
}

// What mappings cost: one large run against single pages.
void Measure(DmaEngine& dma, uint8_t* memory, uint64_t pages) {
  using Clock = std::chrono::steady_clock;
  const auto since = [](Clock::time_point start) {
    return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
  };
  DmaCounters before = dma.counters();
  auto start = Clock::now();
  Check(dma.Map({Run(kIova, pages, memory)}), "a large run");
  double map_ms = since(start);
  start = Clock::now();
  Check(dma.Unmap(kIova, pages * kPage), "unmapped");
  std::printf("measure: %llu MiB as one run: %llu map call(s), map %.1f ms, unmap %.1f ms\n",
              static_cast<unsigned long long>(pages * kPage >> 20),
              static_cast<unsigned long long>(dma.counters().maps - before.maps), map_ms, since(start));
  const uint64_t singles = 1024;
  before = dma.counters();
  start = Clock::now();
  for (uint64_t i = 0; i < singles; ++i) {
    if (!dma.Map({Run(kIova + i * kPage, 1, memory + i * kPage)}).ok()) ++failures;
  }
  map_ms = since(start);
  start = Clock::now();
  Check(dma.Unmap(kIova, singles * kPage), "single pages unmapped by one call of ours");
  std::printf("measure: %llu pages one by one: map %.1f ms, unmap %.1f ms\n",
              static_cast<unsigned long long>(singles), map_ms, since(start));
}

int Main(const std::string& mode, const std::string& address) {
  const VfioInterface interface = mode == "group" ? VfioInterface::kGroup : VfioInterface::kDeviceFile;
  const bool cut = mode.starts_with("cut");
  Status ready = CheckVfioHost({{address}, {{kIova, kIova + (64 << 20) - 1}}, 8}, interface, VfioSysfs(),
                               ReadLockLimits());
  Check(ready, "the host is ready");
  if (!ready.ok()) return 1;
  auto host = OpenLinuxVfio(interface, cut);
  if (!host.has_value()) {
    std::printf("FAILED: open VFIO: %s\n", host.error().ToString().c_str());
    return 1;
  }
  auto device = (*host)->Open(address);
  if (!device.has_value()) {
    std::printf("FAILED: open: %s\n", device.error().ToString().c_str());
    return 1;
  }
  DmaEngine& dma = *(*host)->dma();
  auto limits = dma.Limits();
  Check(limits.status(), "the kernel's limits");
  if (limits.has_value()) {
    for (const IovaRange& range : limits->ranges) {
      std::printf("range %#llx-%#llx\n", static_cast<unsigned long long>(range.first),
                  static_cast<unsigned long long>(range.last));
    }
    Check(limits->can_cut == cut, "can cut where it should");
  }
  const uint16_t command = 6;  // memory decoding, bus mastering
  Check((*device)->WriteRegion(VFIO_PCI_CONFIG_REGION_INDEX, 4,
                               {reinterpret_cast<const uint8_t*>(&command), 2}),
        "decoding and bus mastering on");
  Edu edu(**device);
  Check((edu.Read32(0) & 0xff) == 0xed, "identification");
  edu.Write<uint32_t>(4, 0x12345678);
  Check(edu.Read32(4) == ~0x12345678u, "the liveness register inverts");
  constexpr uint64_t kSize = uint64_t{64} << 20;
  void* memory =
      ::mmap(nullptr, kSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
  if (memory == MAP_FAILED) return 1;
  if (mode.ends_with("-copies")) {
    const DmaRun all = Run(kIova, kSize / kPage, static_cast<uint8_t*>(memory));
    const DmaRun less = Run(kIova, 1, static_cast<uint8_t*>(memory));
    dma.Expect({&less, 1});
    dma.Expect({&all, 1});  // instead
  }
  ProveDma(edu, dma, **device, static_cast<uint8_t*>(memory), cut);
  Measure(dma, static_cast<uint8_t*>(memory), kSize / kPage);
  Status reset = (*host)->ResetDevices();
  std::printf("note: reset: %s\n", reset.ToString().c_str());
  Check(dma.Mapped().empty(), "nothing stays mapped");
  std::printf("%s: %d failed\n", mode.c_str(), failures);
  return failures == 0 ? 0 : 1;
}

}  // namespace
}  // namespace berth::vmm

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr,
                 "usage: vfio_probe group|device-file|cut|device-file-copies|cut-copies PCI-ADDRESS\n");
    return 2;
  }
  return berth::vmm::Main(argv[1], argv[2]);
}
