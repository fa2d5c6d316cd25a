// Every virtio device that is served here, from its PCI functions on: arbitrary rings (descriptors, available
// and used ring, indirect tables), requests and register accesses. They must neither crash nor hang, nor
// touch memory outside of guest RAM.
#include <poll.h>
#include <sched.h>
#include <sys/mman.h>
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
#include "vmm/dma/fake_iommu.h"
#include "vmm/viommu/vfio_endpoint.h"
#include "vmm/viommu/virtio_endpoint.h"
#include "vmm/viommu/virtio_iommu.h"
#include "vmm/virtio/balloon.h"
#include "vmm/virtio/block.h"
#include "vmm/virtio/console.h"
#include "vmm/virtio/mem.h"
#include "vmm/virtio/net.h"
#include "vmm/virtio/rng.h"
#include "vmm/virtio/vsock.h"

namespace {

using namespace berth::vmm;

constexpr uint64_t kRam = 0x10000;
// Of at most eight queues; behind them the buffers.
constexpr uint64_t kRings = 0x1000, kRingBytes = 0x800;
constexpr uint64_t kData = 0x5000, kDataBytes = 0x4000;
constexpr uint16_t kQueueSize = 8;
constexpr uint64_t kDiskBytes = 64 << 10;
constexpr berth::MacAddress kMac = {0x52, 0x54, 0, 0, 0, 1};
constexpr uint32_t kAssigned = 8, kBehindIommu = 16;  // endpoints of the IOMMU

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

// One PCI function and its driver's rings.
struct Function {
  explicit Function(std::shared_ptr<VirtioPciTransport> function, size_t count)
      : transport(std::move(function)), driver(*transport), queues(count) {}

  std::shared_ptr<VirtioPciTransport> transport;
  VirtioDriver driver;
  size_t queues;
};

// A queue of one of them.
struct Queue {
  Function* function;
  uint16_t index;
  DriverQueue ring;
};

class Machine {
 public:
  explicit Machine(uint8_t kind) { AddDevices(kind); }

  GuestRam& ram() { return ram_; }
  bool has_threads() const { return threads_; }
  size_t queues() const { return queues_.size(); }
  Queue& queue(size_t index) { return queues_[index]; }

  // False when its features are refused. Which of the two that matter for the rings it does without.
  bool Start(Function& function, bool event_idx, bool indirect) {
    uint64_t features = function.driver.DeviceFeatures();
    if (!event_idx) features &= ~kVirtioEventIdx;
    if (!indirect) features &= ~kVirtioIndirect;
    if (!function.driver.Negotiate(features)) return false;
    function.driver.EnableMsix(static_cast<uint16_t>(function.queues + 1));
    for (const Queue& queue : queues_) {
      if (queue.function == &function) function.driver.SetUpQueue(queue.index, queue.ring);
    }
    function.driver.Start();
    return true;
  }
  bool Start() {
    return std::all_of(functions_.begin(), functions_.end(),
                       [this](const auto& function) { return Start(*function, true, true); });
  }
  void Stop() {
    for (const auto& function : functions_) function->driver.SetStatus(0);
  }
  // What is behind the device says something.
  void Outside(berth::FuzzInput& input) {
    if (console_) console_->Receive(input.TakeBytes(16));
    for (const berth::UniqueFd& wire : wires_) {
      std::vector<uint8_t> packet = Packet(input);
      static_cast<void>(!send(wire.get(), packet.data(), packet.size(), MSG_DONTWAIT));
      while (recv(wire.get(), packet.data(), packet.size(), MSG_DONTWAIT) > 0) {
      }
    }
    if (iommu_)
      iommu_->Report(
          {kAssigned, input.Take<uint64_t>(), input.Take<uint8_t>() % 2 == 0, IommuFault::Reason::kMapping});
    if (input.Take<uint8_t>() % 4 == 0) host_.FailCall(input.Take<uint8_t>() % 4, 12);
  }
  // Lets the devices work, those with threads of their own for as long as they have not looked at their
  // queues.
  void Run() {
    loop_->Stop();
    CHECK(loop_->Run().ok());
    for (int turns = 0; threads_ && turns < 50 && Waiting(); ++turns) sched_yield();
  }

