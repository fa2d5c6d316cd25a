#include "db/sqlite/sqlite_store.h"

#include "db/record_codec.h"
#include "db/sqlite/connection.h"
#include "db/sqlite/migrations.h"
#include "db/sqlite/opening_turn.h"

namespace berth::db {
namespace {

using placement::Claim;
using placement::HostReport;

constexpr int64_t kApplicationId = 0x42525448;  // "BRTH"

std::string_view Bytes(const Uuid& uuid) {
  return {reinterpret_cast<const char*>(uuid.bytes.data()), uuid.bytes.size()};
}

Result<Uuid> ReadUuid(std::string_view bytes) {
  Uuid uuid;
  if (bytes.size() != uuid.bytes.size())
    return DataLoss("a UUID of " + std::to_string(bytes.size()) + " bytes");
  std::copy(bytes.begin(), bytes.end(), reinterpret_cast<char*>(uuid.bytes.data()));
  return uuid;
}

// Durability before all: see docs/design/0001-placement-engine.md. EXCLUSIVE keeps the file locked and the
// WAL's index in memory, so that no second process can come between and no shared-memory file is needed.
Status Configure(Connection& connection, const SqliteOptions& options) {
  TRY(connection.Execute("PRAGMA locking_mode=EXCLUSIVE"));
  Status status =
      connection.Execute("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON");
  if (status.ok()) status = connection.Execute("BEGIN IMMEDIATE; COMMIT");  // takes the lock
  if (status.code() == StatusCode::kUnavailable) {
    return Unavailable("store sqlite:" + connection.path() + " is in use by another process");
  }
  TRY(status);
  if (options.max_pages > 0) {
    TRY(connection.QueryInteger("PRAGMA max_page_count=" + std::to_string(options.max_pages)));
  }
  return OkStatus();
}

Status Migrate(Connection& connection) {
  std::string store = "store sqlite:" + connection.path();
  TRY_ASSIGN(int64_t id, connection.QueryInteger("PRAGMA application_id"));
  TRY_ASSIGN(int64_t version, connection.QueryInteger("PRAGMA user_version"));
  TRY_ASSIGN(int64_t tables, connection.QueryInteger("SELECT count(*) FROM sqlite_schema"));
  if (id != kApplicationId && (id != 0 || tables != 0)) {
    return FailedPrecondition(store + " is a database of another program");
  }
  auto known = static_cast<int64_t>(Migrations().size());
  if (version > known) {
    return FailedPrecondition(
        store + " has schema " + std::to_string(version) + ", this program knows " + std::to_string(known),
        {}, "use the newer program that has written it");
  }
  for (int64_t next = version; next < known; ++next) {
    std::string sql = "BEGIN IMMEDIATE; ";
    sql += Migrations()[static_cast<size_t>(next)];
    sql += "PRAGMA application_id=" + std::to_string(kApplicationId) + ";";
    sql += "PRAGMA user_version=" + std::to_string(next + 1) + "; COMMIT;";
    if (Status status = connection.Execute(sql); !status.ok()) {
      if (!connection.InAutocommit()) (void)connection.Execute("ROLLBACK");
      return std::move(status).WithContext("migration " + std::to_string(next + 1));
    }
  }
  return OkStatus();
}

class SqliteStore final : public Store {
 public:
  explicit SqliteStore(std::unique_ptr<Connection> connection) : connection_(std::move(connection)) {}

