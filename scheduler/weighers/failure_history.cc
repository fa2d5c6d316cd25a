#include "scheduler/weighers/registry.h"

namespace berth::scheduler {
namespace {

// Prefers hosts on which fewer instances failed since one last ran.
class FailureHistoryWeigher final : public Weigher {
 public:
  double Weigh(const WeighedHost& host, const RequestSpec& /*spec*/) const override {
    return 1.0 / (1.0 + host.failures);
  }
};

}  // namespace

std::unique_ptr<Weigher> MakeFailureHistoryWeigher() {
  return std::make_unique<FailureHistoryWeigher>();
}

}  // namespace berth::scheduler
