#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "common/status.h"
#include "common/unique_fd.h"
#include "vmm/bus/event_loop.h"
#include "vmm/virtio/device.h"

namespace berth::vmm {

// Entropy device (virtio 1.2, 5.4), served on the event loop from a file such as /dev/urandom.
class VirtioRng : public VirtioDevice {
 public:
  // Bytes that one request gets at most; the driver asks again for more.
  static constexpr uint32_t kBytesPerRequest = 4096;

  // The error names `path`. `loop` must outlive the device.
  static Result<std::shared_ptr<VirtioRng>> Open(const std::string& path, EventLoop& loop);
  ~VirtioRng() override { Reset(); }

  uint16_t type() const override { return kVirtioRng; }
  uint64_t features() const override { return 0; }
  std::span<const uint16_t> queue_sizes() const override;
  void ReadConfig(uint64_t offset, std::span<uint8_t> data) override;
  void WriteConfig(uint64_t, std::span<const uint8_t>) override {}
  Status Activate(VirtioActivation activation) override;
  void Reset() override;
  Result<VirtioActivation> Suspend() override;

 private:
  VirtioRng(UniqueFd source, EventLoop& loop) : source_(std::move(source)), loop_(loop) {}
  void Serve();
  Result<uint32_t> Fill(const DescriptorChain& chain) const;

  UniqueFd source_;
  EventLoop& loop_;
  std::optional<VirtioActivation> active_;
  DescriptorChain chain_;
};

}  // namespace berth::vmm
