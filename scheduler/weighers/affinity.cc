#include "scheduler/weighers/registry.h"

namespace berth::scheduler {
namespace {

// Prefers hosts on which more of the devices are local to the guest.
class AffinityWeigher final : public Weigher {
 public:
  double Weigh(const WeighedHost& host, const RequestSpec& spec) const override {
    uint64_t devices = 0;
    for (const PciRequest& request : spec.pci) devices += request.count;
    if (devices == 0) return 1;
    return 1 - static_cast<double>(host.quick.non_local) / static_cast<double>(devices);
  }
};

}  // namespace

std::unique_ptr<Weigher> MakeAffinityWeigher() {
  return std::make_unique<AffinityWeigher>();
}

}  // namespace berth::scheduler