  Status Start() {
    TRY(connection_->Execute("UPDATE meta SET value = value + 1 WHERE key = 'epoch'"));
    TRY_ASSIGN(int64_t epoch, connection_->QueryInteger("SELECT value FROM meta WHERE key = 'epoch'"));
    epoch_ = static_cast<uint64_t>(epoch);
    const std::pair<Statement*, const char*> statements[] = {
        {&begin_, "BEGIN IMMEDIATE"},
        {&commit_, "COMMIT"},
        {&rollback_, "ROLLBACK"},
        {&put_sequence_,
         "UPDATE meta SET value = ?1 WHERE key = 'sequence' AND (SELECT value FROM meta WHERE key = 'epoch') "
         "= ?2"},
        {&put_host_,
         "INSERT INTO host VALUES (?1, ?2, ?3) ON CONFLICT (uuid) DO UPDATE SET name = ?2, generation = ?3"},
        {&put_report_,
         "INSERT INTO host_report VALUES (?1, ?2, ?3) ON CONFLICT (host) DO UPDATE SET reported = ?2, "
         "effective = ?3"},
        {&put_generation_, "UPDATE host SET generation = ?2 WHERE uuid = ?1"},
        {&delete_host_, "DELETE FROM host WHERE uuid = ?1"},
        {&put_claim_,
         "INSERT INTO claim VALUES (?1, ?2, ?3, ?4) ON CONFLICT (consumer) DO UPDATE SET host = ?2, name = "
         "?3, body = ?4"},
        {&delete_claim_, "DELETE FROM claim WHERE consumer = ?1"},
        {&add_event_, "INSERT INTO event VALUES (?1, ?2, ?3, ?4, ?5, ?6)"},
        {&drop_events_, "DELETE FROM event WHERE sequence <= ?1"},
        {&put_name_,
         "INSERT INTO name VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (kind, id) DO UPDATE SET name = ?3, "
         "created_at_ms = ?4, updated_at_ms = ?5"},
        {&delete_name_, "DELETE FROM name WHERE kind = ?1 AND id = ?2"},
        {&put_provider_,
         "INSERT INTO provider VALUES (?1, ?2, ?3) ON CONFLICT (uuid) DO UPDATE SET name = ?2, body = ?3"},
        {&delete_provider_, "DELETE FROM provider WHERE uuid = ?1"},
        {&put_generations_,
         "INSERT INTO tree VALUES (?1, ?2) ON CONFLICT (root) DO UPDATE SET generations = ?2"},
        {&delete_generations_, "DELETE FROM tree WHERE root = ?1"},
        {&put_consumer_, "INSERT INTO consumer VALUES (?1, ?2) ON CONFLICT (uuid) DO UPDATE SET body = ?2"},
        {&delete_consumer_, "DELETE FROM consumer WHERE uuid = ?1"},
        {&add_audit_, "INSERT INTO audit VALUES (?1, ?2, ?3, ?4, ?5)"},
        {&drop_audit_, "DELETE FROM audit WHERE number <= ?1"},
    };
    for (const auto& [statement, sql] : statements) {
      TRY_ASSIGN(*statement, connection_->Prepare(sql));
    }
    return OkStatus();
  }

  Result<Contents> Load() override;
  Status Append(const Batch& batch) override;
  uint64_t epoch() const override { return epoch_; }
  Status Verify() override;
  Result<std::vector<AuditRecord>> ReadAudit(size_t limit) override;
  std::string Describe() const override { return "sqlite:" + connection_->path(); }

 private:
  Status Put(const PutHost& change);
  Status Put(const PutGeneration& change);
  Status Put(const DeleteHost& change);
  Status Put(const PutClaim& change);
  Status Put(const DeleteClaim& change);
  Status Put(const AddEvent& change);
  Status Put(const PutName& change);
  Status Put(const DeleteName& change);
  Status Put(const PutProvider& change);
  Status Put(const PutGenerations& change);
  Status Put(const DeleteProvider& change);
  Status Put(const DeleteGenerations& change);
  Status Put(const PutConsumer& change);
  Status Put(const DeleteConsumer& change);
  Status Put(const AddAudit& change);
  Status LoadNames(Contents& contents);
  Status LoadProviders(Contents& contents);
  Status LoadConsumers(Contents& contents);
  Status PutAll(const Batch& batch);
  Status Damaged(const Status& status, const std::string& what) const;
  Result<std::shared_ptr<const Event>> ReadEvent(const Statement& row) const;

