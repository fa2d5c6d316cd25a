#pragma once

#include <map>
#include <memory>
#include <string>

#include "db/store.h"

namespace berth::db {

// What the fake stores on: outlives every FakeStore that is opened on it, as a disk outlives processes.
struct FakeDisk {
  std::map<Uuid, HostRecord> hosts;
  std::map<Uuid, std::shared_ptr<const placement::Claim>> claims;
  std::map<uint64_t, std::shared_ptr<const Event>> events;
  std::map<std::pair<NameKind, uint32_t>, NameRecord> names;
  std::map<Uuid, ProviderRecord> providers;
  std::map<Uuid, std::vector<uint64_t>> generations;
  std::map<Uuid, std::shared_ptr<const placement::Consumer>> consumers;
  std::map<uint64_t, AuditRecord> audit;
  uint64_t sequence = 0;
  uint64_t epoch = 0;
  uint64_t appends = 0;  // that became durable
};

// A Store in memory with the faults of a real one. Passes the contract tests of
// tests/db/store_contract_test.cc.
class FakeStore final : public Store {
 public:
  // The next Append ...
  enum class Fault {
    kNone,
    kFull,               // ... fails with kResourceExhausted; nothing is stored
    kCrashBeforeCommit,  // ... fails with kUnknown; nothing is stored
    kCrashAfterCommit,   // ... fails with kUnknown; the batch is stored
  };

  explicit FakeStore(std::shared_ptr<FakeDisk> disk) : disk_(std::move(disk)), epoch_(++disk_->epoch) {}

  void FailNext(Fault fault) { fault_ = fault; }

  Result<Contents> Load() override {
    Contents contents;
    for (const auto& [uuid, host] : disk_->hosts) contents.hosts.push_back(host);
    for (const auto& [consumer, claim] : disk_->claims) contents.claims.push_back(claim);
    for (const auto& [sequence, event] : disk_->events) contents.events.push_back(event);
    contents.sequence = disk_->sequence;
    for (const auto& [key, name] : disk_->names) contents.names.push_back(name);
    for (const auto& [uuid, provider] : disk_->providers) contents.providers.push_back(provider);
    for (const auto& [root, list] : disk_->generations) contents.generations.push_back({root, list});
    for (const auto& [uuid, consumer] : disk_->consumers) contents.consumers.push_back(consumer);
    if (!disk_->audit.empty()) {
      contents.first_audit = disk_->audit.begin()->first;
      contents.audit = disk_->audit.rbegin()->first;
    }
    return contents;
  }

  Status Append(const Batch& batch) override {
    TRY(broken_);
    if (epoch_ != disk_->epoch) return FailedPrecondition("store fake has been taken over");
    Fault fault = std::exchange(fault_, Fault::kNone);
    if (fault == Fault::kFull) return ResourceExhausted("store fake: database or disk is full");
    if (fault != Fault::kNone) broken_ = Status(StatusCode::kUnknown, "store fake: sync failed");
    if (fault == Fault::kCrashBeforeCommit) return broken_;
    FakeDisk after = *disk_;
    for (const Change& change : batch.changes) {
      if (Status status = Put(after, change); !status.ok()) return status;
    }
    after.events.erase(after.events.begin(), after.events.upper_bound(batch.drop_events_through));
    after.audit.erase(after.audit.begin(), after.audit.upper_bound(batch.drop_audit_through));
    after.sequence = batch.sequence;
    ++after.appends;
    *disk_ = std::move(after);
    return broken_;
  }

  Status Verify() override { return OkStatus(); }
  Result<std::vector<AuditRecord>> ReadAudit(size_t limit) override {
    std::vector<AuditRecord> records;
    for (auto at = disk_->audit.rbegin(); at != disk_->audit.rend() && records.size() < limit; ++at) {
      records.push_back(at->second);
    }
    return records;
  }
  uint64_t epoch() const override { return epoch_; }
  std::string Describe() const override { return "fake"; }

 private:
  static Status Put(FakeDisk& disk, const Change& change) {
    if (const auto* host = std::get_if<PutHost>(&change)) disk.hosts[host->host.effective->uuid] = host->host;
    if (const auto* generation = std::get_if<PutGeneration>(&change)) {
      auto host = disk.hosts.find(generation->host);
      if (host != disk.hosts.end()) host->second.generation = generation->generation;
    }
    if (const auto* gone = std::get_if<DeleteHost>(&change)) {
      for (const auto& [consumer, claim] : disk.claims) {
        if (claim->host == gone->host) return Internal("store fake: host of a claim is deleted");
      }
      disk.hosts.erase(gone->host);
    }
    if (const auto* claim = std::get_if<PutClaim>(&change)) {
      if (!disk.hosts.contains(claim->claim->host)) return Internal("store fake: claim on an unknown host");
      disk.claims[claim->claim->consumer] = claim->claim;
    }
    if (const auto* gone = std::get_if<DeleteClaim>(&change)) disk.claims.erase(gone->consumer);
    if (const auto* event = std::get_if<AddEvent>(&change)) {
      if (!disk.events.emplace(event->event->sequence, event->event).second) {
        return Internal("store fake: event number used twice");
      }
    }
    return PutResource(disk, change);
  }

  static Status PutResource(FakeDisk& disk, const Change& change) {
    if (const auto* put = std::get_if<PutName>(&change)) {
      disk.names[{put->name.kind, put->name.id}] = put->name;
    }
    if (const auto* gone = std::get_if<DeleteName>(&change)) disk.names.erase({gone->kind, gone->id});
    if (const auto* put = std::get_if<PutProvider>(&change)) {
      ProviderRecord record{put->tree->At(put->index), put->tree->owner(put->index)};
      record.provider.used.clear();
      record.provider.generation = 0;
      disk.providers[record.provider.uuid] = std::move(record);
    }
    if (const auto* put = std::get_if<PutGenerations>(&change)) {
      std::vector<uint64_t>& list = disk.generations[put->tree->uuid(0)];
      list.clear();
      for (uint32_t i = 0; i < put->tree->size(); ++i) list.push_back(put->tree->generation(i));
    }
    if (const auto* gone = std::get_if<DeleteProvider>(&change)) disk.providers.erase(gone->uuid);
    if (const auto* gone = std::get_if<DeleteGenerations>(&change)) disk.generations.erase(gone->root);
    if (const auto* put = std::get_if<PutConsumer>(&change))
      disk.consumers[put->consumer->uuid] = put->consumer;
    if (const auto* gone = std::get_if<DeleteConsumer>(&change)) disk.consumers.erase(gone->consumer);
    if (const auto* add = std::get_if<AddAudit>(&change)) {
      if (!disk.audit.emplace(add->record.number, add->record).second) {
        return Internal("store fake: audit number used twice");
      }
    }
    return OkStatus();
  }

  std::shared_ptr<FakeDisk> disk_;
  uint64_t epoch_;
  Fault fault_ = Fault::kNone;
  Status broken_;
};

}  // namespace berth::db
