// Memory device, balloon, console, sockets, entropy and network from their PCI functions on: arbitrary rings,
// requests and register accesses. They must neither crash nor hang, nor touch memory outside of guest RAM.
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <string>

#include "common/log.h"
#include "tests/fakes/fake_interrupts.h"
#include "tests/fakes/virtio_driver.h"
#include "tests/fuzz/fuzz_input.h"
#include "vmm/bus/event_loop.h"
#include "vmm/virtio/balloon.h"
#include "vmm/virtio/console.h"
#include "vmm/virtio/mem.h"
#include "vmm/virtio/net.h"
#include "vmm/virtio/rng.h"
#include "vmm/virtio/vsock.h"

namespace {

using namespace berth::vmm;

constexpr uint64_t kRam = 0x10000;

class Plugger : public MemoryPlugger {
 public:
  berth::Status Plug(const MemoryRegion& area, uint64_t offset, uint64_t length) override {
    CHECK(!area.plug->Any(offset, length));
    area.plug->Set(offset, length, true);
    return berth::OkStatus();
  }
  berth::Status Unplug(const MemoryRegion& area, uint64_t offset, uint64_t length) override {
    CHECK(area.plug->All(offset, length));
    area.plug->Set(offset, length, false);
    return berth::OkStatus();
  }
};

class Sink : public ConsoleSink {
 public:
  void Write(std::span<const uint8_t>) override {}
  void InputRoom() override {}
};

struct Machine {
  explicit Machine(uint8_t kind) {
    std::shared_ptr<VirtioDevice> device;
    switch (kind % 6) {
      case 0: {
        MemoryRegion area;
        area.base = Gpa{uint64_t{4} << 30};
        area.size = 64 << 20;
        area.plug = std::make_shared<PlugMap>(area.size, 2 << 20);
        auto memory = VirtioMem::Create(area, 1, plugger, *loop);
        CHECK(memory->Request(32 << 20).ok());
        device = memory;
        break;
      }
      case 1:
        device = VirtioBalloon::Create({1 << 20, true, true}, *loop);
        break;
      case 2:
        console = VirtioConsole::Create(std::make_shared<Sink>(), *loop);
        device = console;
        break;
      case 4:
        device = *VirtioRng::Open("/dev/zero", *loop);
        break;
      case 5: {
        int ends[2];
        CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) == 0);
        wire.reset(ends[0]);
        Tap tap;
        tap.fd.reset(ends[1]);
        device = VirtioNet::Create(std::move(tap), {0x52, 0x54, 0, 0, 0, 1}, *loop);
        break;
      }
      default:
        device = *VirtioVsock::Create(7, "/tmp/berth-fuzz-vsock-" + std::to_string(getpid()), *loop);
    }
    queues = device->queue_sizes().size();
    transport = *VirtioPciTransport::Create(device, ram.memory(), interrupts, io_events);
  }

  GuestRam ram{{{0, kRam / 2}, {kRam / 2, kRam / 2}}};
  FakeMsiController interrupts;
  FakeIoEvents io_events;
  Plugger plugger;
  std::unique_ptr<EventLoop> loop = *EventLoop::Create();
  std::shared_ptr<VirtioConsole> console;
  berth::UniqueFd wire;  // of the network device
  std::shared_ptr<VirtioPciTransport> transport;
  size_t queues = 0;
};

// Of up to 3000 bytes, as its first ones say.
std::vector<uint8_t> Packet(berth::FuzzInput& input) {
  std::vector<uint8_t> packet(1 + input.Take<uint16_t>() % 3000);
  const auto start = input.TakeBytes(32);
  std::copy_n(start.begin(), std::min(start.size(), packet.size()), packet.begin());
  return packet;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const bool quiet = [] {
    berth::InitLogging("fuzz", berth::LogLevel::kError);
    return true;
  }();
  static_cast<void>(quiet);
  berth::FuzzInput input(data, size);
  Machine machine(input.Take<uint8_t>());
  VirtioDriver driver(*machine.transport);
  machine.transport->BarMoved(0, 0x1000000000);
  if (!driver.Negotiate(driver.DeviceFeatures())) return 0;
  driver.EnableMsix(static_cast<uint16_t>(machine.queues + 1));
  std::vector<DriverQueue> queues;
  for (size_t i = 0; i < machine.queues; ++i) queues.emplace_back(machine.ram, 0x1000 + 0x1000 * i, 8);
  for (size_t i = 0; i < machine.queues; ++i) driver.SetUpQueue(static_cast<uint16_t>(i), queues[i]);
  driver.Start();
  for (int steps = 0; !input.empty() && steps < 100; ++steps) {
    const size_t queue = input.Take<uint8_t>() % machine.queues;
    switch (input.Take<uint8_t>() % 5) {
      case 0: {
        std::vector<DriverQueue::Buffer> buffers;
        for (uint32_t count = 1 + input.Take<uint8_t>() % 3; count > 0; --count) {
          const uint8_t kind = input.Take<uint8_t>();
          buffers.push_back({0x5000 + input.Take<uint16_t>() % 0x4000u,
                             kind & 2 ? input.Take<uint16_t>() : uint32_t{kind} + 1, (kind & 1) != 0});
        }
        queues[queue].Post(buffers);
        break;
      }
      case 1: {
        const uint64_t address = 0x5000 + input.Take<uint16_t>() % 0x4000;
        static_cast<void>(
            !machine.ram.memory().Write(Gpa{address}, input.TakeBytes(input.Take<uint8_t>() % 64)).ok());
        break;
      }
      case 2: {
        const uint64_t value = input.Take<uint64_t>();
        const size_t width = size_t{1} << input.Take<uint8_t>() % 4;
        const uint64_t offset = input.Take<uint16_t>() / width * width;
        machine.transport->Write(offset, {reinterpret_cast<const uint8_t*>(&value), width});
        break;
      }
      case 3:
        if (machine.console) machine.console->Receive(input.TakeBytes(16));
        if (machine.wire.valid()) {
          std::vector<uint8_t> packet = Packet(input);
          static_cast<void>(!send(machine.wire.get(), packet.data(), packet.size(), MSG_DONTWAIT));
          while (recv(machine.wire.get(), packet.data(), packet.size(), MSG_DONTWAIT) > 0) {
          }
        }
        break;
      default:
        driver.Notify(static_cast<uint16_t>(queue));
        machine.loop->Stop();
        CHECK(machine.loop->Run().ok());
    }
  }
  driver.SetStatus(0);
  return 0;
}