  std::unique_ptr<Connection> connection_;
  uint64_t epoch_ = 0;
  uint64_t dropped_through_ = 0;
  uint64_t audit_dropped_through_ = 0;
  Status broken_;  // set when the outcome of a commit is unknown
  Statement begin_, commit_, rollback_, put_sequence_, put_host_, put_report_, put_generation_, delete_host_,
      put_claim_, delete_claim_, add_event_, drop_events_, put_name_, delete_name_, put_provider_,
      delete_provider_, put_generations_, delete_generations_, put_consumer_, delete_consumer_, add_audit_,
      drop_audit_;
};

Status SqliteStore::Put(const PutHost& change) {
  const HostReport& report = *change.host.effective;
  TRY(put_host_.BindBlob(1, Bytes(report.uuid))
          .BindText(2, report.name)
          .Bind(3, change.host.generation)
          .Run());
  std::string reported = EncodeReport(*change.host.reported);
  std::string effective;
  put_report_.BindBlob(1, Bytes(report.uuid)).BindBlob(2, reported);
  if (*change.host.reported == report) {
    put_report_.BindNull(3);
  } else {
    effective = EncodeReport(report);
    put_report_.BindBlob(3, effective);
  }
  return put_report_.Run();
}

Status SqliteStore::Put(const PutGeneration& change) {
  return put_generation_.BindBlob(1, Bytes(change.host)).Bind(2, change.generation).Run();
}

Status SqliteStore::Put(const DeleteHost& change) {
  return delete_host_.BindBlob(1, Bytes(change.host)).Run();
}

Status SqliteStore::Put(const PutClaim& change) {
  const Claim& claim = *change.claim;
  std::string body = EncodeClaim(claim);
  return put_claim_.BindBlob(1, Bytes(claim.consumer))
      .BindBlob(2, Bytes(claim.host))
      .BindText(3, claim.name)
      .BindBlob(4, body)
      .Run();
}

Status SqliteStore::Put(const DeleteClaim& change) {
  return delete_claim_.BindBlob(1, Bytes(change.consumer)).Run();
}

Status SqliteStore::Put(const AddEvent& change) {
  const Event& event = *change.event;
  add_event_.Bind(1, event.sequence)
      .Bind(2, static_cast<int64_t>(event.kind))
      .BindBlob(3, Bytes(event.host))
      .Bind(4, event.generation)
      .Bind(5, event.at_ms);
  std::string body;
  if (event.report) body = EncodeReport(*event.report);
  if (event.claim) body = EncodeClaim(*event.claim);
  event.report || event.claim ? add_event_.BindBlob(6, body) : add_event_.BindNull(6);
  return add_event_.Run();
}

Status SqliteStore::Put(const PutName& change) {
  return put_name_.Bind(1, static_cast<int64_t>(change.name.kind))
      .Bind(2, int64_t{change.name.id})
      .BindText(3, change.name.name)
      .Bind(4, change.name.created_at_ms)
      .Bind(5, change.name.updated_at_ms)
      .Run();
}

Status SqliteStore::Put(const DeleteName& change) {
  return delete_name_.Bind(1, static_cast<int64_t>(change.kind)).Bind(2, int64_t{change.id}).Run();
}

Status SqliteStore::Put(const PutProvider& change) {
  placement::Provider provider = change.tree->At(change.index);
  std::string body = EncodeProvider(provider, change.tree->owner(change.index));
  return put_provider_.BindBlob(1, Bytes(provider.uuid)).BindText(2, provider.name).BindBlob(3, body).Run();
}

Status SqliteStore::Put(const PutGenerations& change) {
  std::vector<uint64_t> generations;
  for (uint32_t i = 0; i < change.tree->size(); ++i) generations.push_back(change.tree->generation(i));
  std::string body = EncodeGenerations(generations);
  return put_generations_.BindBlob(1, Bytes(change.tree->uuid(0))).BindBlob(2, body).Run();
}

Status SqliteStore::Put(const DeleteProvider& change) {
  return delete_provider_.BindBlob(1, Bytes(change.uuid)).Run();
}

Status SqliteStore::Put(const DeleteGenerations& change) {
  return delete_generations_.BindBlob(1, Bytes(change.root)).Run();
}

Status SqliteStore::Put(const PutConsumer& change) {
  std::string body = EncodeConsumer(*change.consumer);
  return put_consumer_.BindBlob(1, Bytes(change.consumer->uuid)).BindBlob(2, body).Run();
}

Status SqliteStore::Put(const DeleteConsumer& change) {
  return delete_consumer_.BindBlob(1, Bytes(change.consumer)).Run();
}

Status SqliteStore::Put(const AddAudit& change) {
  return add_audit_.Bind(1, change.record.number)
      .Bind(2, change.record.at_ms)
      .BindText(3, change.record.actor)
      .BindText(4, change.record.action)
      .BindText(5, change.record.subject)
      .Run();
}

Status SqliteStore::PutAll(const Batch& batch) {
  TRY(put_sequence_.Bind(1, batch.sequence).Bind(2, epoch_).Run());
  if (connection_->Changes() != 1) {
    return FailedPrecondition("store " + Describe() + " has been taken over: epoch " +
                              std::to_string(epoch_) + " is over");
  }
  for (const Change& change : batch.changes) {
    TRY(std::visit([this](const auto& c) { return Put(c); }, change));
  }
  if (batch.drop_events_through > dropped_through_)
    TRY(drop_events_.Bind(1, batch.drop_events_through).Run());
  if (batch.drop_audit_through > audit_dropped_through_)
    TRY(drop_audit_.Bind(1, batch.drop_audit_through).Run());
  return OkStatus();
}

Status SqliteStore::Append(const Batch& batch) {
  TRY(broken_);
  TRY(begin_.Run());
  Status status = PutAll(batch);
  bool committing = status.ok();
  if (committing) status = commit_.Run();
  if (status.ok()) {
    dropped_through_ = std::max(dropped_through_, batch.drop_events_through);
    audit_dropped_through_ = std::max(audit_dropped_through_, batch.drop_audit_through);
    return status;
  }
  if (!connection_->InAutocommit()) {
    if (Status undo = rollback_.Run(); !undo.ok()) broken_ = undo;
  }
  // Before the commit nothing can be durable. In it, only a lack of space (the commit mark was not written)
  // is certain.
  if (committing && status.code() != StatusCode::kResourceExhausted) {
    status =
        Status(StatusCode::kUnknown, status.message(), {}, "restart: the store then tells what was saved");
  } else if (status.code() == StatusCode::kUnknown) {
    status = Internal(status.message());
  }
  if (status.code() == StatusCode::kUnknown) broken_ = status;
  return status;
}

Status SqliteStore::Damaged(const Status& status, const std::string& what) const {
  return DataLoss("store " + Describe() + ": " + what + ": " + status.message());
}

Result<std::shared_ptr<const Event>> SqliteStore::ReadEvent(const Statement& row) const {
  auto event = std::make_shared<Event>();
  event->sequence = static_cast<uint64_t>(row.Integer(0));
  event->kind = static_cast<EventKind>(row.Integer(1));
  TRY_ASSIGN(event->host, ReadUuid(row.Bytes(2)));
  event->generation = static_cast<uint64_t>(row.Integer(3));
  event->at_ms = static_cast<uint64_t>(row.Integer(4));
  if (event->kind == EventKind::kHostChanged) {
    TRY_ASSIGN(HostReport report, DecodeReport(row.Bytes(5)));
    event->report = std::make_shared<const HostReport>(std::move(report));
  } else if (event->kind != EventKind::kHostDeleted) {
    TRY_ASSIGN(Claim claim, DecodeClaim(row.Bytes(5)));
    event->claim = std::make_shared<const Claim>(std::move(claim));
  }
  return std::shared_ptr<const Event>(std::move(event));
}

Result<Contents> SqliteStore::Load() {
  Contents contents;
  TRY_ASSIGN(int64_t sequence, connection_->QueryInteger("SELECT value FROM meta WHERE key = 'sequence'"));
  contents.sequence = static_cast<uint64_t>(sequence);
  TRY_ASSIGN(Statement hosts,
             connection_->Prepare(
                 "SELECT h.uuid, h.generation, r.reported, r.effective FROM host h JOIN host_report r "
                 "ON r.host = h.uuid ORDER BY h.uuid"));
  while (true) {
    TRY_ASSIGN(bool row, hosts.Step());
    if (!row) break;
    HostRecord host;
    host.generation = static_cast<uint64_t>(hosts.Integer(1));
    Result<HostReport> reported = DecodeReport(hosts.Bytes(2));
    if (!reported) return Damaged(reported.error(), "table host_report");
    host.reported = host.effective = std::make_shared<const HostReport>(*std::move(reported));
    if (!hosts.IsNull(3)) {
      Result<HostReport> effective = DecodeReport(hosts.Bytes(3));
      if (!effective) return Damaged(effective.error(), "host " + host.reported->name);
      host.effective = std::make_shared<const HostReport>(*std::move(effective));
    }
    contents.hosts.push_back(std::move(host));
  }
  TRY_ASSIGN(Statement claims, connection_->Prepare("SELECT name, body FROM claim ORDER BY consumer"));
  while (true) {
    TRY_ASSIGN(bool row, claims.Step());
    if (!row) break;
    Result<Claim> claim = DecodeClaim(claims.Bytes(1));
    if (!claim) return Damaged(claim.error(), "claim " + std::string(claims.Bytes(0)));
    contents.claims.push_back(std::make_shared<const Claim>(*std::move(claim)));
  }
  TRY_ASSIGN(Statement events, connection_->Prepare("SELECT * FROM event ORDER BY sequence"));
  while (true) {
    TRY_ASSIGN(bool row, events.Step());
    if (!row) break;
    Result<std::shared_ptr<const Event>> event = ReadEvent(events);
    if (!event) return Damaged(event.error(), "event " + std::to_string(events.Integer(0)));
    contents.events.push_back(*std::move(event));
  }
  if (!contents.events.empty()) dropped_through_ = contents.events.front()->sequence - 1;
  TRY(LoadNames(contents));
  TRY(LoadProviders(contents));
  TRY(LoadConsumers(contents));
  TRY_ASSIGN(int64_t first, connection_->QueryInteger("SELECT coalesce(min(number), 1) FROM audit"));
  TRY_ASSIGN(int64_t last, connection_->QueryInteger("SELECT coalesce(max(number), 0) FROM audit"));
  contents.first_audit = static_cast<uint64_t>(first);
  contents.audit = static_cast<uint64_t>(last);
  audit_dropped_through_ = contents.first_audit - 1;
  return contents;
}

Status SqliteStore::LoadNames(Contents& contents) {
  TRY_ASSIGN(Statement names, connection_->Prepare("SELECT * FROM name ORDER BY kind, id"));
  while (true) {
    TRY_ASSIGN(bool row, names.Step());
    if (!row) return OkStatus();
    NameRecord name;
    name.kind = static_cast<NameKind>(names.Integer(0));
    name.id = static_cast<uint32_t>(names.Integer(1));
    name.name = names.Bytes(2);
    name.created_at_ms = static_cast<uint64_t>(names.Integer(3));
    name.updated_at_ms = static_cast<uint64_t>(names.Integer(4));
    contents.names.push_back(std::move(name));
  }
}

Status SqliteStore::LoadProviders(Contents& contents) {
  TRY_ASSIGN(int64_t count, connection_->QueryInteger("SELECT count(*) FROM provider"));
  contents.providers.reserve(static_cast<size_t>(count));
  TRY_ASSIGN(Statement providers,
             connection_->Prepare("SELECT uuid, name, body FROM provider ORDER BY uuid"));
  while (true) {
    TRY_ASSIGN(bool row, providers.Step());
    if (!row) break;
    Result<ProviderRecord> record = DecodeProvider(providers.Bytes(2));
    if (!record) return Damaged(record.error(), "provider " + std::string(providers.Bytes(1)));
    TRY_ASSIGN(record->provider.uuid, ReadUuid(providers.Bytes(0)));
    record->provider.name = providers.Bytes(1);
    contents.providers.push_back(*std::move(record));
  }
  TRY_ASSIGN(Statement trees, connection_->Prepare("SELECT root, generations FROM tree ORDER BY root"));
  while (true) {
    TRY_ASSIGN(bool row, trees.Step());
    if (!row) return OkStatus();
    TreeGenerations tree;
    TRY_ASSIGN(tree.root, ReadUuid(trees.Bytes(0)));
    Result<std::vector<uint64_t>> generations = DecodeGenerations(trees.Bytes(1));
    if (!generations) return Damaged(generations.error(), "tree " + tree.root.ToString());
    tree.generations = *std::move(generations);
    contents.generations.push_back(std::move(tree));
  }
}

Status SqliteStore::LoadConsumers(Contents& contents) {
  TRY_ASSIGN(int64_t count, connection_->QueryInteger("SELECT count(*) FROM consumer"));
  contents.consumers.reserve(static_cast<size_t>(count));
  TRY_ASSIGN(Statement consumers, connection_->Prepare("SELECT uuid, body FROM consumer ORDER BY uuid"));
  while (true) {
    TRY_ASSIGN(bool row, consumers.Step());
    if (!row) return OkStatus();
    TRY_ASSIGN(Uuid uuid, ReadUuid(consumers.Bytes(0)));
    Result<placement::Consumer> consumer = DecodeConsumer(consumers.Bytes(1));
    if (!consumer) return Damaged(consumer.error(), "consumer " + uuid.ToString());
    consumer->uuid = uuid;
    contents.consumers.push_back(std::make_shared<const placement::Consumer>(*std::move(consumer)));
  }
}

Status SqliteStore::Verify() {
  for (const char* check : {"PRAGMA integrity_check", "PRAGMA foreign_key_check"}) {
    TRY_ASSIGN(Statement rows, connection_->Prepare(check));
    TRY_ASSIGN(bool row, rows.Step());
    std::string first = row ? std::string(rows.Bytes(0)) : "ok";
    if (first != "ok") return DataLoss("store " + Describe() + ": " + check + ": " + first);
  }
  return OkStatus();
}

Result<std::vector<AuditRecord>> SqliteStore::ReadAudit(size_t limit) {
  TRY_ASSIGN(Statement rows, connection_->Prepare("SELECT * FROM audit ORDER BY number DESC LIMIT ?1"));
  rows.Bind(1, static_cast<int64_t>(std::min(limit, size_t{1} << 40)));
  std::vector<AuditRecord> records;
  while (true) {
    TRY_ASSIGN(bool row, rows.Step());
    if (!row) return records;
    records.push_back({static_cast<uint64_t>(rows.Integer(0)), static_cast<uint64_t>(rows.Integer(1)),
                       std::string(rows.Bytes(2)), std::string(rows.Bytes(3)), std::string(rows.Bytes(4))});
  }
}

}  // namespace

Result<std::unique_ptr<Store>> OpenSqliteStore(const std::string& path, const SqliteOptions& options) {
  OpeningTurn turn(path);
  TRY_ASSIGN(std::unique_ptr<Connection> connection, Connection::Open(path));
  TRY(Configure(*connection, options));
  TRY(Migrate(*connection));
  auto store = std::make_unique<SqliteStore>(std::move(connection));
  TRY(store->Start());
  return std::unique_ptr<Store>(std::move(store));
}

}  // namespace berth::db
