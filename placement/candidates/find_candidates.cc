#include <algorithm>
#include <unordered_set>

#include "placement/candidates/candidates.h"
#include "placement/candidates/resolve.h"
#include "placement/candidates/sharing.h"
#include "placement/candidates/tree_filter.h"
#include "placement/candidates/tree_search.h"

namespace berth::placement {
namespace {

// A tree that has given a candidate and may have more.
struct Pending {
  TreeSlot anchor = 0;
  uint32_t found = 0;                  // candidates taken from its generator in the first round
  std::unique_ptr<TreeSearch> search;  // from the second round on
};

class Finder {
 public:
  Finder(const ResourceView& view, const CandidatesRequest& request, const ResolvedRequest& resolved)
      : request_(request),
        resolved_(resolved),
        sharing_(view, resolved),
        context_{view, resolved_, sharing_, request.max_steps} {}

  CandidatesAnswer Find() {
    FirstRound();
    while (!pending_.empty() && !Full() && !context_.gave_up) NextRound();
    AddSummaries();
    answer_.gave_up = context_.gave_up;
    return std::move(answer_);
  }

 private:
  bool Full() const { return request_.limit && answer_.candidates.size() >= *request_.limit; }

  // Every tree in question gives its first candidate. Generators are not kept: with a small limit nobody
  // comes back.
  void FirstRound() {
    const std::vector<uint64_t> trees = TreesInQuestion(context_.view, resolved_, sharing_);
    const size_t slots = context_.view.slots();
    if (slots == 0) return;
    const size_t first = request_.first_tree % slots;
    TreeSearch search;
    const auto visit = [&](size_t begin, size_t end) {
      for (size_t slot = begin; slot < end && !Full() && !context_.gave_up; ++slot) {
        const uint64_t word = slot / 64 < trees.size() ? trees[slot / 64] >> (slot % 64) : 0;
        if (word == 0) {
          slot |= 63;  // nothing in the rest of the word
          continue;
        }
        slot += static_cast<size_t>(std::countr_zero(word));
        if (slot >= end) break;
        const auto anchor = static_cast<TreeSlot>(slot);
        if (!MayHaveRoom(anchor) || !search.Start(context_, anchor)) continue;
        uint32_t found = 0;
        if (TakeOne(search, anchor, found)) pending_.push_back({anchor, found, nullptr});
      }
    };
    visit(first, slots);
    visit(0, first);
  }

  // Sharing providers aside, each amount must be left with some provider of the tree: told without a look at
  // the tree.
  bool MayHaveRoom(TreeSlot anchor) const {
    for (uint32_t i = 0; i < resolved_.slots.size(); ++i) {
      if (sharing_.AnyServes(i)) continue;
      for (const ResolvedAmount& amount : resolved_.slots[i].resources) {
        if (context_.view.MostRoom(amount.resource_class, anchor) < amount.amount) return false;
      }
    }
    return true;
  }

  void NextRound() {
    size_t kept = 0;
    for (Pending& tree : pending_) {
      if (Full() || context_.gave_up) return;
      if (tree.search == nullptr) {
        tree.search = std::make_unique<TreeSearch>();
        CHECK(tree.search->Start(context_, tree.anchor));
        for (uint32_t i = 0; i < tree.found; ++i) {
          if (!tree.search->Next(context_)) return;  // only when the steps are used up
        }
      }
      uint32_t found = 0;
      if (TakeOne(*tree.search, tree.anchor, found)) {
        std::swap(pending_[kept], tree);
        ++kept;
      }
    }
    pending_.resize(kept);
  }

  // The next candidate that no other tree has given.
  bool TakeOne(TreeSearch& search, TreeSlot anchor, uint32_t& found) {
    while (search.Next(context_)) {
      ++found;
      if (search.all_sharing() && !shared_seen_.insert(KeyOf(search)).second) continue;
      if (answer_.allocations.size() + answer_.mappings.size() >= request_.max_entries) {
        context_.gave_up = true;
        return false;
      }
      Add(search, anchor);
      return true;
    }
    return false;
  }

