#include "scheduler/weighers/registry.h"

namespace berth::scheduler {
namespace {

// Prefers hosts with many CPUs free: dedicated ones for guests that pin, else room for floating vCPUs.
class CpuWeigher final : public Weigher {
 public:
  double Weigh(const WeighedHost& host, const RequestSpec& spec) const override {
    if (spec.cpu_policy != CpuPolicy::kShared) {
      uint64_t all = 0;
      uint64_t free = 0;
      for (const placement::Cell& cell : host.report.cells) all += cell.dedicated_cpus.Count();
      for (const FitCell& cell : host.fit.cells) free += cell.counts.free;
      return all == 0 ? 0 : static_cast<double>(free) / static_cast<double>(all);
    }
    double all = 0;
    double used = host.usage.floating_vcpus;
    for (const FitCell& cell : host.fit.cells) {
      all += cell.counts.shared * host.fit.cpu_ratio;
      used += cell.shared_vcpus;
    }
    return all <= 0 ? 0 : (all - used) / all;
  }
};

}  // namespace

std::unique_ptr<Weigher> MakeCpuWeigher() {
  return std::make_unique<CpuWeigher>();
}

}  // namespace berth::scheduler
