#include "placement/model/resource_view.h"

#include <algorithm>

#include "placement/model/names.h"

namespace berth::placement {
namespace {

constexpr std::string_view kSharingTrait = "MISC_SHARES_VIA_AGGREGATE";

}  // namespace

ResourceView::ResourceView() {
  const EditId edit = NewEditId();
  for (std::string_view name : StandardResourceClasses()) classes_.Add(edit, std::string(name), 0);
  for (std::string_view name : StandardTraits()) traits_.Add(edit, std::string(name), 0);
  types_.Add(edit, "unknown", 0);
  sharing_trait_ = *traits_.Find(kSharingTrait);
}

ProviderRef ResourceView::FindProvider(const Uuid& uuid) const {
  ProviderRef found;
  by_uuid_.Find(std::hash<Uuid>()(uuid), [&](const SlotEntry& entry) {
    const auto& tree = trees_[entry.slot];
    uint32_t index = tree->FindProvider(uuid);
    if (index == ProviderTree::kNone) return false;
    found = {tree, entry.slot, index};
    return true;
  });
  return found;
}

ProviderRef ResourceView::FindProvider(std::string_view name) const {
  ProviderRef found;
  by_name_.Find(std::hash<std::string_view>()(name), [&](const SlotEntry& entry) {
    const auto& tree = trees_[entry.slot];
    uint32_t index = tree->FindProvider(name);
    if (index == ProviderTree::kNone) return false;
    found = {tree, entry.slot, index};
    return true;
  });
  return found;
}

std::shared_ptr<const Consumer> ResourceView::FindConsumer(const Uuid& consumer) const {
  const auto* found =
      consumers_.Find(std::hash<Uuid>()(consumer), [&](const auto& c) { return c->uuid == consumer; });
  return found == nullptr ? nullptr : *found;
}

std::vector<std::shared_ptr<const Consumer>> ResourceView::ConsumersOf(const Uuid& provider) const {
  std::vector<std::shared_ptr<const Consumer>> list;
  const auto* holders =
      holders_.Find(std::hash<Uuid>()(provider), [&](const auto& h) { return h->provider == provider; });
  if (holders == nullptr) return list;
  (*holders)->consumers.ForEach([&](const Uuid& consumer) { list.push_back(FindConsumer(consumer)); });
  std::sort(list.begin(), list.end(), [](const auto& a, const auto& b) { return a->uuid < b->uuid; });
  return list;
}

void ResourceView::ForEachConsumer(
    const std::function<void(const std::shared_ptr<const Consumer>&)>& visit) const {
  consumers_.ForEach(visit);
}

void ResourceView::ForEachUsage(ProjectId project, std::optional<UserId> user,
                                const std::function<void(const UsageGroup&)>& visit) const {
  const uint64_t hash = static_cast<uint64_t>(project) * 0x9E3779B97F4A7C15U;
  usages_.FindAll(hash, [&](const auto& group) {
    if (group->project == project && (!user || group->user == *user)) visit(*group);
  });
}

}  // namespace berth::placement
