#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "common/status.h"
#include "db/store.h"

namespace berth::placement {

// PATH of "sqlite:PATH"; opens nothing. kInvalidArgument: field "store".
Result<std::string> StorePath(const std::string& store);
// The store that a text names: "sqlite:PATH". `max_pages`: its largest size in pages of 4 KiB, 0: none.
// kInvalidArgument: field "store".
Result<std::unique_ptr<db::Store>> OpenStore(const std::string& store, int64_t max_pages);

}  // namespace berth::placement
