#include "db/sqlite/connection.h"

#include <sqlite3.h>

namespace berth::db {

void Statement::Finalize::operator()(sqlite3_stmt* statement) const {
  sqlite3_finalize(statement);
}

// A bind fails only for a wrong index or without memory: both are ours to prevent.
Statement& Statement::Bind(int index, int64_t value) {
  CHECK(sqlite3_bind_int64(statement_.get(), index, value) == SQLITE_OK);
  return *this;
}

Statement& Statement::BindText(int index, std::string_view value) {
  CHECK(sqlite3_bind_text64(statement_.get(), index, value.data(), value.size(), SQLITE_STATIC,
                            SQLITE_UTF8) == SQLITE_OK);
  return *this;
}

Statement& Statement::BindBlob(int index, std::string_view value) {
  // A null pointer would be bound as NULL.
  const char* data = value.data() == nullptr ? "" : value.data();
  CHECK(sqlite3_bind_blob64(statement_.get(), index, data, value.size(), SQLITE_STATIC) == SQLITE_OK);
  return *this;
}

Statement& Statement::BindNull(int index) {
  CHECK(sqlite3_bind_null(statement_.get(), index) == SQLITE_OK);
  return *this;
}

Result<bool> Statement::Step() {
  int code = sqlite3_step(statement_.get());
  if (code == SQLITE_ROW) return true;
  Status status = code == SQLITE_DONE ? OkStatus() : connection_->Error(code);
  Reset();
  if (!status.ok()) return status;
  return false;
}

Status Statement::Run() {
  while (true) {
    TRY_ASSIGN(bool row, Step());
    if (!row) return OkStatus();
  }
}

void Statement::Reset() {
  sqlite3_reset(statement_.get());
  sqlite3_clear_bindings(statement_.get());
}

int64_t Statement::Integer(int column) const {
  return sqlite3_column_int64(statement_.get(), column);
}

std::string_view Statement::Bytes(int column) const {
  const void* data = sqlite3_column_blob(statement_.get(), column);
  auto size = static_cast<size_t>(sqlite3_column_bytes(statement_.get(), column));
  return data == nullptr ? std::string_view() : std::string_view(static_cast<const char*>(data), size);
}

bool Statement::IsNull(int column) const {
  return sqlite3_column_type(statement_.get(), column) == SQLITE_NULL;
}

Result<std::unique_ptr<Connection>> Connection::Open(const std::string& path) {
  sqlite3* handle = nullptr;
  int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
  int code = sqlite3_open_v2(path.c_str(), &handle, flags, nullptr);
  std::unique_ptr<Connection> connection(new Connection(path, handle));
  if (code != SQLITE_OK) return connection->Error(code);
  return connection;
}

Connection::~Connection() {
  sqlite3_close(handle_);
}

Status Connection::Execute(const std::string& sql) {
  int code = sqlite3_exec(handle_, sql.c_str(), nullptr, nullptr, nullptr);
  return code == SQLITE_OK ? OkStatus() : Error(code);
}

Result<int64_t> Connection::QueryInteger(const std::string& sql) {
  TRY_ASSIGN(Statement statement, Prepare(sql));
  TRY_ASSIGN(bool row, statement.Step());
  if (!row) return Internal("store sqlite:" + path_ + ": no answer to " + sql);
  return statement.Integer(0);
}

Result<Statement> Connection::Prepare(std::string_view sql) {
  sqlite3_stmt* statement = nullptr;
  int code = sqlite3_prepare_v3(handle_, sql.data(), static_cast<int>(sql.size()), SQLITE_PREPARE_PERSISTENT,
                                &statement, nullptr);
  if (code != SQLITE_OK) return Error(code);
  return Statement(this, statement);
}

int64_t Connection::Changes() const {
  return sqlite3_changes64(handle_);
}

bool Connection::InAutocommit() const {
  return sqlite3_get_autocommit(handle_) != 0;
}

Status Connection::Error(int code) const {
  std::string cause = handle_ == nullptr ? sqlite3_errstr(code) : sqlite3_errmsg(handle_);
  if (int number = handle_ == nullptr ? 0 : sqlite3_system_errno(handle_); number != 0) {
    cause += " (" + ErrnoStatus("errno " + std::to_string(number), number).message() + ")";
  }
  std::string message = "store sqlite:" + path_ + ": " + cause;
  switch (code & 0xFF) {
    case SQLITE_FULL:
      return ResourceExhausted(std::move(message), {}, "free space on its file system, then try again");
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_AUTH:
      return Status(StatusCode::kPermissionDenied, std::move(message));
    case SQLITE_CANTOPEN:
      return Status(StatusCode::kPermissionDenied, std::move(message), {},
                    "the folder must exist and be writable, the file readable and writable");
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return DataLoss(std::move(message));
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return Unavailable(std::move(message));
    case SQLITE_IOERR:
      return Status(StatusCode::kUnknown, std::move(message));
    case SQLITE_NOMEM:
      return ResourceExhausted(std::move(message));
    default:
      return Internal(std::move(message));
  }
}

}  // namespace berth::db
