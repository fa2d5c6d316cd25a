#include "placement/candidates/resolve.h"

#include <algorithm>
#include <set>
#include <string_view>
#include <unordered_map>
#include <utility>

namespace berth::placement {
namespace {

// Larger than any inventory, and small enough that sums of kMaxCandidateSlots of them stay within 64 bits.
constexpr int64_t kNobodyHasIt = int64_t{1} << 40;

Result<TraitId> ResolveTrait(const ResourceView& view, const std::string& name) {
  if (const auto id = view.traits().Find(std::string_view(name))) return *id;
  return InvalidArgument("No such trait(s): " + name + ".", "traits");
}

Result<std::vector<TraitId>> ResolveTraits(const ResourceView& view, const std::vector<std::string>& names) {
  std::vector<TraitId> ids;
  ids.reserve(names.size());
  for (const std::string& name : names) {
    TRY_ASSIGN(const TraitId id, ResolveTrait(view, name));
    ids.push_back(id);
  }
  return ids;
}

std::vector<AggregateId> ResolveAggregates(const ResourceView& view, const std::vector<Uuid>& uuids) {
  std::vector<AggregateId> ids;
  for (const Uuid& uuid : uuids) {
    if (const auto id = view.aggregates().Find(uuid)) ids.push_back(*id);
  }
  return ids;
}

// Which classes more than one slot asks for.
void MarkClassesAskedTwice(std::vector<CandidateSlot>& slots) {
  std::unordered_map<uint32_t, uint32_t> askers;
  for (const CandidateSlot& slot : slots) {
    for (const ResolvedAmount& amount : slot.resources)
      ++askers[static_cast<uint32_t>(amount.resource_class)];
  }
  for (CandidateSlot& slot : slots) {
    for (ResolvedAmount& amount : slot.resources) {
      amount.elsewhere = askers[static_cast<uint32_t>(amount.resource_class)] > 1;
    }
  }
}

Status ResolveSubtrees(const CandidatesRequest& request, ResolvedRequest& resolved) {
  for (const std::vector<std::string>& suffixes : request.same_subtrees) {
    std::vector<uint32_t> members;
    for (const std::string& suffix : suffixes) {
      const auto slot = std::ranges::find_if(resolved.slots, [&](const CandidateSlot& s) {
        return s.suffixed && request.groups[s.group].suffix == suffix;
      });
      if (slot == resolved.slots.end()) {
        return InvalidArgument("same_subtree names the group '" + suffix + "', which is not in the request",
                               "same_subtree", "the suffix of a group");
      }
      members.push_back(static_cast<uint32_t>(slot - resolved.slots.begin()));
    }
    std::ranges::sort(members);
    members.erase(std::ranges::unique(members).begin(), members.end());
    if (members.size() < 2) continue;  // one provider is always its own subtree
    for (uint32_t member : members) {
      resolved.slots[member].subtrees.push_back(static_cast<uint32_t>(resolved.subtrees.size()));
    }
    resolved.subtrees.push_back(std::move(members));
  }
  return OkStatus();
}

}  // namespace

Result<std::vector<ResolvedAmount>> Resolve(const ResourceView& view,
                                            const std::vector<ResourceAmount>& resources) {
  std::vector<ResolvedAmount> amounts;
  amounts.reserve(resources.size());
  for (const ResourceAmount& resource : resources) {
    const auto id = view.resource_classes().Find(std::string_view(resource.resource_class));
    if (!id) return InvalidArgument("No such resource class " + resource.resource_class + ".", "resources");
    const uint64_t amount = std::min(resource.amount, static_cast<uint64_t>(kNobodyHasIt));
    const auto same = std::ranges::find(amounts, *id, &ResolvedAmount::resource_class);
    if (same != amounts.end()) {
      return InvalidArgument("resource class " + resource.resource_class + " is asked for twice in one group",
                             "resources");
    }
    amounts.push_back({*id, static_cast<int64_t>(amount), false});
  }
  return amounts;
}

Result<ResolvedFilter> Resolve(const ResourceView& view, const ProviderFilter& filter) {
  ResolvedFilter resolved;
  for (const std::vector<std::string>& any : filter.required_traits) {
    TRY_ASSIGN(std::vector<TraitId> ids, ResolveTraits(view, any));
    resolved.never |= ids.empty();
    resolved.required.push_back(std::move(ids));
  }
  TRY_ASSIGN(resolved.forbidden, ResolveTraits(view, filter.forbidden_traits));
  for (const std::vector<Uuid>& any : filter.member_of) {
    resolved.member_of.push_back(ResolveAggregates(view, any));
    resolved.never |= resolved.member_of.back().empty();
  }
  resolved.forbidden_aggregates = ResolveAggregates(view, filter.forbidden_aggregates);
  if (filter.in_tree) {
    const ProviderRef provider = view.FindProvider(*filter.in_tree);
    if (provider) {
      resolved.in_tree = provider.slot;
    } else {
      resolved.never = true;
    }
  }
  return resolved;
}

Result<ResolvedRequest> Resolve(const ResourceView& view, const CandidatesRequest& request) {
  ResolvedRequest resolved;
  resolved.isolate = request.group_policy == GroupPolicy::kIsolate;
  resolved.nested_aware = request.nested_aware;
  TRY_ASSIGN(resolved.root_required, ResolveTraits(view, request.root_required));
  TRY_ASSIGN(resolved.root_forbidden, ResolveTraits(view, request.root_forbidden));
  std::set<std::string_view> suffixes;
  bool some_resources = false;
  for (size_t i = 0; i < request.groups.size(); ++i) {
    const RequestGroup& group = request.groups[i];
    const auto number = static_cast<uint32_t>(i);
    if (!suffixes.insert(group.suffix).second) {
      return InvalidArgument("the group '" + group.suffix + "' is in the request twice", "groups");
    }
    TRY_ASSIGN(std::vector<ResolvedAmount> amounts, Resolve(view, group.resources));
    TRY_ASSIGN(ResolvedFilter filter, Resolve(view, group.filter));
    some_resources |= !amounts.empty();
    resolved.never |= filter.never;
    resolved.filters.push_back(std::move(filter));
    if (!group.suffix.empty()) {
      resolved.slots.push_back({number, true, std::move(amounts), {}});
    } else if (amounts.empty()) {
      return InvalidArgument("the group without suffix asks for no resources", "groups");
    } else {
      resolved.unnumbered = number;
      for (const ResolvedAmount& amount : amounts) resolved.slots.push_back({number, false, {amount}, {}});
    }
  }
  if (!some_resources) return InvalidArgument("no group asks for resources", "groups");
  if (resolved.slots.size() > kMaxCandidateSlots) {
    return OutOfRange("the request asks for " + std::to_string(resolved.slots.size()) +
                          " things at once (suffixed groups, and classes of the group without suffix)",
                      "groups", "at most " + std::to_string(kMaxCandidateSlots));
  }
  MarkClassesAskedTwice(resolved.slots);
  TRY(ResolveSubtrees(request, resolved));
  return resolved;
}

}  // namespace berth::placement
