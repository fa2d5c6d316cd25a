#include <algorithm>

#include "scheduler/filters/registry.h"
#include "scheduler/filters/value_list.h"

namespace berth::scheduler {
namespace {

// Aggregates whose metadata has filter_tenant_id (or filter_tenant_id and a suffix, for more of them) are for
// those projects alone, as with Nova's AggregateMultiTenancyIsolation; a list has commas. A host of several
// such aggregates is for the projects of any of them. With exclusive_tenant=true the listed projects go
// nowhere else.
class TenantIsolationFilter final : public Filter {
 public:
  explicit TenantIsolationFilter(const FilterSettings& settings) {
    for (const Aggregate& aggregate : settings.aggregates) isolates_ = isolates_ || IsIsolated(aggregate);
    for (const Aggregate& aggregate : settings.aggregates) {
      const std::string* only = aggregate.Find("exclusive_tenant");
      if (only != nullptr && *only == "true") exclusive_.push_back(aggregate);
    }
  }

  bool Concerns(const RequestSpec& /*spec*/) const override { return isolates_; }
  bool Keeps(const FilteredHost& host, const RequestSpec& spec) const override {
    bool isolated = false;
    for (const Aggregate* aggregate : host.facts.aggregates) {
      if (!IsIsolated(*aggregate)) continue;
      if (IsFor(*aggregate, spec.host.project)) return true;
      isolated = true;
    }
    return !isolated && !GoesNowhereElse(spec.host.project);
  }
  Reason Why(const FilteredHost& host, const RequestSpec& spec) const override {
    for (const Aggregate* aggregate : host.facts.aggregates) {
      if (IsIsolated(*aggregate))
        return {"", "", spec.host.project, "aggregate " + aggregate->name,
                "the host belongs to aggregate \"" + aggregate->name + "\", which is for other projects"};
    }
    return {"", "", spec.host.project, "host", "the project has hosts of its own and goes nowhere else"};
  }

 private:
  static constexpr std::string_view kKey = "filter_tenant_id";

  static bool IsIsolated(const Aggregate& aggregate) {
    return std::any_of(aggregate.metadata.begin(), aggregate.metadata.end(),
                       [](const auto& entry) { return entry.first.starts_with(kKey); });
  }
  static bool IsFor(const Aggregate& aggregate, const std::string& project) {
    return std::any_of(aggregate.metadata.begin(), aggregate.metadata.end(), [&](const auto& entry) {
      return entry.first.starts_with(kKey) && !project.empty() && ListHas(entry.second, project);
    });
  }
  bool GoesNowhereElse(const std::string& project) const {
    return std::any_of(exclusive_.begin(), exclusive_.end(),
                       [&](const Aggregate& aggregate) { return IsFor(aggregate, project); });
  }

  bool isolates_ = false;
  std::vector<Aggregate> exclusive_;
};

}  // namespace

std::unique_ptr<Filter> MakeTenantIsolationFilter(const FilterSettings& settings) {
  return std::make_unique<TenantIsolationFilter>(settings);
}

}  // namespace berth::scheduler
