#include "scheduler/weighers/registry.h"

namespace berth::scheduler {
namespace {

// Prefers hosts on which the guest leaves the least over in the cells that it takes, and which are not cut
// into many partly used cells.
class FragmentationWeigher final : public Weigher {
 public:
  double Weigh(const WeighedHost& host, const RequestSpec& /*spec*/) const override {
    uint64_t partly = 0;
    for (const FitCell& cell : host.fit.cells) {
      const placement::Cell* whole = nullptr;
      for (const placement::Cell& one : host.report.cells) whole = one.id == cell.id ? &one : whole;
      uint32_t all = whole == nullptr ? 0 : whole->dedicated_cpus.Count();
      bool touched = cell.shared_vcpus > 0 || (cell.counts.free > 0 && cell.counts.free < all);
      partly += touched ? 1 : 0;
    }
    double cells = host.fit.cells.empty() ? 1 : static_cast<double>(host.fit.cells.size());
    double over = 1.0 / (1.0 + static_cast<double>(host.quick.waste) / 16);
    return (over + 1 - static_cast<double>(partly) / cells) / 2;
  }
};

}  // namespace

std::unique_ptr<Weigher> MakeFragmentationWeigher() {
  return std::make_unique<FragmentationWeigher>();
}

}  // namespace berth::scheduler
