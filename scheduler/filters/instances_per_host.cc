#include <algorithm>
#include <charconv>
#include <optional>

#include "scheduler/filters/registry.h"

namespace berth::scheduler {
namespace {

constexpr std::string_view kKey = "max_instances_per_host";

// Keeps hosts with fewer instances than allowed: by the configuration, or by the least that an aggregate of
// the host has as metadata max_instances_per_host.
class InstancesPerHostFilter final : public Filter {
 public:
  explicit InstancesPerHostFilter(const FilterSettings& settings)
      : most_(settings.max_instances_per_host),
        by_aggregate_(std::any_of(settings.aggregates.begin(), settings.aggregates.end(),
                                  [](const Aggregate& one) { return one.Find(kKey) != nullptr; })) {}

  Reads reads() const override { return Reads::kHost; }
  bool Concerns(const RequestSpec& /*spec*/) const override { return most_ > 0 || by_aggregate_; }
  bool Keeps(const FilteredHost& host, const RequestSpec& /*spec*/) const override {
    return host.instances < Most(host);
  }
  Reason Why(const FilteredHost& host, const RequestSpec& /*spec*/) const override {
    return {"", std::to_string(host.instances), std::to_string(Most(host)), "host",
            "the host has " + std::to_string(host.instances) + " instances, allowed are " +
                std::to_string(Most(host))};
  }

 private:
  uint32_t Most(const FilteredHost& host) const {
    const uint32_t otherwise = most_ > 0 ? most_ : UINT32_MAX;
    if (!by_aggregate_) return otherwise;
    std::optional<uint32_t> least;
    for (const Aggregate* aggregate : host.facts.aggregates) {
      const std::string* text = aggregate->Find(kKey);
      uint32_t most = 0;
      if (text == nullptr) continue;
      auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), most);
      if (error == std::errc() && end == text->data() + text->size())
        least = std::min(least.value_or(most), most);
    }
    return least.value_or(otherwise);
  }

  const uint32_t most_;
  const bool by_aggregate_;
};

}  // namespace

std::unique_ptr<Filter> MakeInstancesPerHostFilter(const FilterSettings& settings) {
  return std::make_unique<InstancesPerHostFilter>(settings);
}

}  // namespace berth::scheduler
