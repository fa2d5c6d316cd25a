#include "scheduler/filters/filter.h"

#include <algorithm>

namespace berth::scheduler {

std::optional<Reason> FilterSet::Refuse(const FilteredHost& host, const RequestSpec& spec) const {
  for (const Entry& entry : entries_) {
    if (!entry.filter->Concerns(spec) || entry.filter->Keeps(host, spec)) continue;
    Reason reason = entry.filter->Why(host, spec);
    reason.code = entry.name;
    return reason;
  }
  return std::nullopt;
}

void FilterSet::Simplify(RequestSpec& spec) const {
  std::erase_if(spec.host.image, [&](const auto& property) {
    return !std::binary_search(image_keys_.begin(), image_keys_.end(), property.first);
  });
  // The flavor's name and the project matter only where aggregates name some.
  auto used = [&](std::string_view name) {
    return std::any_of(entries_.begin(), entries_.end(), [&](const Entry& entry) {
      return entry.name == name && entry.filter->Concerns(spec);
    });
  };
  if (!used("tenant_isolation")) spec.host.project.clear();
  if (!used("flavor_affinity")) spec.host.flavor.clear();
}

ClassFilters::ClassFilters(const FilterSet& set, const RequestSpec& spec) : spec_(spec) {
  for (const FilterSet::Entry& entry : set.entries()) {
    if (!entry.filter->Concerns(spec)) continue;
    auto& list = entry.filter->reads() == Filter::Reads::kFacts ? by_facts_ : by_host_;
    list.push_back(entry.filter.get());
  }
}

bool ClassFilters::KeepsFacts(const HostFacts& facts) {
  if (by_facts_.empty()) return true;
  if (facts.number >= known_.size()) known_.resize(facts.number + 16, Known::kNo);
  Known& known = known_[facts.number];
  if (known == Known::kNo) {
    FilteredHost host{facts};
    bool kept = std::all_of(by_facts_.begin(), by_facts_.end(),
                            [&](const Filter* filter) { return filter->Keeps(host, spec_); });
    known = kept ? Known::kKept : Known::kRefused;
  }
  return known == Known::kKept;
}

bool ClassFilters::KeepsHost(const FilteredHost& host) const {
  return std::all_of(by_host_.begin(), by_host_.end(),
                     [&](const Filter* filter) { return filter->Keeps(host, spec_); });
}

}  // namespace berth::scheduler