 private:
  // Of up to 3000 bytes, as its first ones say.
  static std::vector<uint8_t> Packet(berth::FuzzInput& input) {
    std::vector<uint8_t> packet(1 + input.Take<uint16_t>() % 3000);
    const auto start = input.TakeBytes(32);
    std::copy_n(start.begin(), std::min(start.size(), packet.size()), packet.begin());
    return packet;
  }
  // A queue of a device that has failed waits for ever.
  bool Waiting() const {
    return std::any_of(io_events_.events.begin(), io_events_.events.end(), [](const auto& event) {
      pollfd kick{event.second, POLLIN, 0};
      return poll(&kick, 1, 0) == 1;
    });
  }
  void Add(std::shared_ptr<VirtioDevice> device, std::shared_ptr<AddressTranslator> translator = nullptr) {
    const size_t count = device->queue_sizes().size();
    auto transport = *VirtioPciTransport::Create(std::move(device), ram_.memory(), interrupts_, io_events_,
                                                 std::move(translator));
    transport->BarMoved(0, 0x1000000000 + functions_.size() * VirtioPciTransport::kBarSize);
    functions_.push_back(std::make_unique<Function>(std::move(transport), count));
    for (uint16_t i = 0; i < count; ++i) {
      queues_.push_back(
          {functions_.back().get(), i, DriverQueue(ram_, kRings + kRingBytes * queues_.size(), kQueueSize)});
    }
    CHECK(kRings + kRingBytes * queues_.size() <= kData);
  }
  void AddDevices(uint8_t kind) {
    switch (kind % 10) {
      case 0:
        return AddMemory();
      case 1:
        return Add(VirtioBalloon::Create({1 << 20, true, true}, *loop_));
      case 2:
        console_ = VirtioConsole::Create(std::make_shared<Sink>(), *loop_);
        return Add(console_);
      case 4:
        return Add(*VirtioRng::Open("/dev/zero", *loop_));
      case 5:
        return Add(VirtioNet::Create(NewTap(), kMac, *loop_));
      case 6: {
        std::vector<Tap> taps;
        for (int i = 0; i < 2; ++i) taps.push_back(NewTap());
        return Add(*VirtioNet::Create(std::move(taps), kMac, *loop_, {.id = "fuzz", .mtu = 1500}));
      }
      case 7:
      case 8:
        return AddDisk(kind % 10 == 8);
      case 9:
        return AddIommu();
      default:
        return Add(*VirtioVsock::Create(7, "/tmp/berth-fuzz-vsock-" + std::to_string(getpid()), *loop_));
    }
  }
  void AddMemory() {
    MemoryRegion area;
    area.base = Gpa{uint64_t{4} << 30};
    area.size = 64 << 20;
    area.plug = std::make_shared<PlugMap>(area.size, 2 << 20);
    auto memory = VirtioMem::Create(area, 1, plugger_, *loop_);
    CHECK(memory->Request(32 << 20).ok());
    Add(std::move(memory));
  }
  Tap NewTap() {
    int ends[2];
    CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) == 0);
    wires_.emplace_back(ends[0]);
    threads_ = wires_.size() > 1;
    Tap tap;
    tap.fd.reset(ends[1]);
    return tap;
  }
  void AddDisk(bool io_uring) {
    disk_.reset(memfd_create("disk", MFD_CLOEXEC));
    CHECK(ftruncate(disk_.get(), kDiskBytes) == 0);
    auto disk = DiskFile::Open("/proc/self/fd/" + std::to_string(disk_.get()), false, false);
    threads_ = true;
    Add(*VirtioBlock::Create(*std::move(disk),
                             {.id = "fuzz", .queues = 3, .queue_size = 16, .io_uring = io_uring}));
  }
  // Before it a device of the host and an emulated one, which has a driver of its own.
  void AddIommu() {
    auto behind = std::make_shared<VirtioEndpoint>(
        domains_, ram_.memory(), [this](const IommuFault& fault) { iommu_->Report(fault); });
    behind->SetId(kBehindIommu);
    CHECK(domains_.AddEndpoint(kBehindIommu, behind).ok());
    CHECK(domains_.AddEndpoint(kAssigned, std::make_shared<VfioEndpoint>(dma_, ram_.memory())).ok());
    iommu_ = std::make_shared<VirtioIommu>(domains_, (uint64_t{1} << 39) - 1, *loop_);
    Add(iommu_);
    Add(*VirtioRng::Open("/dev/zero", *loop_), behind);
  }

  GuestRam ram_{{{0, kRam / 2}, {kRam / 2, kRam / 2}}};
  FakeMsiController interrupts_;
  FakeIoEvents io_events_;
  Plugger plugger_;
  std::unique_ptr<EventLoop> loop_ = *EventLoop::Create();
  FakeIommu host_;
  DmaEngine dma_{host_.MakeBackend()};
  IommuDomains domains_;
  std::shared_ptr<VirtioIommu> iommu_;
  std::shared_ptr<VirtioConsole> console_;
  std::vector<berth::UniqueFd> wires_;  // of a network device
  berth::UniqueFd disk_;
  bool threads_ = false;
  std::vector<std::unique_ptr<Function>> functions_;
  std::vector<Queue> queues_;
};

std::vector<DriverQueue::Buffer> TakeBuffers(berth::FuzzInput& input, uint32_t count) {
  std::vector<DriverQueue::Buffer> buffers;
  for (; count > 0; --count) {
    const uint8_t kind = input.Take<uint8_t>();
    buffers.push_back({kData + input.Take<uint16_t>() % kDataBytes,
                       kind & 2 ? input.Take<uint16_t>() : uint32_t{kind} + 1, (kind & 1) != 0});
  }
  return buffers;
}

void Poke(GuestRam& ram, uint64_t address, std::span<const uint8_t> bytes) {
  static_cast<void>(!ram.memory().Write(Gpa{address}, bytes).ok());
}

