#include "compute-agent/instances/record_store.h"

#include <utility>

#include "common/log.h"

namespace berth::agent {
namespace {

constexpr int kFormat = 1;
// Another process that reads may hold it for a moment.
constexpr const char* kSettings =
    "PRAGMA busy_timeout=10000; PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL";
constexpr const char* kSchema =
    "BEGIN IMMEDIATE;"
    "CREATE TABLE IF NOT EXISTS instance_records (consumer TEXT PRIMARY KEY NOT NULL, record TEXT NOT NULL) "
    "WITHOUT ROWID;"
    "PRAGMA user_version=1;"
    "COMMIT";

}  // namespace

Result<std::unique_ptr<RecordStore>> RecordStore::Open(const std::string& path) {
  TRY_ASSIGN(std::unique_ptr<db::Connection> connection, db::Connection::Open(path));
  TRY(connection->Execute(kSettings));
  TRY_ASSIGN(const int64_t format, connection->QueryInteger("PRAGMA user_version"));
  if (format == 0) {
    TRY(connection->Execute(kSchema));
  } else if (format != kFormat) {
    return DataLoss(path + " has the format " + std::to_string(format) + ", known is " +
                    std::to_string(kFormat));
  }
  Statements statements;
  TRY_ASSIGN(statements.save, connection->Prepare("INSERT OR REPLACE INTO instance_records VALUES (?1, ?2)"));
  TRY_ASSIGN(statements.load, connection->Prepare("SELECT record FROM instance_records WHERE consumer = ?1"));
  TRY_ASSIGN(statements.remove, connection->Prepare("DELETE FROM instance_records WHERE consumer = ?1"));
  TRY_ASSIGN(statements.all, connection->Prepare("SELECT consumer FROM instance_records ORDER BY consumer"));
  return std::unique_ptr<RecordStore>(new RecordStore(std::move(connection), std::move(statements)));
}

Status RecordStore::Save(const InstanceRecord& record) {
  const std::string consumer = record.consumer.ToString(), text = record.ToJson();
  std::lock_guard lock(mutex_);
  statements_.save.BindText(1, consumer).BindText(2, text);
  return statements_.save.Run();
}

Result<InstanceRecord> RecordStore::Load(const Uuid& consumer) {
  const std::string key = consumer.ToString();
  std::string text;
  {
    std::lock_guard lock(mutex_);
    statements_.load.BindText(1, key);
    TRY_ASSIGN(const bool there, statements_.load.Step());
    if (!there) return NotFound("no record of instance " + key);
    text = statements_.load.Bytes(0);
    statements_.load.Reset();
  }
  return InstanceRecord::FromJson(text);
}

Status RecordStore::Remove(const Uuid& consumer) {
  const std::string key = consumer.ToString();
  std::lock_guard lock(mutex_);
  statements_.remove.BindText(1, key);
  return statements_.remove.Run();
}

Result<std::vector<Uuid>> RecordStore::All() {
  std::vector<Uuid> consumers;
  std::lock_guard lock(mutex_);
  while (true) {
    TRY_ASSIGN(const bool there, statements_.all.Step());
    if (!there) return consumers;
    Result<Uuid> consumer = Uuid::Parse(std::string(statements_.all.Bytes(0)));
    if (consumer.has_value()) {
      consumers.push_back(*consumer);
    } else {
      LOG(kWarning, "foreign_record_ignored", {{"consumer", std::string(statements_.all.Bytes(0))}});
    }
  }
}

}  // namespace berth::agent
