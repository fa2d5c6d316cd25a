#include "scheduler/weighers/registry.h"

namespace berth::scheduler {
namespace {

// Prefers hosts that do not rest after a failure, for those who leave the filter of this name out.
class BuildBackoffWeigher final : public Weigher {
 public:
  double Weigh(const WeighedHost& host, const RequestSpec& /*spec*/) const override {
    return host.backing_off ? 0 : 1;
  }
};

}  // namespace

std::unique_ptr<Weigher> MakeBuildBackoffWeigher() {
  return std::make_unique<BuildBackoffWeigher>();
}

}  // namespace berth::scheduler
