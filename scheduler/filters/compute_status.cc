#include "scheduler/filters/registry.h"

namespace berth::scheduler {
namespace {

// Keeps hosts that no operator took out (`berthctl host drain`), as Nova's ComputeFilter.
class ComputeStatusFilter final : public Filter {
 public:
  bool Concerns(const RequestSpec& /*spec*/) const override { return true; }
  bool Keeps(const FilteredHost& host, const RequestSpec& /*spec*/) const override {
    return host.facts.enabled;
  }
  Reason Why(const FilteredHost& /*host*/, const RequestSpec& /*spec*/) const override {
    return {"", "disabled", "enabled", "host",
            "the host was taken out: it has the trait COMPUTE_STATUS_DISABLED"};
  }
};

}  // namespace

std::unique_ptr<Filter> MakeComputeStatusFilter(const FilterSettings& /*settings*/) {
  return std::make_unique<ComputeStatusFilter>();
}

}  // namespace berth::scheduler
