#include "scheduler/filters/registry.h"

namespace berth::scheduler {
namespace {

// Keeps hosts on which no instance failed lately: after the n-th failure in a row a host rests for
// first * 2^(n-1) seconds, at most the longest, so that a broken host does not swallow request after request.
class BuildBackoffFilter final : public Filter {
 public:
  explicit BuildBackoffFilter(const FilterSettings& settings) : used_(settings.backoff_first_s > 0) {}

  Reads reads() const override { return Reads::kHost; }
  bool Concerns(const RequestSpec& /*spec*/) const override { return used_; }
  bool Keeps(const FilteredHost& host, const RequestSpec& /*spec*/) const override {
    return !host.backing_off;
  }
  Reason Why(const FilteredHost& host, const RequestSpec& /*spec*/) const override {
    return {"", std::to_string(host.failures), "0", "host",
            "the host rests after " + std::to_string(host.failures) + " failed instances in a row"};
  }

 private:
  const bool used_;
};

}  // namespace

std::unique_ptr<Filter> MakeBuildBackoffFilter(const FilterSettings& settings) {
  return std::make_unique<BuildBackoffFilter>(settings);
}

}  // namespace berth::scheduler