  // Who serves each slot determines the candidate, and the other way round.
  std::string KeyOf(const TreeSearch& search) const {
    std::string key;
    for (uint32_t slot = 0; slot < resolved_.slots.size(); ++slot) {
      const ProviderPlace place = search.ProviderOf(slot);
      key.append(reinterpret_cast<const char*>(&place), sizeof place);
    }
    return key;
  }

  void Add(const TreeSearch& search, TreeSlot anchor) {
    const size_t allocations = answer_.allocations.size();
    const size_t mappings = answer_.mappings.size();
    for (uint32_t i = 0; i < resolved_.slots.size(); ++i) {
      const CandidateSlot& slot = resolved_.slots[i];
      const ProviderPlace place = search.ProviderOf(i);
      answer_.mappings.push_back({slot.group, place});
      for (const ResolvedAmount& amount : slot.resources) AddAmount(allocations, place, amount);
    }
    std::sort(answer_.allocations.begin() + static_cast<ptrdiff_t>(allocations), answer_.allocations.end(),
              [](const auto& a, const auto& b) {
                return std::tie(a.provider, a.resource_class) < std::tie(b.provider, b.resource_class);
              });
    const auto mapped = answer_.mappings.begin() + static_cast<ptrdiff_t>(mappings);
    std::sort(mapped, answer_.mappings.end(), [](const auto& a, const auto& b) {
      return std::tie(a.group, a.provider) < std::tie(b.group, b.provider);
    });
    const auto same = [](const auto& a, const auto& b) {
      return a.group == b.group && a.provider == b.provider;
    };
    answer_.mappings.erase(std::unique(mapped, answer_.mappings.end(), same), answer_.mappings.end());
    answer_.candidates.push_back({anchor, static_cast<uint32_t>(answer_.allocations.size()),
                                  static_cast<uint32_t>(answer_.mappings.size())});
  }

  void AddAmount(size_t begin, ProviderPlace place, const ResolvedAmount& amount) {
    for (size_t i = begin; amount.elsewhere && i < answer_.allocations.size(); ++i) {
      CandidatesAnswer::Allocation& there = answer_.allocations[i];
      if (there.provider == place && there.resource_class == amount.resource_class) {
        there.amount += amount.amount;
        return;
      }
    }
    answer_.allocations.push_back({place, amount.resource_class, amount.amount});
  }

  void AddSummaries() {
    if (!resolved_.nested_aware) {
      for (const auto& allocation : answer_.allocations) answer_.summaries.push_back(allocation.provider);
      std::ranges::sort(answer_.summaries);
      answer_.summaries.erase(std::ranges::unique(answer_.summaries).begin(), answer_.summaries.end());
      return;
    }
    std::vector<bool> seen(context_.view.slots());
    for (const auto& allocation : answer_.allocations) {
      const TreeSlot slot = allocation.provider.tree;
      if (seen[slot]) continue;
      seen[slot] = true;
      const uint32_t size = context_.view.tree(slot)->size();
      for (uint32_t provider = 0; provider < size; ++provider) answer_.summaries.push_back({slot, provider});
    }
  }

  const CandidatesRequest& request_;
  const ResolvedRequest& resolved_;
  SharingProviders sharing_;
  SearchContext context_;
  std::vector<Pending> pending_;
  std::unordered_set<std::string> shared_seen_;
  CandidatesAnswer answer_;
};

}  // namespace

Result<CandidatesAnswer> FindCandidates(const ResourceView& view, const CandidatesRequest& request) {
  TRY_ASSIGN(const ResolvedRequest resolved, Resolve(view, request));
  if (resolved.never) return CandidatesAnswer{};
  return Finder(view, request, resolved).Find();
}

}  // namespace berth::placement
