#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "common/status.h"

// Names of resource classes and traits as OpenStack Placement wants them. device_spec (agent) and aliases
// (scheduler) use the same functions, so that both sides always mean the same name.
namespace berth::placement {

// The longest name of a resource class or trait.
inline constexpr size_t kMaxNameLength = 255;

// Standard names (os-resource-classes 1.1.0, os-traits of 2026); `name` in upper case.
bool IsStandardResourceClass(std::string_view name);
bool IsStandardTrait(std::string_view name);
// Of a host that an operator took out: schedulers do not choose it.
inline constexpr std::string_view kHostDisabledTrait = "COMPUTE_STATUS_DISABLED";
// All of them: classes in the order in which OpenStack numbers them, traits ascending.
std::span<const std::string_view> StandardResourceClasses();
std::span<const std::string_view> StandardTraits();

// A standard name in any letter case becomes that name; any other becomes upper case, with runs of characters
// outside [A-Z0-9_] as one "_", and the prefix CUSTOM_ unless it has it. Blanks around it are taken off
// first. kInvalidArgument: empty, or longer than 255 characters afterwards.
Result<std::string> NormalizeResourceClass(std::string_view name);
Result<std::string> NormalizeTrait(std::string_view name);
// Comma-separated traits, each normalised; sorted and unique. Empty items are ignored.
Result<std::vector<std::string>> NormalizeTraits(std::string_view list);

// "CUSTOM_PCI_8086_154D": the class of a device for which none is configured (seed 002, "PCI tracking in
// Placement").
std::string DefaultPciResourceClass(std::string_view vendor_id, std::string_view product_id);

}  // namespace berth::placement
