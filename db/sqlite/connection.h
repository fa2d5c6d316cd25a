#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "common/status.h"

struct sqlite3;
struct sqlite3_stmt;

// SQLite behind values and Status. Not thread-safe: one connection, one thread at a time.
namespace berth::db {

class Connection;

// A prepared statement, kept for life. Parameters count from 1, columns from 0. Bound texts and blobs are not
// copied: they must live until the next Reset (or Run).
class Statement {
 public:
  Statement() = default;

  Statement& Bind(int index, int64_t value);
  Statement& Bind(int index, uint64_t value) { return Bind(index, static_cast<int64_t>(value)); }
  Statement& BindText(int index, std::string_view value);
  Statement& BindBlob(int index, std::string_view value);
  Statement& BindNull(int index);

  // Next row; false: no more. After false or an error the statement is reset.
  Result<bool> Step();
  // Step to the end, for statements without rows.
  Status Run();
  void Reset();

  int64_t Integer(int column) const;
  // Valid until the next Step. Blobs and texts.
  std::string_view Bytes(int column) const;
  bool IsNull(int column) const;

 private:
  friend class Connection;
  struct Finalize {
    void operator()(sqlite3_stmt* statement) const;
  };
  Statement(Connection* connection, sqlite3_stmt* statement)
      : connection_(connection), statement_(statement) {}

  Connection* connection_ = nullptr;
  std::unique_ptr<sqlite3_stmt, Finalize> statement_;
};

// An open database file.
class Connection {
 public:
  static Result<std::unique_ptr<Connection>> Open(const std::string& path);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  // Runs one or several statements without parameters; rows are dropped.
  Status Execute(const std::string& sql);
  // The first column of the first row of a query.
  Result<int64_t> QueryInteger(const std::string& sql);
  Result<Statement> Prepare(std::string_view sql);

  // Rows changed by the last statement.
  int64_t Changes() const;
  // Whether no transaction is open: SQLite ends one by itself after some errors.
  bool InAutocommit() const;
  const std::string& path() const { return path_; }

  // The last error as a Status that names the file and the cause: kResourceExhausted (full),
  // kPermissionDenied (read-only, not to be opened), kDataLoss (damaged, not a database), kUnavailable
  // (locked by another process), kUnknown (an I/O error: what is on the disk is not known), kInternal.
  Status Error(int code) const;

 private:
  Connection(std::string path, sqlite3* handle) : path_(std::move(path)), handle_(handle) {}

  std::string path_;
  sqlite3* handle_;
};

}  // namespace berth::db
