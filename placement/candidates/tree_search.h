#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "placement/candidates/candidates.h"
#include "placement/candidates/resolve.h"
#include "placement/candidates/sharing.h"
#include "placement/model/resource_view.h"

namespace berth::placement {

// What all searches of one request share.
struct SearchContext {
  const ResourceView& view;
  const ResolvedRequest& request;
  const SharingProviders& sharing;
  uint64_t max_steps = 0;
  uint64_t steps = 0;  // taken so far without finding anything
  bool gave_up = false;
};

// Generates the candidates for one anchor, one at a time, by backtracking over the slots of the request.
// Holds on to the tree of the view by pointer. May be started again for another tree and then keeps its
// memory.
class TreeSearch {
 public:
  // False: the tree has no candidate, without any search.
  bool Start(SearchContext& context, TreeSlot anchor);
  // Finds the next candidate; false: there is none left, or the request's steps are used up.
  bool Next(SearchContext& context);

  // Of the candidate found last: who serves a slot, and whether all who serve are sharing providers (so that
  // the same candidate may be found for another anchor).
  ProviderPlace ProviderOf(uint32_t slot) const { return places_[serves_[slot]]; }
  bool all_sharing() const;

 private:
  // An item is a provider that may serve: those of the tree by their index, then the sharing providers from
  // outside.
  using Item = uint32_t;
  static constexpr uint32_t kUnassigned = UINT32_MAX;

  bool FindServers(const SearchContext& context);
  bool MayServe(const SearchContext& context, Item item, uint32_t slot) const;
  bool PrepareTraits(const SearchContext& context);
  void ChooseOrder();

  bool Advance(SearchContext& context, uint32_t depth);
  bool Viable(const SearchContext& context, uint32_t slot, Item item) const;
  bool HasRoom(uint32_t slot, Item item) const;
  bool KeepsSubtree(uint32_t subtree, uint32_t slot, Item item) const;
  bool KeepsTraits(uint32_t slot, Item item) const;
  void Assign(uint32_t slot, Item item);
  void Unassign(uint32_t slot);

  // Pruning that is worth its cost only where the search has run into a dead end.
  void NoteFailure(SearchContext& context, uint32_t depth);
  bool IsKnownFailure(uint32_t depth, Item item) const;
  void FindKinds(SearchContext& context);
  bool EnoughSupply() const;
  bool CanIsolateRest(SearchContext& context, uint32_t depth);
  bool FindPartner(uint32_t slot, SearchContext& context);

  const ProviderTree& TreeOf(Item item) const { return *trees_[item]; }
  std::span<const Item> Servers(uint32_t slot) const {
    return {servers_.data() + servers_begin_[slot], servers_.data() + servers_begin_[slot + 1]};
  }
  bool IsAncestorOrSelf(Item ancestor, Item item) const;

  const ResolvedRequest* request_ = nullptr;
  const ProviderTree* tree_ = nullptr;
  TreeSlot anchor_ = 0;
  TraitId sharing_trait_{};
  bool root_in_aggregates_ = false;

  std::vector<ProviderPlace> places_;       // [item]
  std::vector<const ProviderTree*> trees_;  // [item]
  std::vector<uint32_t> guests_;            // numbers of the sharing providers among the items
  std::vector<Item> servers_;               // who may serve: of each slot in turn, ascending
  std::vector<uint32_t> servers_begin_;     // [slot], and the end
  std::vector<uint8_t> meets_;              // [item][required of the unnumbered group]
  std::vector<uint8_t> slot_can_meet_;      // [slot][required of the unnumbered group]

  std::vector<uint32_t> order_;                // slots by depth
  std::vector<Item> serves_;                   // [slot]; kUnassigned
  std::vector<uint32_t> uses_;                 // [item]: by how many slots
  std::vector<uint32_t> isolated_;             // [item]: by how many suffixed groups
  std::vector<uint32_t> cursor_;               // [depth]: the next server to try
  std::vector<uint8_t> fruitful_;              // [depth]: the present choice has led to a candidate
  std::vector<std::vector<uint32_t>> failed_;  // [depth]: kinds of servers that led to none
  bool started_ = false;
  bool dead_ends_ = false;
  uint32_t depth_ = 0;
  std::vector<uint32_t> kinds_;    // [item]; empty until needed
  std::vector<uint32_t> partner_;  // [item]: the slot that a matching gives it
  std::vector<uint32_t> visited_;  // [item]: round of the matching
  uint32_t round_ = 0;
};

}  // namespace berth::placement
