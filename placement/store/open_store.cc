#include "placement/store/open_store.h"

#include "db/sqlite/sqlite_store.h"

namespace berth::placement {

Result<std::string> StorePath(const std::string& store) {
  constexpr std::string_view kSqlite = "sqlite:";
  if (!store.starts_with(kSqlite) || store.size() == kSqlite.size()) {
    return InvalidArgument("\"" + store + "\" names no store", "store", "expected sqlite:PATH");
  }
  return store.substr(kSqlite.size());
}

Result<std::unique_ptr<db::Store>> OpenStore(const std::string& store, int64_t max_pages) {
  TRY_ASSIGN(std::string path, StorePath(store));
  return db::OpenSqliteStore(path, {.max_pages = max_pages});
}

}  // namespace berth::placement
