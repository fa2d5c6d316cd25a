#include "tests/placement/candidates/naive_candidates.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <optional>
#include <sstream>

namespace berth::placement::testing {
namespace {

constexpr const char* kShares = "MISC_SHARES_VIA_AGGREGATE";

bool Fits(const NaiveProvider& provider, const std::string& resource_class, uint64_t amount) {
  const auto found = provider.inventories.find(resource_class);
  if (found == provider.inventories.end()) return false;
  const NaiveInventory& inventory = found->second;
  const double capacity = (static_cast<double>(inventory.total) - static_cast<double>(inventory.reserved)) *
                          inventory.allocation_ratio;
  return static_cast<double>(inventory.used + amount) <= capacity && amount >= inventory.min_unit &&
         amount <= inventory.max_unit && amount % inventory.step_size == 0;
}

bool HasTraits(const std::set<std::string>& traits, const std::vector<std::vector<std::string>>& required) {
  return std::ranges::all_of(required, [&](const auto& any) {
    return std::ranges::any_of(any, [&](const auto& trait) { return traits.contains(trait); });
  });
}

bool HasAnyTrait(const std::set<std::string>& traits, const std::vector<std::string>& names) {
  return std::ranges::any_of(names, [&](const auto& name) { return traits.contains(name); });
}

bool InAll(const NaiveProvider& provider, const std::vector<std::vector<Uuid>>& member_of) {
  return std::ranges::all_of(member_of, [&](const auto& any) {
    return std::ranges::any_of(any, [&](const Uuid& one) { return provider.aggregates.contains(one); });
  });
}

bool InAny(const NaiveProvider& provider, const std::vector<Uuid>& aggregates) {
  return std::ranges::any_of(aggregates, [&](const Uuid& one) { return provider.aggregates.contains(one); });
}

bool InTree(const NaiveFleet& fleet, int provider, const std::optional<Uuid>& in_tree) {
  if (!in_tree) return true;
  for (int other = 0; other < static_cast<int>(fleet.providers.size()); ++other) {
    if (ProviderUuid(other) == *in_tree) return fleet.Root(other) == fleet.Root(provider);
  }
  return false;
}

// One thing that a provider is chosen for: a suffixed group, or one class of the unnumbered group.
struct Slot {
  const RequestGroup* group;
  std::vector<ResourceAmount> resources;
};

bool MayServe(const NaiveFleet& fleet, int provider, int anchor, const Slot& slot) {
  const NaiveProvider& p = fleet.providers[provider];
  const ProviderFilter& filter = slot.group->filter;
  for (const ResourceAmount& resource : slot.resources) {
    if (!Fits(p, resource.resource_class, resource.amount)) return false;
  }
  if (!fleet.Reaches(provider, anchor) || !InTree(fleet, provider, filter.in_tree)) return false;
  if (HasAnyTrait(p.traits, filter.forbidden_traits)) return false;
  if (!slot.group->suffix.empty()) {
    return HasTraits(p.traits, filter.required_traits) && InAll(p, filter.member_of) &&
           !InAny(p, filter.forbidden_aggregates);
  }
  const NaiveProvider& root = fleet.providers[anchor];
  if (InAny(p, filter.forbidden_aggregates) || InAny(root, filter.forbidden_aggregates)) return false;
  if (fleet.Root(provider) == anchor) return InAll(p, filter.member_of) || InAll(root, filter.member_of);
  return !filter.in_tree && InAll(p, filter.member_of);
}

// What concerns the choice as a whole.
bool IsCandidate(const NaiveFleet& fleet, const CandidatesRequest& request, const NaiveCandidate& candidate) {
  for (const auto& [where, amount] : candidate.amounts) {
    const NaiveInventory& inventory = fleet.providers[where.first].inventories.at(where.second);
    const double capacity =
        std::floor((static_cast<double>(inventory.total) - static_cast<double>(inventory.reserved)) *
                   inventory.allocation_ratio);
    if (static_cast<double>(inventory.used + amount) > capacity || amount > inventory.max_unit) return false;
  }
  std::set<int> isolated;
  size_t suffixed = 0;
  for (const RequestGroup& group : request.groups) {
    const std::set<int>& providers = candidate.mappings.at(group.suffix);
    if (group.suffix.empty()) {
      std::set<std::string> traits;
      for (int provider : providers) {
        traits.insert(fleet.providers[provider].traits.begin(), fleet.providers[provider].traits.end());
      }
      if (!HasTraits(traits, group.filter.required_traits)) return false;
    } else {
      ++suffixed;
      isolated.insert(providers.begin(), providers.end());
    }
  }
  if (request.group_policy == GroupPolicy::kIsolate && isolated.size() != suffixed) return false;
  for (const auto& subtree : request.same_subtrees) {
    std::set<int> members;
    for (const std::string& suffix : subtree) {
      members.insert(candidate.mappings.at(suffix).begin(), candidate.mappings.at(suffix).end());
    }
    const bool rooted = std::ranges::any_of(members, [&](int top) {
      return std::ranges::all_of(members, [&](int member) { return fleet.IsAncestorOrSelf(top, member); });
    });
    if (!members.empty() && !rooted) return false;
  }
  if (!request.nested_aware) {
    std::set<int> givers;
    std::set<int> roots;
    for (const auto& [where, amount] : candidate.amounts) {
      givers.insert(where.first);
      roots.insert(fleet.Root(where.first));
    }
    if (givers.size() != roots.size()) return false;
  }
  return true;
}

Uuid NumberedUuid(uint8_t kind, int number) {
  Uuid uuid;
  uuid.bytes[0] = kind;
  uuid.bytes[14] = static_cast<uint8_t>(number >> 8);
  uuid.bytes[15] = static_cast<uint8_t>(number);
  return uuid;
}

}  // namespace

Uuid ProviderUuid(int provider) {
  return NumberedUuid(0xf0, provider);
}

Uuid AggregateUuid(int number) {
  return NumberedUuid(0xa0, number);
}

int NaiveFleet::Root(int provider) const {
  while (providers[provider].parent >= 0) provider = providers[provider].parent;
  return provider;
}

bool NaiveFleet::IsAncestorOrSelf(int ancestor, int provider) const {
  for (; provider >= 0; provider = providers[provider].parent) {
    if (provider == ancestor) return true;
  }
  return false;
}

bool NaiveFleet::Reaches(int provider, int anchor) const {
  if (Root(provider) == anchor) return true;
  const NaiveProvider& p = providers[provider];
  if (!p.traits.contains(kShares)) return false;
  for (int other = 0; other < static_cast<int>(providers.size()); ++other) {
    if (Root(other) != anchor) continue;
    for (const Uuid& aggregate : providers[other].aggregates) {
      if (p.aggregates.contains(aggregate)) return true;
    }
  }
  return false;
}

std::map<NaiveCandidate, std::set<int>> NaiveCandidates(const NaiveFleet& fleet,
                                                        const CandidatesRequest& request) {
  std::vector<Slot> slots;
  for (const RequestGroup& group : request.groups) {
    if (!group.suffix.empty()) {
      slots.push_back({&group, group.resources});
      continue;
    }
    for (const ResourceAmount& resource : group.resources) slots.push_back({&group, {resource}});
  }
  std::map<NaiveCandidate, std::set<int>> all;
  const int count = static_cast<int>(fleet.providers.size());
  for (int anchor = 0; anchor < count; ++anchor) {
    const NaiveProvider& root = fleet.providers[anchor];
    if (root.parent >= 0 || HasAnyTrait(root.traits, request.root_forbidden)) continue;
    if (!std::ranges::all_of(request.root_required, [&](const auto& t) { return root.traits.contains(t); }))
      continue;
    std::vector<int> chosen;
    const std::function<void()> choose = [&] {
      if (chosen.size() < slots.size()) {
        for (int provider = 0; provider < count; ++provider) {
          if (!MayServe(fleet, provider, anchor, slots[chosen.size()])) continue;
          chosen.push_back(provider);
          choose();
          chosen.pop_back();
        }
        return;
      }
      NaiveCandidate candidate;
      for (size_t i = 0; i < slots.size(); ++i) {
        candidate.mappings[slots[i].group->suffix].insert(chosen[i]);
        for (const ResourceAmount& resource : slots[i].resources) {
          candidate.amounts[{chosen[i], resource.resource_class}] += resource.amount;
        }
      }
      if (IsCandidate(fleet, request, candidate)) all[candidate].insert(anchor);
    };
    choose();
  }
  return all;
}

std::set<int> NaiveSummaries(const NaiveFleet& fleet, const std::set<NaiveCandidate>& candidates,
                             bool nested_aware) {
  std::set<int> givers;
  std::set<int> roots;
  for (const NaiveCandidate& candidate : candidates) {
    for (const auto& [where, amount] : candidate.amounts) {
      givers.insert(where.first);
      roots.insert(fleet.Root(where.first));
    }
  }
  if (!nested_aware) return givers;
  std::set<int> all;
  for (int provider = 0; provider < static_cast<int>(fleet.providers.size()); ++provider) {
    if (roots.contains(fleet.Root(provider))) all.insert(provider);
  }
  return all;
}

std::set<int> NaiveProviders(const NaiveFleet& fleet, const ProviderQuery& query) {
  std::set<int> all;
  for (int provider = 0; provider < static_cast<int>(fleet.providers.size()); ++provider) {
    const NaiveProvider& p = fleet.providers[provider];
    const bool fits = std::ranges::all_of(query.resources, [&](const ResourceAmount& resource) {
      return Fits(p, resource.resource_class, resource.amount);
    });
    if (fits && (!query.name || *query.name == p.name) &&
        (!query.uuid || *query.uuid == ProviderUuid(provider)) &&
        HasTraits(p.traits, query.filter.required_traits) &&
        !HasAnyTrait(p.traits, query.filter.forbidden_traits) && InAll(p, query.filter.member_of) &&
        !InAny(p, query.filter.forbidden_aggregates) && InTree(fleet, provider, query.filter.in_tree)) {
      all.insert(provider);
    }
  }
  return all;
}

std::string ToString(const NaiveFleet& fleet) {
  std::ostringstream out;
  for (size_t i = 0; i < fleet.providers.size(); ++i) {
    const NaiveProvider& p = fleet.providers[i];
    out << "  " << i << " parent " << p.parent;
    for (const auto& [name, inv] : p.inventories) {
      out << ' ' << name << "{total " << inv.total << " reserved " << inv.reserved << " min " << inv.min_unit
          << " max " << inv.max_unit << " step " << inv.step_size << " ratio " << inv.allocation_ratio
          << " used " << inv.used << '}';
    }
    for (const std::string& trait : p.traits) out << ' ' << trait;
    for (const Uuid& aggregate : p.aggregates) out << " agg" << int{aggregate.bytes[15]};
    out << '\n';
  }
  return out.str();
}

std::string ToString(const NaiveCandidate& candidate) {
  std::ostringstream out;
  for (const auto& [where, amount] : candidate.amounts) {
    out << ' ' << where.first << '/' << where.second << ':' << amount;
  }
  for (const auto& [suffix, providers] : candidate.mappings) {
    out << " [" << suffix << "]=";
    for (int provider : providers) out << provider << ',';
  }
  return out.str();
}

std::string ToString(const CandidatesRequest& request) {
  std::ostringstream out;
  for (const RequestGroup& group : request.groups) {
    out << "  group '" << group.suffix << "'";
    for (const ResourceAmount& resource : group.resources)
      out << ' ' << resource.resource_class << ':' << resource.amount;
    for (const auto& any : group.filter.required_traits) {
      out << " required in:";
      for (const std::string& trait : any) out << trait << ',';
    }
    for (const std::string& trait : group.filter.forbidden_traits) out << " !" << trait;
    for (const auto& any : group.filter.member_of) {
      out << " member_of in:";
      for (const Uuid& one : any) out << int{one.bytes[15]} << ',';
    }
    for (const Uuid& one : group.filter.forbidden_aggregates) out << " member_of !" << int{one.bytes[15]};
    if (group.filter.in_tree) out << " in_tree " << int{group.filter.in_tree->bytes[15]};
    out << '\n';
  }
  out << "  isolate " << (request.group_policy == GroupPolicy::kIsolate) << " nested_aware "
      << request.nested_aware;
  for (const std::string& trait : request.root_required) out << " root " << trait;
  for (const std::string& trait : request.root_forbidden) out << " root !" << trait;
  for (const auto& subtree : request.same_subtrees) {
    out << " same_subtree ";
    for (const std::string& suffix : subtree) out << suffix << ',';
  }
  if (request.limit) out << " limit " << *request.limit;
  out << '\n';
  return out.str();
}

}  // namespace berth::placement::testing
