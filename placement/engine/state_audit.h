#pragma once

#include <string>
#include <vector>

#include "db/store.h"
#include "placement/engine/engine.h"

namespace berth::placement {

struct AuditFinding {
  bool error = false;  // false: worth a look, but possible (more used than there is)
  std::string text;
};

// Counts everything anew, from the store's records alone and in the simplest way, and compares with what the
// engine made of them: what is used of each inventory, usages by project, user and type, the trees of hosts
// with their reports, claims with allocations, indexes. `engine` must be restored from `contents`.
std::vector<AuditFinding> AuditState(const Engine& engine, const db::Contents& contents);

}  // namespace berth::placement
