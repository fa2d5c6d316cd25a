#pragma once

#include <array>
#include <memory>
#include <shared_mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "common/persistent_hash.h"
#include "common/published.h"
#include "placement/engine/engine.h"
#include "placement/engine/host_version.h"

namespace berth::placement {

// What readers see: the durable state, host by host. Publishing (the writer thread only) exchanges pointers;
// readers keep the versions that they have, so that a long answer never holds the writer up. Thread-safe.
class Fleet {
 public:
  using Version = std::shared_ptr<const HostVersion>;

  Fleet();

  // nullptr: unknown.
  Version Host(const Uuid& uuid) const;
  Version HostByName(const std::string& name) const;
  // By UUID or by name.
  Version FindHost(const std::string& uuid_or_name) const;
  // Ascending by name.
  std::vector<Version> Hosts() const;
  // By the consumer's UUID or the instance's name; nullptr: unknown.
  std::shared_ptr<const Claim> FindClaim(const std::string& consumer_or_name) const;
  // The Placement model (providers, consumers ...) as of the last commit; never nullptr.
  std::shared_ptr<const ResourceView> resources() const { return resources_.load(); }
  // Ascending by name: of one host, or of all.
  static std::vector<std::shared_ptr<const Claim>> ClaimsOf(const std::vector<Version>& hosts);

  // All at once at the start; then what each commit has changed.
  void Load(const std::vector<Version>& hosts, const ResourceView& resources);
  void Publish(const Engine::Committed& committed);

 private:
  struct Slot {
    Published<HostVersion> version;
  };
  // A host's slot for as long as it keeps its name; shared by the directories that know it.
  struct Entry {
    uint64_t hash = 0;  // of the UUID or the name
    std::shared_ptr<Slot> slot;

    std::shared_ptr<const HostReport> report() const { return slot->version.load()->report; }
  };
  struct EntryHash {
    uint64_t operator()(const Entry& entry) const { return entry.hash; }
  };
  using Entries = PersistentHash<Entry, EntryHash>;
  // Changes only when hosts come, go or change their names; directories share what does not differ, so that a
  // host that comes to a large fleet costs no more than one that comes to a small one.
  struct Directory {
    Entries by_uuid;
    Entries by_name;
  };
  // Instances by consumer and name. Spread, so that readers and the writer seldom meet on a lock.
  struct Shard {
    mutable std::shared_mutex mutex;
    std::unordered_map<Uuid, std::shared_ptr<const Claim>> by_consumer;
    std::unordered_map<std::string, Uuid> by_name;
  };
  static constexpr size_t kShards = 64;

  Shard& ConsumerShard(const Uuid& consumer) const { return shards_[std::hash<Uuid>()(consumer) % kShards]; }
  Shard& NameShard(const std::string& name) const {
    return shards_[std::hash<std::string>()(name) % kShards];
  }
  void PutClaim(const std::shared_ptr<const Claim>& claim);
  void DropClaim(const Claim& claim);
  static const Entry* FindEntry(const Directory& directory, const Uuid& uuid);
  static const Entry* FindEntry(const Directory& directory, const std::string& name);
  void PublishHosts(const Engine::Committed& committed);

  Published<Directory> directory_;
  Published<ResourceView> resources_;
  mutable std::array<Shard, kShards> shards_;
};

}  // namespace berth::placement
