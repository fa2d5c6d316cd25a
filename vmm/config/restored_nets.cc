#include "vmm/config/restored_nets.h"

#include <algorithm>
#include <set>
#include <string_view>

namespace berth::vmm {
namespace {

constexpr char kField[] = "net_fds";

std::string Descriptors(size_t count) {
  return std::to_string(count) + (count == 1 ? " descriptor" : " descriptors");
}

Status CheckGiven(const RestoredNet& given, const std::vector<NetConfig>& nets) {
  auto net = std::find_if(nets.begin(), nets.end(), [&](const NetConfig& n) { return n.id == given.id; });
  if (net == nets.end()) return InvalidArgument("the snapshot has no network device " + given.id, kField);
  if (!net->fds.empty()) return OkStatus();
  return InvalidArgument("network device " + given.id + " of the snapshot takes no descriptors: it has " +
                             (net->vhost_user ? "another process" : "the TAP interface " + net->tap),
                         kField, "leave it out of net_fds");
}

}  // namespace

Status ReplaceDescriptors(const std::vector<RestoredNet>& given, VmConfig& config) {
  std::set<std::string_view> seen;
  for (const RestoredNet& net : given) {
    if (!seen.insert(net.id).second)
      return InvalidArgument("network device " + net.id + " stands twice", kField);
    TRY(CheckGiven(net, config.nets));
  }
  for (NetConfig& net : config.nets) {
    if (net.fds.empty()) continue;
    auto found =
        std::find_if(given.begin(), given.end(), [&](const RestoredNet& n) { return n.id == net.id; });
    const size_t count = found == given.end() ? 0 : found->fds.size();
    if (count != net.fds.size()) {
      return InvalidArgument(
          "network device " + net.id + " of the snapshot needs " + Descriptors(net.fds.size()) +
              ", and has been given " + std::to_string(count),
          kField,
          "give one for each pair of its queues: net_fds of vm.restore, with SCM_RIGHTS, or "
          "of --restore; or write a tap into config.json");
    }
    net.fds = found->fds;
  }
  return OkStatus();
}

}  // namespace berth::vmm
