#pragma once

#include <string>
#include <string_view>

#include "placement/engine/resource_command.h"

// What audit rows say about a command of the Placement model: its name, and whom it is about.
namespace berth::placement {

constexpr std::string_view ActionOf(const CreateProvider&) {
  return "create_provider";
}
constexpr std::string_view ActionOf(const UpdateProvider&) {
  return "update_provider";
}
constexpr std::string_view ActionOf(const DeleteProvider&) {
  return "delete_provider";
}
constexpr std::string_view ActionOf(const SetInventories&) {
  return "set_inventories";
}
constexpr std::string_view ActionOf(const AddInventory&) {
  return "add_inventory";
}
constexpr std::string_view ActionOf(const UpdateInventory&) {
  return "update_inventory";
}
constexpr std::string_view ActionOf(const RemoveInventory&) {
  return "remove_inventory";
}
constexpr std::string_view ActionOf(const RemoveInventories&) {
  return "remove_inventories";
}
constexpr std::string_view ActionOf(const CreateResourceClass&) {
  return "create_resource_class";
}
constexpr std::string_view ActionOf(const RenameResourceClass&) {
  return "rename_resource_class";
}
constexpr std::string_view ActionOf(const DeleteResourceClass&) {
  return "delete_resource_class";
}
constexpr std::string_view ActionOf(const CreateTrait&) {
  return "create_trait";
}
constexpr std::string_view ActionOf(const DeleteTrait&) {
  return "delete_trait";
}
constexpr std::string_view ActionOf(const SetTraits&) {
  return "set_traits";
}
constexpr std::string_view ActionOf(const SetAggregates&) {
  return "set_aggregates";
}
constexpr std::string_view ActionOf(const SetAllocations&) {
  return "set_allocations";
}
constexpr std::string_view ActionOf(const DeleteAllocations&) {
  return "delete_allocations";
}
constexpr std::string_view ActionOf(const Reshape&) {
  return "reshape";
}

// The provider, the consumer (the first of many), or the name.
template <class Body>
std::string SubjectOf(const Body& body) {
  if constexpr (requires { body.provider; }) {
    return body.provider.ToString();
  } else if constexpr (requires { body.uuid; }) {
    return body.uuid.ToString();
  } else if constexpr (requires { body.consumer; }) {
    return body.consumer.ToString();
  } else if constexpr (requires { body.consumers; }) {
    return body.consumers.empty() ? std::string() : body.consumers.front().consumer.ToString();
  } else {
    return body.name;
  }
}

}  // namespace berth::placement
