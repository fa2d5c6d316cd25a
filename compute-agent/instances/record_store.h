#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "common/status.h"
#include "common/uuid.h"
#include "compute-agent/instances/instance_record.h"
#include "db/sqlite/connection.h"

namespace berth::agent {

// The records of an agent's instances, in its SQLite file: one row each, durable when Save returns OK (WAL,
// synchronous=FULL), and readable by others meanwhile. Thread-safe.
class RecordStore {
 public:
  // Makes the file if there is none. kDataLoss: it is none of ours, or damaged.
  static Result<std::unique_ptr<RecordStore>> Open(const std::string& path);

  Status Save(const InstanceRecord& record);
  // kNotFound: there is none. kDataLoss: what is there is no record.
  Result<InstanceRecord> Load(const Uuid& consumer);
  // Nothing to remove is no error.
  Status Remove(const Uuid& consumer);
  // Whose there are, ascending. Rows whose key is no UUID are left out and logged.
  Result<std::vector<Uuid>> All();

 private:
  struct Statements {
    db::Statement save, load, remove, all;
  };
  RecordStore(std::unique_ptr<db::Connection> connection, Statements statements)
      : connection_(std::move(connection)), statements_(std::move(statements)) {}

  std::mutex mutex_;  // guards both
  std::unique_ptr<db::Connection> connection_;
  Statements statements_;
};

}  // namespace berth::agent
