#include <string>

#include "placement/engine/resource_engine.h"
#include "placement/model/names.h"

// Resource classes and traits.
namespace berth::placement {
namespace {

constexpr std::string_view kCustom = "CUSTOM_";

// Whether a host has inventory of the class: its reports and claims know it by name.
bool OnAgentsTree(const ResourceView& view, ResourceClassId id) {
  const SlotSet& trees = view.TreesWith(id);
  for (TreeSlot slot = 0; slot < view.slots(); ++slot) {
    if (!trees.Has(slot)) continue;
    const ProviderTree& tree = *view.tree(slot);
    for (uint32_t i = 0; i < tree.size(); ++i) {
      if (tree.owner(i) == TreeOwner::kAgent && tree.Find(i, id).inventory != nullptr) return true;
    }
  }
  return false;
}

}  // namespace

Status ResourceEngine::Do(const CreateResourceClass& command, Outcome& outcome) {
  if (view().resource_classes().Find(command.name)) {
    if (command.idempotent) return OkStatus();
    return Refuse(Refusal::kConflict, "Conflicting resource class already exists: " + command.name);
  }
  draft_.AddResourceClass(command.name, at_ms_);
  outcome.created = true;
  return OkStatus();
}

Status ResourceEngine::Do(const RenameResourceClass& command, Outcome&) {
  auto id = view().resource_classes().Find(command.name);
  if (!id) return Refuse(Refusal::kNotFound, "No such resource class " + command.name + ".");
  if (IsStandardResourceClass(command.name)) {
    return Refuse(Refusal::kBadRequest, "Cannot update standard resource class " + command.name);
  }
  if (command.new_name == command.name) return OkStatus();
  if (view().resource_classes().Find(command.new_name)) {
    return Refuse(Refusal::kConflict, "Resource class already exists: " + command.new_name);
  }
  if (OnAgentsTree(view(), *id)) {
    return Refuse(Refusal::kConflict,
                  "Cannot rename resource class " + command.name + ": hosts' agents report inventory of it.");
  }
  draft_.RenameResourceClass(*id, command.new_name, at_ms_);
  return OkStatus();
}

Status ResourceEngine::Do(const DeleteResourceClass& command, Outcome&) {
  auto id = view().resource_classes().Find(command.name);
  if (!id) return Refuse(Refusal::kNotFound, "No such resource class " + command.name + ".");
  if (IsStandardResourceClass(command.name)) {
    return Refuse(
        Refusal::kBadRequest,
        "Error in delete resource class: Cannot delete standard resource class " + command.name + ".");
  }
  if (!view().TreesWith(*id).Empty()) {
    return Refuse(Refusal::kConflict, "Error in delete resource class: Cannot delete resource class " +
                                          command.name + ". Class is in use in inventory.");
  }
  draft_.RemoveResourceClass(*id);
  return OkStatus();
}

Status ResourceEngine::Do(const CreateTrait& command, Outcome& outcome) {
  if (view().traits().Find(command.name)) return OkStatus();
  draft_.AddTrait(command.name, at_ms_);
  outcome.created = true;
  return OkStatus();
}

Status ResourceEngine::Do(const DeleteTrait& command, Outcome&) {
  auto id = view().traits().Find(command.name);
  if (!id) return Refuse(Refusal::kNotFound, "No such trait(s): " + command.name + ".");
  if (!command.name.starts_with(kCustom)) {
    return Refuse(Refusal::kBadRequest, "Cannot delete standard trait " + command.name + ".");
  }
  if (!view().TreesWith(*id).Empty()) {
    return Refuse(Refusal::kConflict, "The trait " + command.name + " is in use by a resource provider.");
  }
  draft_.RemoveTrait(*id);
  return OkStatus();
}

}  // namespace berth::placement
