#include <algorithm>

#include "scheduler/weighers/registry.h"

namespace berth::scheduler {
namespace {

// Prefers hosts with much memory free (multiplier below 0: with little, which stacks). All page sizes count.
class RamWeigher final : public Weigher {
 public:
  double Weigh(const WeighedHost& host, const RequestSpec& /*spec*/) const override {
    uint64_t all = 0;
    for (const placement::Cell& cell : host.report.cells) all += cell.memory_bytes;
    uint64_t used = host.usage.floating_memory_bytes;
    for (const auto& [node, cell] : host.usage.cells) used += cell.memory_bytes;
    return all == 0 ? 0 : static_cast<double>(all - std::min(all, used)) / static_cast<double>(all);
  }
};

}  // namespace

std::unique_ptr<Weigher> MakeRamWeigher() {
  return std::make_unique<RamWeigher>();
}

}  // namespace berth::scheduler
