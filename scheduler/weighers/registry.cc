#include "scheduler/weighers/registry.h"

#include <algorithm>
#include <cmath>
#include <string_view>

#include "common/yaml.h"

namespace berth::scheduler {

const std::vector<WeigherMaker>& WeigherMakers() {
  static const std::vector<WeigherMaker> makers = {
      {"ram", MakeRamWeigher},
      {"cpu", MakeCpuWeigher},
      {"disk", MakeDiskWeigher},
      {"pci", MakePciWeigher},
      {"affinity", MakeAffinityWeigher},
      {"fragmentation", MakeFragmentationWeigher},
      {"failure_history", MakeFailureHistoryWeigher},
      {"build_backoff", MakeBuildBackoffWeigher},
  };
  return makers;
}

const std::vector<std::string>& WeigherSet::Names() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> out;
    for (const WeigherMaker& maker : WeigherMakers()) out.emplace_back(maker.name);
    return out;
  }();
  return names;
}

Result<WeigherSet> WeigherSet::Make(const std::vector<std::pair<std::string, double>>& multipliers) {
  WeigherSet set;
  std::vector<std::string_view> seen;
  for (const auto& [name, multiplier] : multipliers) {
    const std::string field = "weighers." + name;
    if (std::find(seen.begin(), seen.end(), name) != seen.end())
      return InvalidArgument("weigher \"" + name + "\" is there twice", field);
    seen.push_back(name);
    const auto& makers = WeigherMakers();
    auto maker =
        std::find_if(makers.begin(), makers.end(), [&](const auto& one) { return one.name == name; });
    if (maker == makers.end()) {
      std::vector<std::string_view> known(Names().begin(), Names().end());
      std::string_view nearest = NearestName(name, known);
      std::string all = "known:";
      for (std::string_view one : known) all += " " + std::string(one);
      return InvalidArgument("weigher \"" + name + "\" is unknown", field,
                             nearest.empty() ? all : "did you mean \"" + std::string(nearest) + "\"?");
    }
    if (!(std::abs(multiplier) <= 1e6))
      return InvalidArgument("multiplier of \"" + name + "\" must be -1000000 to 1000000", field);
    if (multiplier == 0) continue;
    set.entries_.push_back({maker->make(), multiplier});
    set.total_ += std::abs(multiplier);
  }
  return set;
}

WeigherSet WeigherSet::Of(std::shared_ptr<const Weigher> weigher) {
  WeigherSet set;
  set.entries_.push_back({std::move(weigher), 1});
  set.total_ = 1;
  return set;
}

WeigherSet WeigherSet::Prepared(const RequestSpec& spec) const {
  WeigherSet set = *this;
  for (Entry& entry : set.entries_) {
    if (auto prepared = entry.weigher->Prepared(spec)) entry.weigher = std::move(prepared);
  }
  return set;
}

double WeigherSet::Weigh(const WeighedHost& host, const RequestSpec& spec) const {
  if (entries_.empty()) return 0;
  double sum = 0;
  for (const Entry& entry : entries_)
    sum += entry.multiplier * std::clamp(entry.weigher->Weigh(host, spec), 0.0, 1.0);
  return sum / total_;
}

}  // namespace berth::scheduler
