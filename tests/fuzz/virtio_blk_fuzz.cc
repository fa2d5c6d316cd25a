// The block device from its PCI function to a file in memory: arbitrary register accesses, rings and
// requests. It must neither crash nor hang, and the file keeps its size.
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdint>
#include <string>

#include "common/log.h"
#include "tests/fakes/fake_interrupts.h"
#include "tests/fakes/virtio_driver.h"
#include "tests/fuzz/fuzz_input.h"
#include "vmm/bus/event_loop.h"
#include "vmm/virtio/block.h"

namespace {

using namespace berth::vmm;

constexpr uint64_t kRam = 0x8000;
constexpr uint64_t kRings = 0x1000;
constexpr uint64_t kDiskBytes = 64 << 10;

void Poke(GuestRam& ram, uint64_t address, std::span<const uint8_t> bytes) {
  static_cast<void>(!ram.memory().Write(Gpa{address % kRam}, bytes).ok());
}

// One request whose header, buffers and flags come from the input, well formed enough to get far.
void PostRequest(GuestRam& ram, DriverQueue& queue, berth::FuzzInput& input) {
  static constexpr uint32_t kTypes[] = {0, 1, 4, 8, 11, 13, 2};
  ram.PutObject<uint32_t>(0x4000, kTypes[input.Take<uint8_t>() % 7]);
  ram.PutObject<uint64_t>(0x4008,
                          input.Take<uint8_t>() == 0 ? input.Take<uint64_t>() : input.Take<uint8_t>());
  std::vector<DriverQueue::Buffer> buffers = {{0x4000, 16}};
  for (uint32_t count = input.Take<uint8_t>() % 4; count > 0; --count) {
    const uint8_t kind = input.Take<uint8_t>();
    const uint32_t length = kind & 2 ? input.Take<uint16_t>() : 512;
    buffers.push_back({input.Take<uint16_t>() % kRam, length, (kind & 1) != 0});
  }
  buffers.push_back({0x5000, 1, true});
  if (input.Take<uint8_t>() & 1) {
    queue.PostIndirect(buffers);
  } else {
    queue.Post(buffers);
  }
}

struct Machine {
  explicit Machine(bool io_uring) : disk_file(memfd_create("disk", MFD_CLOEXEC)) {
    CHECK(ftruncate(disk_file.get(), kDiskBytes) == 0);
    auto disk = DiskFile::Open("/proc/self/fd/" + std::to_string(disk_file.get()), false, false);
    CHECK(disk.has_value());
    device = *VirtioPciTransport::Create(VirtioBlock::CreateOn(*loop, std::move(*disk), "fuzz", io_uring),
                                         ram.memory(), interrupts, io_events);
  }

  GuestRam ram{{{0, kRam / 2}, {kRam / 2, kRam / 2}}};
  FakeMsiController interrupts;
  FakeIoEvents io_events;
  std::unique_ptr<EventLoop> loop = *EventLoop::Create();
  berth::UniqueFd disk_file;
  std::shared_ptr<VirtioPciTransport> device;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const bool quiet = [] {
    berth::InitLogging("fuzz", berth::LogLevel::kError);
    return true;
  }();
  static_cast<void>(quiet);
  berth::FuzzInput input(data, size);
  const uint8_t flags = input.Take<uint8_t>();
  Machine machine((flags & 2) != 0);
  VirtioDriver driver(*machine.device);
  DriverQueue queue(machine.ram, kRings, 8);
  machine.device->BarMoved(0, 0x1000000000);
  if (!driver.Negotiate(kVirtioVersion1 | kVirtioIndirect | (flags & 1 ? kVirtioEventIdx : 0))) {
    return 0;
  }
  driver.EnableMsix(2);
  driver.SetUpQueue(0, queue);
  driver.Start();
  for (int steps = 0; !input.empty() && steps < 100; ++steps) {
    switch (input.Take<uint8_t>() % 6) {
      case 0:
      case 1:
        PostRequest(machine.ram, queue, input);
        break;
      case 2: {
        const uint64_t address = input.Take<uint16_t>();
        Poke(machine.ram, address, input.TakeBytes(input.Take<uint8_t>() % 32));
        break;
      }
      case 3: {
        const uint64_t value = input.Take<uint64_t>();
        const size_t width = size_t{1} << input.Take<uint8_t>() % 4;
        const uint64_t offset = input.Take<uint16_t>() / width * width;
        machine.device->Write(offset, {reinterpret_cast<const uint8_t*>(&value), width});
        uint64_t read = 0;
        machine.device->Read(offset, {reinterpret_cast<uint8_t*>(&read), width});
        break;
      }
      default:
        driver.Notify(0);
        machine.loop->Stop();
        CHECK(machine.loop->Run().ok());
    }
  }
  driver.SetStatus(0);
  struct stat info{};
  CHECK(fstat(machine.disk_file.get(), &info) == 0 && info.st_size == kDiskBytes);
  return 0;
}
