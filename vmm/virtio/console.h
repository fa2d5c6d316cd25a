#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>

#include "common/status.h"
#include "vmm/bus/event_loop.h"
#include "vmm/virtio/device.h"

namespace berth::vmm {

// The far end of a console. Called on the event loop's thread.
class ConsoleSink {
 public:
  virtual ~ConsoleSink() = default;
  // What the guest wrote. Must not block.
  virtual void Write(std::span<const uint8_t> data) = 0;
  // The guest can take input again, after Receive took less than it was given.
  virtual void InputRoom() = 0;
};

// Console device with one port (virtio 1.2, 5.3), served on the event loop.
class VirtioConsole : public VirtioDevice {
 public:
  static constexpr uint16_t kReceiveQueue = 0;
  static constexpr uint16_t kTransmitQueue = 1;

  // `loop` outlives the device.
  static std::shared_ptr<VirtioConsole> Create(std::shared_ptr<ConsoleSink> sink, EventLoop& loop);
  ~VirtioConsole() override { Reset(); }

  // Input for the guest; returns how much it took. On the loop's thread.
  size_t Receive(std::span<const uint8_t> data);

  uint16_t type() const override { return kVirtioConsole; }
  uint64_t features() const override { return 0; }
  std::span<const uint16_t> queue_sizes() const override;
  void ReadConfig(uint64_t offset, std::span<uint8_t> data) override;
  void WriteConfig(uint64_t, std::span<const uint8_t>) override {}
  Status Activate(VirtioActivation activation) override;
  void Reset() override;
  Result<VirtioActivation> Suspend() override;

 private:
  VirtioConsole(std::shared_ptr<ConsoleSink> sink, EventLoop& loop) : sink_(std::move(sink)), loop_(loop) {}
  void Transmit();
  void BuffersCame();
  void Fail(const Status& reason);
  void Unwatch();

  std::shared_ptr<ConsoleSink> sink_;
  EventLoop& loop_;
  // While active, the loop's thread only; Receive may come between activations.
  std::mutex mutex_;  // guards failed_ and active_ against Receive during a reset
  std::optional<VirtioActivation> active_;
  bool failed_ = false;
  DescriptorChain chain_;
};

}  // namespace berth::vmm
