#include <algorithm>

#include "scheduler/filters/registry.h"
#include "scheduler/filters/value_list.h"

namespace berth::scheduler {
namespace {

// Aggregates whose metadata has instance_type are for the flavors that it names, as Nova's
// AggregateTypeAffinityFilter. A host in none of them takes every flavor.
class FlavorAffinityFilter final : public Filter {
 public:
  explicit FlavorAffinityFilter(const FilterSettings& settings)
      : used_(std::any_of(settings.aggregates.begin(), settings.aggregates.end(),
                          [](const Aggregate& one) { return one.Find(kKey) != nullptr; })) {}

  bool Concerns(const RequestSpec& /*spec*/) const override { return used_; }
  bool Keeps(const FilteredHost& host, const RequestSpec& spec) const override {
    bool reserved = false;
    for (const Aggregate* aggregate : host.facts.aggregates) {
      const std::string* flavors = aggregate->Find(kKey);
      if (flavors == nullptr) continue;
      if (ListHas(*flavors, spec.host.flavor)) return true;
      reserved = true;
    }
    return !reserved;
  }
  Reason Why(const FilteredHost& /*host*/, const RequestSpec& spec) const override {
    return {"", "", spec.host.flavor, "host", "the host's aggregates are for other flavors"};
  }

 private:
  static constexpr std::string_view kKey = "instance_type";
  const bool used_;
};

}  // namespace

std::unique_ptr<Filter> MakeFlavorAffinityFilter(const FilterSettings& settings) {
  return std::make_unique<FlavorAffinityFilter>(settings);
}

}  // namespace berth::scheduler
