#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

#include "vmm/vhost_user/session.h"
#include "vmm/virtio/device.h"

namespace berth::vmm {

// Block device (virtio 1.2, 5.2) whose requests another process carries out. Features and configuration are
// the back end's, less what its queues here cannot do.
class VhostUserBlock : public VirtioDevice {
 public:
  struct Options {
    std::string id;
    std::string socket;
    uint16_t queues = 1;
    uint16_t queue_size = 256;
    CpuSet cpus = {};
    std::optional<vhost_user::SharingGuest> guest = std::nullopt;  // a confidential one
    std::chrono::milliseconds patience{5000};
    std::chrono::milliseconds retry{500};
  };
  // As Session::Open.
  static Result<std::shared_ptr<VhostUserBlock>> Create(const Options& options);
  ~VhostUserBlock() override { Reset(); }

  uint16_t type() const override { return kVirtioBlock; }
  uint64_t features() const override { return features_; }
  uint64_t ring_features() const override;
  std::span<const uint16_t> queue_sizes() const override { return queue_sizes_; }
  void ReadConfig(uint64_t offset, std::span<uint8_t> data) override;
  void WriteConfig(uint64_t offset, std::span<const uint8_t> data) override;
  Status Activate(VirtioActivation activation) override;
  void Reset() override;

 private:
  VhostUserBlock() = default;
  // The back end's configuration as the guest is to see it.
  std::vector<uint8_t> Config();

  std::vector<uint16_t> queue_sizes_;
  uint64_t features_ = 0;
  std::mutex interrupt_mutex_;  // guards interrupt_
  VirtioInterrupt* interrupt_ = nullptr;
  std::optional<VirtioActivation> active_;
  std::unique_ptr<vhost_user::Session> session_;
};

}  // namespace berth::vmm
