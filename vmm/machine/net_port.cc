#include "vmm/machine/net_port.h"

#include <fcntl.h>

#include <cerrno>
#include <utility>

#include "vmm/config/validate.h"

namespace berth::vmm {

Result<std::vector<Tap>> NetPort::ShareTaps() const {
  std::vector<Tap> shared;
  for (const Tap& tap : taps) {
    Tap& copy = shared.emplace_back();
    copy.fd.reset(::fcntl(tap.fd.get(), F_DUPFD_CLOEXEC, 0));
    if (!copy.fd.valid()) return ErrnoStatus("duplicate the descriptor of " + tap.name, errno);
    copy.name = tap.name;
    copy.created = tap.created;
    copy.multi_queue = tap.multi_queue;
    copy.offloads = tap.offloads;
    copy.udp_offloads = tap.udp_offloads;
  }
  return shared;
}

namespace {

std::vector<UniqueFd> TakeOver(const std::vector<int>& numbers) {
  std::vector<UniqueFd> fds;
  fds.reserve(numbers.size());
  for (const int fd : numbers) fds.emplace_back(fd);
  return fds;
}

Result<std::vector<Tap>> OpenTaps(const NetConfig& net, std::vector<UniqueFd> fds, uint32_t pairs) {
  if (net.fds.empty()) return OpenTapQueues(net.tap, pairs, net.mtu);
  std::vector<Tap> taps;
  for (UniqueFd& fd : fds) {
    TRY_ASSIGN(Tap tap, AdoptTap(std::move(fd)));
    taps.push_back(std::move(tap));
  }
  return taps;
}

Result<NetPort> Open(const NetConfig& net, std::vector<UniqueFd> fds) {
  NetPort port;
  port.id = net.id;
  port.pci_segment = net.pci_segment;
  port.iommu = net.iommu;
  port.mtu = net.mtu;
  port.queue_size = net.queue_size;
  port.limits = net.limits;
  port.pairs = NetQueues(net) / 2;
  port.vhost_socket = net.vhost_socket;
  if (!net.vhost_user) {
    Result<std::vector<Tap>> taps = OpenTaps(net, std::move(fds), port.pairs);
    if (!taps.has_value()) return std::move(taps).error().WithField("net " + net.id + ".tap");
    port.taps = *std::move(taps);
  }
  port.mac = RandomMacAddress();
  if (net.mac.has_value()) {
    TRY_ASSIGN(port.mac, ParseMacAddress(*net.mac));
  }
  return port;
}

}  // namespace

Result<NetPort> OpenNetPort(const NetConfig& net) {
  return Open(net, TakeOver(net.fds));
}

Result<std::vector<NetPort>> OpenNetPorts(const std::vector<NetConfig>& nets) {
  std::vector<std::vector<UniqueFd>> fds;
  fds.reserve(nets.size());
  for (const NetConfig& net : nets) fds.push_back(TakeOver(net.fds));
  std::vector<NetPort> ports;
  for (size_t i = 0; i < nets.size(); ++i) {
    TRY_ASSIGN(NetPort port, Open(nets[i], std::move(fds[i])));
    ports.push_back(std::move(port));
  }
  return ports;
}

}  // namespace berth::vmm
