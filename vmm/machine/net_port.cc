#include "vmm/machine/net_port.h"

#include <fcntl.h>

#include <cerrno>
#include <utility>

namespace berth::vmm {

Result<Tap> NetPort::ShareTap() const {
  Tap shared;
  shared.fd.reset(::fcntl(tap.fd.get(), F_DUPFD_CLOEXEC, 0));
  if (!shared.fd.valid()) return ErrnoStatus("duplicate the descriptor of " + tap.name, errno);
  shared.name = tap.name;
  shared.created = tap.created;
  shared.offloads = tap.offloads;
  return shared;
}

Result<NetPort> OpenNetPort(const NetConfig& net) {
  NetPort port;
  port.id = net.id;
  port.pci_segment = net.pci_segment;
  port.mtu = net.mtu;
  port.queue_size = net.queue_size;
  port.limits = net.limits;
  Result<Tap> tap = OpenTap(net.tap);
  if (!tap.has_value()) return std::move(tap).error().WithField("net " + net.id + ".tap");
  port.tap = *std::move(tap);
  port.mac = RandomMacAddress();
  if (net.mac.has_value()) {
    TRY_ASSIGN(port.mac, ParseMacAddress(*net.mac));
  }
  return port;
}

Result<std::vector<NetPort>> OpenNetPorts(const std::vector<NetConfig>& nets) {
  std::vector<NetPort> ports;
  for (const NetConfig& net : nets) {
    TRY_ASSIGN(NetPort port, OpenNetPort(net));
    ports.push_back(std::move(port));
  }
  return ports;
}

}  // namespace berth::vmm
