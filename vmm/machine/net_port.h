#pragma once

#include <optional>
#include <string>
#include <vector>

#include "common/mac_address.h"
#include "common/status.h"
#include "vmm/config/vm_config.h"
#include "vmm/virtio/tap.h"

namespace berth::vmm {

// The host's end of a network device. It outlives resets of the guest, so that the interface stays up, in its
// bridge, and the device keeps its address.
struct NetPort {
  std::string id;
  std::vector<Tap> taps;                    // one for each pair of queues
  std::optional<std::string> vhost_socket;  // instead of them: another process carries the packets
  uint32_t pairs = 1;
  MacAddress mac{};
  uint32_t pci_segment = 0;
  bool iommu = false;
  std::optional<uint32_t> mtu;
  uint32_t queue_size = 256;
  RateLimits limits;

  // Taps for one board: the same interface by descriptors of its own.
  Result<std::vector<Tap>> ShareTaps() const;
};

// Take over the descriptors that the devices name: all, and close them, even if one device cannot be opened.
Result<NetPort> OpenNetPort(const NetConfig& net);
Result<std::vector<NetPort>> OpenNetPorts(const std::vector<NetConfig>& nets);

}  // namespace berth::vmm
