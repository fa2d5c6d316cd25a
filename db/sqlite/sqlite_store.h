#pragma once

#include <memory>
#include <string>

#include "db/store.h"

namespace berth::db {

struct SqliteOptions {
  // Largest size of the database in pages of 4 KiB; 0: SQLite's own limit. Reaching it is the same as a full
  // disk.
  int64_t max_pages = 0;
};

// A Store in one SQLite file (made if absent): WAL, synchronous=FULL, foreign keys, STRICT tables. The file
// stays locked while it is open: a second opening, in whatever process, is refused with kUnavailable.
// Migrations run at opening; a file of a newer schema, or of another program, is refused with
// kFailedPrecondition. All errors name the file.
Result<std::unique_ptr<Store>> OpenSqliteStore(const std::string& path, const SqliteOptions& options = {});

}  // namespace berth::db
