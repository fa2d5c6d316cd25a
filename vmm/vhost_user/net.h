#pragma once

#include <array>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "common/mac_address.h"
#include "vmm/vhost_user/session.h"
#include "vmm/virtio/device.h"
#include "vmm/virtio/net_control.h"

namespace berth::vmm {

// Network device (virtio 1.2, 5.1) whose packets another process carries. Address, MTU and the control queue
// are ours; the packets' offloads are the back end's.
class VhostUserNet : public VirtioDevice {
 public:
  struct Options {
    std::string id;
    std::string socket;
    uint16_t pairs = 1;
    uint16_t queue_size = 256;
    std::optional<uint16_t> mtu = std::nullopt;
    CpuSet cpus = {};
    std::optional<vhost_user::SharingGuest> guest = std::nullopt;  // a confidential one
    std::chrono::milliseconds patience{5000};
    std::chrono::milliseconds retry{500};
  };
  // As Session::Open.
  static Result<std::shared_ptr<VhostUserNet>> Create(const Options& options, const MacAddress& mac);
  ~VhostUserNet() override { Reset(); }

  uint16_t type() const override { return kVirtioNet; }
  uint64_t features() const override { return features_; }
  uint64_t ring_features() const override;
  std::span<const uint16_t> queue_sizes() const override { return queue_sizes_; }
  void ReadConfig(uint64_t offset, std::span<uint8_t> data) override;
  void WriteConfig(uint64_t, std::span<const uint8_t>) override {}
  Status Activate(VirtioActivation activation) override;
  void Reset() override;

 private:
  VhostUserNet(const Options& options, const MacAddress& mac);
  bool SetPairs(uint16_t pairs);

  const uint16_t pairs_;
  std::array<uint8_t, 12> config_{};
  std::vector<uint16_t> queue_sizes_;
  uint64_t features_ = 0;
  std::optional<VirtioActivation> active_;
  std::unique_ptr<vhost_user::Session> session_;
  std::unique_ptr<NetControl> control_;  // goes before the session, whose loop it is on
};

}  // namespace berth::vmm
