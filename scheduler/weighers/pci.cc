#include <algorithm>

#include "scheduler/fit/device_match.h"
#include "scheduler/weighers/registry.h"

namespace berth::scheduler {
namespace {

// Keeps devices for those who ask for them: a host is the better the fewer free devices it has that the
// request does not ask for. Only devices that the request could not use count against the host, so that an
// unrelated pool has no influence on a request for another one's last devices (Nova's PCIWeigher counts all
// of them).
class PciWeigher final : public Weigher {
 public:
  double Weigh(const WeighedHost& host, const RequestSpec& spec) const override {
    uint64_t asked = 0;
    for (const PciRequest& request : spec.pci) asked += request.count;
    uint64_t free = host.fit.devices.size();
    if (asked > 0) {
      free = static_cast<uint64_t>(
          std::count_if(host.fit.devices.begin(), host.fit.devices.end(), [&](const FitDevice& device) {
            return std::any_of(spec.pci.begin(), spec.pci.end(), [&](const PciRequest& request) {
              return std::any_of(request.alternatives.begin(), request.alternatives.end(),
                                 [&](const DeviceMatch& match) { return Matches(device, match); });
            });
          }));
      // Of the pools asked for: the host on which the fewest are left over.
      free -= std::min(free, asked);
    }
    return 1.0 / (1.0 + static_cast<double>(free));
  }
};

}  // namespace

std::unique_ptr<Weigher> MakePciWeigher() {
  return std::make_unique<PciWeigher>();
}

}  // namespace berth::scheduler
