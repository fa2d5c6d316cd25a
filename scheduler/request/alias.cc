#include "scheduler/request/alias.h"

#include <algorithm>
#include <cctype>

#include "common/yaml.h"
#include "placement/model/names.h"

namespace berth::scheduler {
namespace {

constexpr size_t kMaxName = 255;

const std::vector<std::string_view>& AliasKeys() {
  static const std::vector<std::string_view> keys = {"name",           "vendor_id",       "product_id",
                                                     "device_type",    "capability_type", "numa_policy",
                                                     "resource_class", "traits",          "live_migratable"};
  return keys;
}

Status Invalid(const std::string& key, const std::string& value, const std::string& allowed) {
  return InvalidArgument("PciInvalidAlias: " + key + " is \"" + value + "\", must be " + allowed, key);
}

Status ParseHexId(const std::string& key, const std::string& value, std::string& out) {
  std::string_view digits = value;
  if (digits.starts_with("0x") || digits.starts_with("0X")) digits.remove_prefix(2);
  bool hex = !digits.empty() && digits.size() <= 4 &&
             std::all_of(digits.begin(), digits.end(), [](unsigned char c) { return std::isxdigit(c); });
  if (!hex) return Invalid(key, value, "one to four hexadecimal digits");
  out.assign(4 - digits.size(), '0');
  for (unsigned char c : digits) out += static_cast<char>(std::tolower(c));
  return OkStatus();
}

Status SetField(const std::string& key, const std::string& value, AliasEntry& entry) {
  if (key == "name") {
    if (value.empty() || value.size() > kMaxName || value.find_first_of(":,") != std::string::npos) {
      return Invalid(key, value, "1 to 255 characters without colon and comma");
    }
    entry.name = value;
  } else if (key == "vendor_id") {
    TRY(ParseHexId(key, value, entry.vendor_id));
  } else if (key == "product_id") {
    TRY(ParseHexId(key, value, entry.product_id));
  } else if (key == "device_type") {
    entry.device_type = ParseDeviceKind(value);
    if (!entry.device_type || entry.device_type == DeviceKind::kVdpa) {
      return Invalid(key, value, "type-PCI, type-PF or type-VF");
    }
  } else if (key == "numa_policy") {
    entry.numa_policy = ParseAffinityPolicy(value);
    if (!entry.numa_policy) return Invalid(key, value, "required, socket, preferred or legacy");
  } else if (key == "capability_type") {
    if (value != "pci") return Invalid(key, value, "pci");
  } else if (key == "live_migratable") {
    bool yes = value == "yes" || value == "true" || value == "1";
    if (!yes && value != "no" && value != "false" && value != "0") return Invalid(key, value, "yes or no");
    entry.live_migratable = yes;
  } else if (key == "resource_class") {
    auto name = placement::NormalizeResourceClass(value);
    if (!name.has_value()) return Invalid(key, value, "a resource class: " + name.error().message());
    entry.resource_class = std::move(*name);
  } else if (key == "traits") {
    auto names = placement::NormalizeTraits(value);
    if (!names.has_value()) return Invalid(key, value, "a list of traits: " + names.error().message());
    entry.traits = std::move(*names);
  } else {
    std::string_view nearest = NearestName(key, AliasKeys());
    std::string hint = nearest.empty() ? "known keys: name vendor_id product_id device_type capability_type "
                                         "numa_policy resource_class traits live_migratable"
                                       : "did you mean \"" + std::string(nearest) + "\"?";
    return InvalidArgument("PciInvalidAlias: unknown key \"" + key + "\" with value \"" + value + "\"", key,
                           hint);
  }
  return OkStatus();
}

}  // namespace

AliasEntry ReadAliasEntry(const std::vector<AliasField>& fields, ErrorList& errors) {
  AliasEntry entry;
  for (const auto& [key, value] : fields) errors.Add(SetField(key, value, entry));
  // What is there and wrong is not missing, too.
  auto given = [&](std::string_view key) {
    return std::any_of(fields.begin(), fields.end(),
                       [&](const AliasField& field) { return field.first == key; });
  };
  if (!given("name")) errors.Add(InvalidArgument("PciInvalidAlias: name is missing", "name"));
  if (!given("resource_class") && !(given("vendor_id") && given("product_id"))) {
    errors.Add(InvalidArgument("PciInvalidAlias: alias \"" + entry.name + "\" names no device",
                               given("vendor_id") ? "product_id" : "vendor_id",
                               "give vendor_id and product_id, or resource_class"));
  }
  return entry;
}

Result<AliasEntry> MakeAliasEntry(const std::vector<AliasField>& fields) {
  ErrorList errors;
  AliasEntry entry = ReadAliasEntry(fields, errors);
  if (!errors.empty()) return errors.errors().front();
  return entry;
}

Status AddAliasEntry(AliasEntry entry, AliasTable& table) {
  std::vector<AliasEntry>& entries = table[entry.name];
  if (!entries.empty() && entries.front().device_type != entry.device_type) {
    return InvalidArgument("PciInvalidAlias: entries of alias \"" + entry.name + "\" differ in device_type",
                           "device_type", "alternatives must have the same device_type");
  }
  if (!entries.empty() && entries.front().numa_policy != entry.numa_policy) {
    return InvalidArgument("PciInvalidAlias: entries of alias \"" + entry.name + "\" differ in numa_policy",
                           "numa_policy", "alternatives must have the same numa_policy");
  }
  entries.push_back(std::move(entry));
  return OkStatus();
}

}  // namespace berth::scheduler
