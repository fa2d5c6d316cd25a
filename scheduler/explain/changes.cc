#include "scheduler/explain/changes.h"

#include <algorithm>

namespace berth::scheduler {

Changes FindChanges(const KnownHosts& hosts, const Wish& wish, const RequestSpec& spec,
                    const AliasTable& aliases, const Reasons& reasons, const FlavorSpecs& flavors,
                    const ChangeOptions& options) {
  Changes out;
  if (hosts.empty() || reasons.fitting > 0) return out;
  out.changes = ChangesOfWish(hosts, wish, spec, aliases);
  ChangesOfHosts(hosts, spec, reasons, flavors, options, out);
  std::stable_sort(out.changes.begin(), out.changes.end(),
                   [](const Change& a, const Change& b) { return a.kind < b.kind; });
  return out;
}

}  // namespace berth::scheduler
