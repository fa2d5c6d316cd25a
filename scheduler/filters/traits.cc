#include <algorithm>

#include "scheduler/filters/registry.h"

namespace berth::scheduler {
namespace {

// Keeps hosts with all traits that the request requires and none that it forbids. A host has the traits of
// its root provider and of its NUMA cells' providers.
class TraitsFilter final : public Filter {
 public:
  bool Concerns(const RequestSpec& spec) const override {
    return !spec.host.traits.empty() || !spec.host.forbidden_traits.empty();
  }
  bool Keeps(const FilteredHost& host, const RequestSpec& spec) const override {
    auto has = [&](const std::string& trait) { return host.facts.HasTrait(trait); };
    return std::all_of(spec.host.traits.begin(), spec.host.traits.end(), has) &&
           std::none_of(spec.host.forbidden_traits.begin(), spec.host.forbidden_traits.end(), has);
  }
  Reason Why(const FilteredHost& host, const RequestSpec& spec) const override {
    for (const std::string& trait : spec.host.traits) {
      if (!host.facts.HasTrait(trait))
        return {"", "absent", "present", "trait " + trait, "the host lacks the required trait " + trait};
    }
    for (const std::string& trait : spec.host.forbidden_traits) {
      if (host.facts.HasTrait(trait))
        return {"", "present", "absent", "trait " + trait, "the host has the forbidden trait " + trait};
    }
    return {};
  }
};

}  // namespace

std::unique_ptr<Filter> MakeTraitsFilter(const FilterSettings& /*settings*/) {
  return std::make_unique<TraitsFilter>();
}

}  // namespace berth::scheduler
