#include "placement/grpc/host_facts.h"

#include <algorithm>
#include <set>
#include <string>

namespace berth::placement {

void HostFactsToProto(const ResourceView& view, const Uuid& host, v1::Host* out) {
  out->clear_traits();
  out->clear_aggregates();
  ProviderRef root = view.FindProvider(host);
  if (!root || root.index != 0) return;
  static const auto kNumaRoot = std::string_view("HW_NUMA_ROOT");
  const auto cell_mark = view.traits().Find(kNumaRoot);
  std::set<std::string> traits;
  for (uint32_t i = 0; i < root.tree->size(); ++i) {
    auto own = root.tree->traits(i);
    bool cell = cell_mark && root.tree->owner(i) == TreeOwner::kAgent &&
                std::find(own.begin(), own.end(), *cell_mark) != own.end();
    if (i != 0 && !cell) continue;
    for (TraitId id : own) traits.emplace(view.traits().name(id));
  }
  traits.erase(std::string(kNumaRoot));
  for (const std::string& trait : traits) out->add_traits(trait);
  std::set<std::string> aggregates;
  for (AggregateId id : root.tree->At(0).aggregates) aggregates.insert(view.aggregates().name(id).ToString());
  for (const std::string& aggregate : aggregates) out->add_aggregates(aggregate);
}

}  // namespace berth::placement
