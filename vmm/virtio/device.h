#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "common/status.h"
#include "vmm/memory/guest_memory.h"
#include "vmm/state/state_reader.h"
#include "vmm/state/state_writer.h"
#include "vmm/virtio/queue.h"

namespace berth::vmm {

// virtio 1.2, 5: device types.
inline constexpr uint16_t kVirtioNet = 1;
inline constexpr uint16_t kVirtioBlock = 2;
inline constexpr uint16_t kVirtioConsole = 3;
inline constexpr uint16_t kVirtioRng = 4;
inline constexpr uint16_t kVirtioBalloon = 5;
inline constexpr uint16_t kVirtioVsock = 19;
inline constexpr uint16_t kVirtioIommu = 23;
inline constexpr uint16_t kVirtioMemory = 24;

// virtio 1.2, 6: features that do not depend on the type.
inline constexpr uint64_t kVirtioIndirect = uint64_t{1} << 28;
inline constexpr uint64_t kVirtioEventIdx = uint64_t{1} << 29;
inline constexpr uint64_t kVirtioVersion1 = uint64_t{1} << 32;
inline constexpr uint64_t kVirtioAccessPlatform = uint64_t{1} << 33;
inline constexpr uint64_t kVirtioRingFeatures = kVirtioIndirect | kVirtioEventIdx | kVirtioVersion1;

// How a device reaches its driver. Thread-safe; never blocks on what a device does.
class VirtioInterrupt {
 public:
  virtual ~VirtioInterrupt() = default;
  // A queue has used buffers, and SplitQueue::NeedsInterrupt said yes.
  virtual void SignalQueue(uint16_t queue) = 0;
  // The device's configuration space has changed.
  virtual void SignalConfig() = 0;
  // The device cannot go on, because the driver broke the rules: sets NEEDS_RESET. The device must not touch
  // queues or guest memory until it is activated again.
  virtual void Fail(const Status& reason) = 0;
};

// What a driver has set up, handed over when it sets DRIVER_OK.
struct VirtioActivation {
  struct Queue {
    std::unique_ptr<SplitQueue> ring;  // null: the driver does not use this queue
    int kick_fd = -1;  // eventfd that the driver's notifications signal, non-blocking; the transport owns it
  };
  const GuestMemory* memory = nullptr;   // outlives the activation
  uint64_t features = 0;                 // negotiated
  std::vector<Queue> queues;             // one for each entry of queue_sizes()
  VirtioInterrupt* interrupt = nullptr;  // valid until Reset returns
};

// A virtio device without its transport. Activate and Reset alternate, under the transport's lock; the
// configuration functions are called at any time.
class VirtioDevice {
 public:
  virtual ~VirtioDevice() = default;

  virtual uint16_t type() const = 0;
  // Features of the type; the transport adds those of the rings.
  virtual uint64_t features() const = 0;
  // Fewer than all when somebody else serves the rings.
  virtual uint64_t ring_features() const { return kVirtioRingFeatures; }
  // The largest size of each queue.
  virtual std::span<const uint16_t> queue_sizes() const = 0;
  // The device's configuration space; what lies behind its end reads as zero.
  virtual void ReadConfig(uint64_t offset, std::span<uint8_t> data) = 0;
  virtual void WriteConfig(uint64_t offset, std::span<const uint8_t> data) = 0;
  // Starts work. On error the device stays as it was.
  virtual Status Activate(VirtioActivation activation) = 0;
  // What it has done since it was made: name -> value. Thread-safe.
  using CounterList = std::vector<std::pair<std::string_view, uint64_t>>;
  virtual CounterList Counters() const { return {}; }
  // Stops all work: when it returns, neither queues nor guest memory are touched and no interrupt is raised.
  virtual void Reset() = 0;

  // ---- Snapshots
  // As Reset, but nothing is lost: what was begun is finished, and the rings come back, with which Activate
  // goes on. Only while active. kFailedPrecondition, and the device goes on, when its state cannot be taken.
  virtual Result<VirtioActivation> Suspend() {
    return FailedPrecondition("a device of this kind cannot be put into a snapshot");
  }
  // What it knows beside registers and rings. Load comes before Activate, into a device that was made by the
  // same options; what does not fit fails the reader.
  virtual void Save(StateWriter&) {}
  virtual void Load(StateReader&) {}
};

}  // namespace berth::vmm
