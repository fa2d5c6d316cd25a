#include "placement/engine/fleet.h"

#include <algorithm>
#include <mutex>

namespace berth::placement {

Fleet::Fleet()
    : directory_(std::make_shared<const Directory>()), resources_(std::make_shared<const ResourceView>()) {}

Fleet::Version Fleet::Host(const Uuid& uuid) const {
  auto directory = directory_.load();
  auto at = directory->by_uuid.find(uuid);
  return at == directory->by_uuid.end() ? nullptr : at->second->version.load();
}

Fleet::Version Fleet::HostByName(const std::string& name) const {
  auto directory = directory_.load();
  auto at = directory->by_name.find(name);
  return at == directory->by_name.end() ? nullptr : at->second->version.load();
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
  for (const auto& [name, slot] : directory->by_name) hosts.push_back(slot->version.load());
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
    Shard& shard = NameShard(claim.name);
    std::unique_lock lock(shard.mutex);
    shard.by_name.erase(claim.name);
  }
  Shard& shard = ConsumerShard(claim.consumer);
  std::unique_lock lock(shard.mutex);
  shard.by_consumer.erase(claim.consumer);
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
  auto edit = [&]() -> Directory& {
    if (!next) next = std::make_shared<Directory>(*current);
    return *next;
  };
  auto forget = [&](const Uuid& uuid) {
    Directory& directory = edit();
    auto at = directory.by_uuid.find(uuid);
    if (at == directory.by_uuid.end()) return;
    // The name may belong to another host by now.
    auto named = directory.by_name.find(at->second->version.load()->report->name);
    if (named != directory.by_name.end() && named->second == at->second) directory.by_name.erase(named);
    directory.by_uuid.erase(at);
  };
  for (const Uuid& uuid : committed.deleted_hosts) forget(uuid);
  for (const Version& host : committed.hosts) {
    const Directory& directory = next ? *next : *current;
    auto at = directory.by_uuid.find(host->uuid());
    if (at != directory.by_uuid.end() && at->second->version.load()->report->name == host->report->name) {
      at->second->version.store(host);
      continue;
    }
    // A slot of its own for a new name: readers of the old directory keep seeing what fits to it.
    forget(host->uuid());
    auto slot = std::make_shared<Slot>();
    slot->version.store(host);
    edit().by_uuid[host->uuid()] = slot;
    edit().by_name[host->report->name] = slot;
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
