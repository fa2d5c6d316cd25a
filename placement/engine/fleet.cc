#include "placement/engine/fleet.h"

#include <algorithm>
#include <mutex>

namespace berth::placement {
namespace {

uint64_t HashOf(const Uuid& uuid) {
  return std::hash<Uuid>()(uuid);
}
uint64_t HashOf(const std::string& name) {
  return std::hash<std::string>()(name);
}

}  // namespace

Fleet::Fleet()
    : directory_(std::make_shared<const Directory>()), resources_(std::make_shared<const ResourceView>()) {}

const Fleet::Entry* Fleet::FindEntry(const Directory& directory, const Uuid& uuid) {
  return directory.by_uuid.Find(HashOf(uuid),
                                [&](const Entry& entry) { return entry.report()->uuid == uuid; });
}

const Fleet::Entry* Fleet::FindEntry(const Directory& directory, const std::string& name) {
  return directory.by_name.Find(HashOf(name),
                                [&](const Entry& entry) { return entry.report()->name == name; });
}

Fleet::Version Fleet::Host(const Uuid& uuid) const {
  auto directory = directory_.load();
  const Entry* entry = FindEntry(*directory, uuid);
  return entry == nullptr ? nullptr : entry->slot->version.load();
}

Fleet::Version Fleet::HostByName(const std::string& name) const {
  auto directory = directory_.load();
  const Entry* entry = FindEntry(*directory, name);
  return entry == nullptr ? nullptr : entry->slot->version.load();
}

Fleet::Version Fleet::FindHost(const std::string& uuid_or_name) const {
  if (Result<Uuid> uuid = Uuid::Parse(uuid_or_name)) {
    if (Version version = Host(*uuid)) return version;
  }
  return HostByName(uuid_or_name);
}

std::vector<Fleet::Version> Fleet::Hosts() const {
  auto directory = directory_.load();
  std::vector<Version> hosts;
  hosts.reserve(directory->by_name.size());
  directory->by_name.ForEach([&](const Entry& entry) { hosts.push_back(entry.slot->version.load()); });
  std::sort(hosts.begin(), hosts.end(),
            [](const Version& a, const Version& b) { return a->report->name < b->report->name; });
  return hosts;
}

std::shared_ptr<const Claim> Fleet::FindClaim(const std::string& consumer_or_name) const {
  Uuid consumer;
  if (Result<Uuid> uuid = Uuid::Parse(consumer_or_name)) consumer = *uuid;
  for (int attempt = 0; attempt < 2; ++attempt) {
    if (!consumer.is_nil()) {
      Shard& shard = ConsumerShard(consumer);
      std::shared_lock lock(shard.mutex);
      auto at = shard.by_consumer.find(consumer);
      if (at != shard.by_consumer.end()) return at->second;
    }
    Shard& shard = NameShard(consumer_or_name);
    std::shared_lock lock(shard.mutex);
    auto at = shard.by_name.find(consumer_or_name);
    if (at == shard.by_name.end()) return nullptr;
    consumer = at->second;
  }
  return nullptr;
}

std::vector<std::shared_ptr<const Claim>> Fleet::ClaimsOf(const std::vector<Version>& hosts) {
  std::vector<std::shared_ptr<const Claim>> claims;
  for (const Version& host : hosts) claims.insert(claims.end(), host->claims.begin(), host->claims.end());
  std::sort(claims.begin(), claims.end(), [](const auto& a, const auto& b) { return a->name < b->name; });
  return claims;
}

void Fleet::PutClaim(const std::shared_ptr<const Claim>& claim) {
  {
    Shard& shard = ConsumerShard(claim->consumer);
    std::unique_lock lock(shard.mutex);
    shard.by_consumer[claim->consumer] = claim;
  }
  Shard& shard = NameShard(claim->name);
  std::unique_lock lock(shard.mutex);
  shard.by_name[claim->name] = claim->consumer;
}

void Fleet::DropClaim(const Claim& claim) {
  {
    Shard& shard = ConsumerShard(claim.consumer);
    std::unique_lock lock(shard.mutex);
    auto at = shard.by_consumer.find(claim.consumer);
    // Of a claim that has moved, the new host was told before the end at the old one.
    if (at == shard.by_consumer.end() || at->second->host != claim.host) return;
    shard.by_consumer.erase(at);
  }
  Shard& shard = NameShard(claim.name);
  std::unique_lock lock(shard.mutex);
  auto at = shard.by_name.find(claim.name);
  if (at != shard.by_name.end() && at->second == claim.consumer) shard.by_name.erase(at);
}

void Fleet::Load(const std::vector<Version>& hosts, const ResourceView& resources) {
  resources_.store(std::make_shared<const ResourceView>(resources));
  Engine::Committed all;
  all.hosts = hosts;
  PublishHosts(all);
  for (const Version& host : hosts) {
    for (const auto& claim : host->claims) PutClaim(claim);
  }
}

void Fleet::PublishHosts(const Engine::Committed& committed) {
  std::shared_ptr<const Directory> current = directory_.load();
  std::shared_ptr<Directory> next;
  const EditId id = NewEditId();
  auto edit = [&]() -> Directory& {
    if (!next) next = std::make_shared<Directory>(*current);
    return *next;
  };
  auto find = [&](const Uuid& uuid) { return FindEntry(next ? *next : *current, uuid); };
  auto forget = [&](const Uuid& uuid) {
    const Entry* known = find(uuid);
    if (known == nullptr) return;
    const std::shared_ptr<Slot> slot = known->slot;
    const std::string name = slot->version.load()->report->name;
    auto is_it = [&](const Entry& entry) { return entry.slot == slot; };
    // The name may belong to another host by now.
    edit().by_name.Erase(id, HashOf(name), is_it);
    edit().by_uuid.Erase(id, HashOf(uuid), is_it);
  };
  for (const Uuid& uuid : committed.deleted_hosts) forget(uuid);
  for (const Version& host : committed.hosts) {
    const Entry* known = find(host->uuid());
    if (known != nullptr && known->report()->name == host->report->name) {
      known->slot->version.store(host);
      continue;
    }
    // A slot of its own for a new name: readers of the old directory keep seeing what fits to it.
    forget(host->uuid());
    auto slot = std::make_shared<Slot>();
    slot->version.store(host);
    edit().by_uuid.Add(id, {HashOf(host->uuid()), slot});
    const uint64_t named = HashOf(host->report->name);
    edit().by_name.Put(id, {named, slot},
                       [&](const Entry& entry) { return entry.report()->name == host->report->name; });
  }
  if (next) directory_.store(std::move(next));
}

void Fleet::Publish(const Engine::Committed& committed) {
  if (committed.resources) resources_.store(committed.resources);
  PublishHosts(committed);
  for (const auto& event : committed.events) {
    if (event->kind == EventKind::kClaimChanged) PutClaim(event->claim);
    if (event->kind == EventKind::kClaimDeleted) DropClaim(*event->claim);
  }
}

}  // namespace berth::placement
