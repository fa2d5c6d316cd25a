#pragma once

#include <algorithm>
#include <cstdint>

#include "placement/model/name_table.h"

namespace berth::placement {

// The largest number in an inventory or an allocation.
inline constexpr int32_t kMaxAmount = 0x7FFFFFFF;

// What one provider has of one resource class. What is used of it stands beside it in the tree.
struct Inventory {
  ResourceClassId resource_class{};
  int32_t total = 0;     // 1 .. kMaxAmount
  int32_t reserved = 0;  // 0 .. kMaxAmount; never given to anybody
  int32_t min_unit = 1;  // of one allocation, 1 .. kMaxAmount
  int32_t max_unit = kMaxAmount;
  int32_t step_size = 1;
  double allocation_ratio = 1.0;

  // (total - reserved) x allocation_ratio as the API compares it: not rounded, may be negative.
  double Capacity() const { return (static_cast<double>(total) - reserved) * allocation_ratio; }
  // The same as the API shows it: rounded towards zero; beyond what any request can ask for, some such
  // number.
  int64_t WholeCapacity() const { return static_cast<int64_t>(std::clamp(Capacity(), -1e18, 1e18)); }
  // Whether one consumer may have this much in one allocation.
  bool AllowsAmount(int64_t amount) const {
    return amount >= min_unit && amount <= max_unit && amount % step_size == 0;
  }
  // Whether `amount` more fit beside what is used.
  bool HasRoom(int64_t used, int64_t amount) const {
    return Capacity() >= static_cast<double>(used) + static_cast<double>(amount);
  }
  // Whether a request for `amount` could be served: the check of candidates.
  bool Serves(int64_t used, int64_t amount) const { return AllowsAmount(amount) && HasRoom(used, amount); }

  friend bool operator==(const Inventory&, const Inventory&) = default;
};

}  // namespace berth::placement
