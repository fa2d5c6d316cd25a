#pragma once

#include <string_view>
#include <vector>

namespace berth::db {

// The texts of db/migrations/NNNN_*.sql in order. Schema version n is reached by running the first n of them.
const std::vector<std::string_view>& Migrations();

}  // namespace berth::db
