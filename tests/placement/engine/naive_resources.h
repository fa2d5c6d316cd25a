#pragma once

#include <map>
#include <set>
#include <string>
#include <utility>

#include "common/uuid.h"
#include "placement/engine/resource_command.h"

// The Placement model as maps, for tests of the engine.
namespace berth::placement::testing {

using Key = std::pair<Uuid, std::string>;  // provider, class

struct NaiveProvider {
  std::string name;
  Uuid parent;
  uint64_t generation = 0;
  std::map<std::string, InventoryInput> inventories;
  std::set<std::string> traits;
  std::set<Uuid> aggregates;
};
struct NaiveConsumer {
  uint64_t generation = 0;
  std::map<Key, int64_t> allocations;
};

// Clients' providers and the consumers that REST made. What lies on hosts' trees it takes from the engine's
// word.
struct Naive {
  std::map<Uuid, NaiveProvider> providers;
  std::map<Uuid, NaiveConsumer> consumers;

  int64_t Used(const Key& key, const std::set<Uuid>& without = {}) const {
    int64_t sum = 0;
    for (const auto& [uuid, consumer] : consumers) {
      auto at = consumer.allocations.find(key);
      if (at != consumer.allocations.end() && !without.contains(uuid)) sum += at->second;
    }
    return sum;
  }
  bool Below(const Uuid& provider, const Uuid& root) const {
    for (Uuid at = provider;;) {
      if (at == root) return true;
      auto known = providers.find(at);
      if (known == providers.end()) return false;  // above a root, or of a host
      at = known->second.parent;
    }
  }
  bool HasName(const std::string& name, const Uuid& but) const {
    for (const auto& [uuid, provider] : providers) {
      if (uuid != but && provider.name == name) return true;
    }
    return false;
  }
};

}  // namespace berth::placement::testing
