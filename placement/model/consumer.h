#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "common/uuid.h"
#include "placement/model/name_table.h"

namespace berth::placement {

// What clients older than 1.8 are taken for (Placement's incomplete_consumer_project_id and ..._user_id).
inline constexpr std::string_view kIncompleteId = "00000000-0000-0000-0000-000000000000";

// An amount of one class of one provider.
struct Allocation {
  Uuid provider;
  ResourceClassId resource_class{};
  int32_t amount = 0;  // 1 .. kMaxAmount

  friend auto operator<=>(const Allocation&, const Allocation&) = default;
};

// Who holds something. Exists as long as it has an allocation. Immutable once in a view.
struct Consumer {
  Uuid uuid;
  uint64_t generation = 0;  // 1 after the first write, then one more with each
  ProjectId project{};
  UserId user{};
  ConsumerTypeId type = kNoConsumerType;
  bool is_instance = false;  // made through gRPC: its claim says what it holds; REST may not change it
  std::vector<Allocation> allocations;  // ascending by provider, then class; never empty
  uint64_t created_at_ms = 0;           // Unix time
  uint64_t updated_at_ms = 0;           // of the last write: the allocations' time

  friend bool operator==(const Consumer&, const Consumer&) = default;
};

}  // namespace berth::placement