// A header that comes from the input, buffers, and room for what a device answers.
void PostRequest(GuestRam& ram, DriverQueue& ring, berth::FuzzInput& input) {
  static constexpr uint32_t kAnswers[] = {1, 4, 516, 16};
  const uint64_t at = kData + input.Take<uint8_t>() % 32 * 64;
  const auto header = input.TakeBytes(1 + input.Take<uint8_t>() % 48);
  Poke(ram, at, header);
  std::vector<DriverQueue::Buffer> buffers = {{at, static_cast<uint32_t>(header.size())}};
  const uint8_t shape = input.Take<uint8_t>();
  const auto more = TakeBuffers(input, shape >> 2 & 3);
  buffers.insert(buffers.end(), more.begin(), more.end());
  buffers.push_back({kData + 0x3000, kAnswers[shape & 3], true});
  if (shape & 0x80) {
    ring.PostIndirect(buffers);
  } else {
    ring.Post(buffers);
  }
}

// Loops, successors and heads that do not exist, tables in tables, indexes that run ahead.
void DamageRing(DriverQueue& ring, berth::FuzzInput& input) {
  const auto number = [&input](uint16_t end) { return static_cast<uint16_t>(input.Take<uint8_t>() % end); };
  const uint16_t kind = number(6);
  switch (kind) {
    case 0:
    case 1: {
      const uint64_t table = kind == 0 ? ring.descriptors() : ring.indirect();
      const uint16_t index = number(kQueueSize);
      const uint8_t odd = input.Take<uint8_t>();
      const uint64_t address =
          odd < 0x20 ? input.Take<uint64_t>() : kData + input.Take<uint16_t>() % kDataBytes;
      const uint32_t length = odd % 8 == 7 ? input.Take<uint32_t>() : input.Take<uint8_t>();
      const uint16_t flags = number(8);
      return ring.SetDescriptorAt(table, index, address, length, flags, number(kQueueSize + 2));
    }
    case 2:
      ring.Offer(number(kQueueSize + 2));
      break;
    case 3:
      return ring.SetAvailableIndex(input.Take<uint16_t>());
    case 4:
      ring.SetAvailableFlags(number(2));
      return ring.SetUsedEvent(input.Take<uint16_t>());
    default: {
      const uint16_t index = number(kQueueSize);
      const uint16_t flags = DriverQueue::kIndirect | number(4);
      const uint32_t length = 16u * number(kQueueSize + 2) + (flags == 7 ? 1 : 0);
      return ring.SetDescriptor(index, ring.indirect(), length, flags, number(kQueueSize + 2));
    }
  }
}

void AccessRegister(VirtioPciTransport& transport, berth::FuzzInput& input) {
  uint64_t value = input.Take<uint64_t>();
  const size_t width = size_t{1} << input.Take<uint8_t>() % 4;
  const uint64_t offset = input.Take<uint16_t>() / width * width;
  transport.Write(offset, {reinterpret_cast<const uint8_t*>(&value), width});
  transport.Read(offset, {reinterpret_cast<uint8_t*>(&value), width});
}

// Seeds: the numbers of what was here first stay as they are.
void Step(Machine& machine, berth::FuzzInput& input) {
  Queue& queue = machine.queue(input.Take<uint8_t>() % machine.queues());
  switch (input.Take<uint8_t>() % 10) {
    case 0:
      queue.ring.Post(TakeBuffers(input, 1 + input.Take<uint8_t>() % 3));
      break;
    case 1: {
      const uint64_t address = kData + input.Take<uint16_t>() % kDataBytes;
      Poke(machine.ram(), address, input.TakeBytes(input.Take<uint8_t>() % 64));
      break;
    }
    case 2:
      AccessRegister(*queue.function->transport, input);
      break;
    case 3:
      machine.Outside(input);
      break;
    case 5:
      PostRequest(machine.ram(), queue.ring, input);
      break;
    case 6: {
      const uint64_t address = input.Take<uint16_t>();
      Poke(machine.ram(), address, input.TakeBytes(input.Take<uint8_t>() % 64));
      break;
    }
    case 7:
      DamageRing(queue.ring, input);
      break;
    case 8: {
      const uint8_t without = input.Take<uint8_t>();
      const uint64_t base = kRings + (without & 4 ? input.Take<uint8_t>() * 16u : kRingBytes * queue.index);
      queue.ring = DriverQueue(machine.ram(), base, without & 8 ? 2 : kQueueSize);
      static_cast<void>(machine.Start(*queue.function, (without & 1) == 0, (without & 2) == 0));
      break;
    }
    case 9:
      queue.ring.PostIndirect(TakeBuffers(input, 1 + input.Take<uint8_t>() % 3));
      break;
    default:
      queue.function->driver.Notify(queue.index);
      machine.Run();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const bool quiet = berth::InitFileLogging("fuzz", berth::LogLevel::kError, "/dev/null").ok();
  static_cast<void>(quiet);
  berth::FuzzInput input(data, size);
  Machine machine(input.Take<uint8_t>());
  if (berth::kThreadSanitizer && machine.has_threads()) return 0;
  if (!machine.Start()) return 0;
  for (int steps = 0; !input.empty() && steps < 100; ++steps) Step(machine, input);
  machine.Stop();
  return 0;
}
