#include "placement/candidates/candidates.h"
#include "placement/candidates/resolve.h"
#include "placement/candidates/serve.h"
#include "placement/candidates/tree_filter.h"

namespace berth::placement {

Result<std::vector<ProviderPlace>> FindProviders(const ResourceView& view, const ProviderQuery& query) {
  TRY_ASSIGN(const std::vector<ResolvedAmount> amounts, Resolve(view, query.resources));
  TRY_ASSIGN(const ResolvedFilter filter, Resolve(view, query.filter));
  std::vector<ProviderPlace> found;
  if (filter.never) return found;
  const auto look_at = [&](TreeSlot slot, uint32_t provider) {
    const ProviderTree& tree = *view.tree(slot);
    if (query.uuid && *query.uuid != tree.uuid(provider)) return;
    if (query.name && *query.name != tree.name(provider)) return;
    if (filter.in_tree && *filter.in_tree != slot) return;
    if (Fits(tree, provider, amounts) && MeetsFilter(tree, provider, filter))
      found.push_back({slot, provider});
  };
  if (query.uuid || query.name) {  // at most one has it
    const ProviderRef one =
        query.uuid ? view.FindProvider(*query.uuid) : view.FindProvider(std::string_view(*query.name));
    if (one) look_at(one.slot, one.index);
    return found;
  }
  const std::vector<uint64_t> trees = TreesInQuestion(view, filter, amounts);
  for (TreeSlot slot = 0; slot < view.slots(); ++slot) {
    if ((trees[slot / 64] >> (slot % 64) & 1) == 0) continue;
    const uint32_t size = view.tree(slot)->size();
    for (uint32_t provider = 0; provider < size; ++provider) look_at(slot, provider);
  }
  return found;
}

}  // namespace berth::placement
