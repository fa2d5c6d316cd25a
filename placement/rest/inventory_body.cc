#include "placement/rest/inventory_body.h"

#include <algorithm>

#include "placement/model/inventory.h"

namespace berth::placement::rest {
namespace {

// The schema has checked the range; 3.0 is an integer to it.
int32_t ReadInt(const JsonValue& body, const char* name, int32_t missing) {
  auto member = body.FindMember(name);
  if (member == body.MemberEnd()) return missing;
  return static_cast<int32_t>(std::clamp<double>(member->value.GetDouble(), 0, kMaxAmount));
}

bool IsNumberOrNothing(const JsonValue& body, const char* name) {
  auto member = body.FindMember(name);
  return member == body.MemberEnd() || member->value.IsNumber();
}

}  // namespace

InventoryInput ReadInventory(std::string resource_class, const JsonValue& body) {
  InventoryInput inventory;
  inventory.resource_class = std::move(resource_class);
  inventory.total = ReadInt(body, "total", 0);
  inventory.reserved = ReadInt(body, "reserved", inventory.reserved);
  inventory.min_unit = ReadInt(body, "min_unit", inventory.min_unit);
  inventory.max_unit = ReadInt(body, "max_unit", inventory.max_unit);
  inventory.step_size = ReadInt(body, "step_size", inventory.step_size);
  auto ratio = body.FindMember("allocation_ratio");
  if (ratio != body.MemberEnd()) inventory.allocation_ratio = ratio->value.GetDouble();
  return inventory;
}

tl::expected<std::vector<InventoryInput>, ApiError> ReadInventories(const JsonValue& body) {
  std::vector<InventoryInput> inventories;
  for (const auto& member : body.GetObject()) {
    std::string name(TextOf(member.name));
    bool readable = member.value.IsObject();
    for (const char* field : {"total", "reserved", "min_unit", "max_unit", "step_size", "allocation_ratio"}) {
      readable = readable && IsNumberOrNothing(member.value, field);
    }
    if (!readable)
      return tl::unexpected(BadRequest("Bad inventory " + name + ": expected an object of numbers"));
    inventories.push_back(ReadInventory(std::move(name), member.value));
  }
  return inventories;
}

uint64_t ReadGeneration(const JsonValue& value) {
  if (value.IsUint64()) return value.GetUint64();
  if (value.IsDouble() && value.GetDouble() >= 0 && value.GetDouble() < 9e15) {
    return static_cast<uint64_t>(value.GetDouble());
  }
  return UINT64_MAX;
}

}  // namespace berth::placement::rest
