#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

#include "common/status.h"
#include "vmm/bus/event_loop.h"
#include "vmm/virtio/device.h"

namespace berth::vmm {

// Balloon (virtio 1.2, 5.5): the guest hands out pages that the host then need not keep, as many as it is
// asked for, and, with free page reporting, those that it does not use at the moment. What is handed out
// reads as zeros when the guest takes it back. Served on the event loop.
class VirtioBalloon : public VirtioDevice {
 public:
  struct Options {
    uint64_t bytes = 0;  // asked for at the start
    bool deflate_on_oom = false;
    bool free_page_reporting = false;
  };
  // `loop` outlives the device.
  static std::shared_ptr<VirtioBalloon> Create(const Options& options, EventLoop& loop);
  ~VirtioBalloon() override { Reset(); }

  // Asks for another size, in whole pages of 4 KiB. Thread-safe, as what follows.
  void Request(uint64_t bytes);
  uint64_t requested() const;
  uint64_t actual() const { return uint64_t{actual_pages_.load()} << 12; }  // as the driver says
  uint64_t reported() const { return reported_.load(); }                    // bytes, over all time

  uint16_t type() const override { return kVirtioBalloon; }
  uint64_t features() const override;
  std::span<const uint16_t> queue_sizes() const override;
  void ReadConfig(uint64_t offset, std::span<uint8_t> data) override;
  void WriteConfig(uint64_t offset, std::span<const uint8_t> data) override;
  Status Activate(VirtioActivation activation) override;
  void Reset() override;
  Result<VirtioActivation> Suspend() override;
  void Save(StateWriter& out) override;
  void Load(StateReader& in) override;

 private:
  VirtioBalloon(const Options& options, EventLoop& loop);
  void Serve(uint16_t queue);
  Result<uint32_t> Inflate(const DescriptorChain& chain);
  Result<uint32_t> Report(const DescriptorChain& chain);
  void Discard(Gpa gpa, uint64_t bytes);

  const Options options_;
  EventLoop& loop_;
  mutable std::mutex mutex_;  // guards what follows
  uint32_t requested_pages_ = 0;
  VirtioInterrupt* interrupt_ = nullptr;  // while active
  std::atomic<uint32_t> actual_pages_{0};
  std::atomic<uint64_t> reported_{0};
  // Of the transport's lock and the loop's thread.
  std::optional<VirtioActivation> active_;
  bool failed_ = false;
  DescriptorChain chain_;
  std::vector<iovec> buffers_;
};

}  // namespace berth::vmm
