#include <algorithm>

#include "placement/engine/engine.h"

namespace berth::placement {

Result<std::unique_ptr<Engine>> Engine::Restore(const db::Contents& contents, uint32_t most_names) {
  std::unique_ptr<Engine> engine(new Engine(most_names));
  engine->sequence_ = engine->committed_sequence_ = contents.sequence;
  TRY(engine->RestoreHosts(contents));
  TRY(engine->RestoreClaims(contents));
  TRY(engine->resources_.Restore(contents));
  engine->Commit();
  return engine;
}

Status Engine::RestoreHosts(const db::Contents& contents) {
  for (const db::HostRecord& record : contents.hosts) {
    auto host = std::make_shared<HostVersion>();
    host->reported = record.reported;
    host->report = record.effective;
    host->generation = record.generation;
    if (Status status = ValidateReport(*record.effective); !status.ok()) {
      return DataLoss("stored host " + record.effective->name + ": " + status.ToString());
    }
    if (FindHost(host->uuid()) != nullptr || host_names_.Find(host->report->name) != nullptr) {
      return DataLoss("stored host " + host->report->name + " is there twice");
    }
    Uuid uuid = host->uuid();
    host_names_.Put(host->report->name, uuid);
    hosts_.Put(uuid, std::move(host));
  }
  return OkStatus();
}

Status Engine::RestoreClaims(const db::Contents& contents) {
  for (const auto& claim : contents.claims) {
    std::string name = "stored claim \"" + claim->name + "\" ";
    const Version* version = hosts_.Find(claim->host);
    if (version == nullptr) return DataLoss(name + "is on the unknown host " + claim->host.ToString());
    if (claim_hosts_.Find(claim->consumer) != nullptr || claim_names_.Find(claim->name) != nullptr) {
      return DataLoss(name + "is there twice");
    }
    HostVersion& host = **version;
    for (const DeviceBinding& device : claim->devices) {
      if (host.usage.devices.contains(device.address)) {
        return DataLoss(name + "and another one hold device " + device.address.ToString());
      }
    }
    for (const CellBinding& cell : claim->cells) {
      CpuSet cpus = cell.reserved;
      for (const auto& pin : cell.pinning) cpus.Add(pin.second);
      if (host.usage.cells.contains(cell.host_cell) &&
          host.usage.cells[cell.host_cell].pinned_cpus.Intersects(cpus)) {
        return DataLoss(name + "and another one hold CPUs of " + cpus.ToString());
      }
    }
    AddClaim(*claim, host.usage);
    host.claims.insert(host.ClaimAt(claim->consumer), claim);
    claim_hosts_.Put(claim->consumer, claim->host);
    claim_names_.Put(claim->name, claim->consumer);
    if (claim->group) groups_.Add(*claim->group, claim->host);
  }
  return OkStatus();
}

std::vector<std::shared_ptr<const HostVersion>> Engine::Hosts() const {
  std::vector<std::shared_ptr<const HostVersion>> hosts;
  hosts.reserve(hosts_.size());
  for (const auto& [uuid, version] : hosts_.map()) hosts.push_back(version);
  return hosts;
}

std::vector<db::Change> Engine::AllChanges() const {
  db::Contents contents = Export();
  std::vector<db::Change> changes;
  for (const db::HostRecord& host : contents.hosts) changes.emplace_back(db::PutHost{host});
  for (const auto& claim : contents.claims) changes.emplace_back(db::PutClaim{claim});
  for (db::NameRecord& name : contents.names) changes.emplace_back(db::PutName{std::move(name)});
  const ResourceView& view = resources_.view();
  for (TreeSlot slot = 0; slot < view.slots(); ++slot) {
    const auto& tree = view.tree(slot);
    if (!tree) continue;
    for (uint32_t i = 0; i < tree->size(); ++i) changes.emplace_back(db::PutProvider{tree, i});
    changes.emplace_back(db::PutGenerations{tree});
  }
  for (auto& consumer : contents.consumers) changes.emplace_back(db::PutConsumer{std::move(consumer)});
  return changes;
}

db::Contents Engine::Export() const {
  db::Contents contents;
  contents.sequence = committed_sequence_;
  for (const auto& [uuid, host] : hosts_.map()) {
    contents.hosts.push_back(
        {.generation = host->generation, .reported = host->reported, .effective = host->report});
    contents.claims.insert(contents.claims.end(), host->claims.begin(), host->claims.end());
  }
  resources_.Export(contents);
  std::sort(contents.hosts.begin(), contents.hosts.end(),
            [](const auto& a, const auto& b) { return a.effective->uuid < b.effective->uuid; });
  std::sort(contents.claims.begin(), contents.claims.end(),
            [](const auto& a, const auto& b) { return a->consumer < b->consumer; });
  return contents;
}

}  // namespace berth::placement
