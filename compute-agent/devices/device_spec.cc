#include "compute-agent/devices/device_spec.h"

#include <algorithm>
#include <map>

#include "placement/model/names.h"

namespace berth::agent {
namespace {

const std::vector<std::string_view> kKeys = {
    "vendor_id", "product_id",     "address", "physical_network", "trusted",     "remote_managed",
    "traits",    "resource_class", "managed", "live_migratable",  "one_time_use"};
const std::vector<std::string_view> kAddressKeys = {"domain", "bus", "slot", "function"};
constexpr size_t kMaxEntries = 4096;

using placement::AddressPattern;

Result<std::optional<std::string>> ParseId(const YamlNode& node, const std::string& field) {
  TRY_ASSIGN(std::string text, YamlString(node, field));
  auto id = placement::ParsePciId(text);
  if (!id.has_value()) return std::move(id).error().WithField(field);
  return id;
}

// Each unknown key is an error of its own.
void CheckKeys(const YamlNode& map, const std::string& field, const std::vector<std::string_view>& allowed,
               ErrorList& errors) {
  for (const auto& [key, value] : map.entries) {
    if (key == "devname" && allowed.size() == kKeys.size()) {
      errors.Add(InvalidArgument(placement::kDevnameRefused, field + ".devname",
                                 "use the PCI address of the device"));
      continue;
    }
    YamlNode one;
    one.kind = YamlNode::Kind::kMap;
    one.entries.emplace_back(key, value);
    errors.Add(CheckYamlKeys(one, field, allowed));
  }
}

std::optional<AddressPattern> ParseAddress(const YamlNode& node, const std::string& field,
                                           ErrorList& errors) {
  if (node.is_scalar()) {
    Result<AddressPattern> pattern = AddressPattern::FromGlob(node.scalar);
    if (pattern.has_value()) return *std::move(pattern);
    errors.Add(std::move(pattern).error().WithField(field));
    return std::nullopt;
  }
  if (!node.is_map()) {
    errors.Add(InvalidArgument("is neither a string nor a map of regular expressions", field));
    return std::nullopt;
  }
  CheckKeys(node, field, kAddressKeys, errors);
  AddressPattern::Fields fields;
  for (auto [key, text] : {std::pair("domain", &fields.domain), std::pair("bus", &fields.bus),
                           std::pair("slot", &fields.slot), std::pair("function", &fields.function)}) {
    const YamlNode* value = node.Find(key);
    if (value == nullptr) continue;
    if (auto read = errors.Take(YamlString(*value, field + "." + key))) *text = *std::move(read);
  }
  Result<AddressPattern> pattern = AddressPattern::FromRegex(fields);
  if (pattern.has_value()) return *std::move(pattern);
  std::string at = field + "." + pattern.error().field();
  errors.Add(std::move(pattern).error().WithField(at));
  return std::nullopt;
}

// A comma-separated string, or a sequence of strings.
std::vector<std::string> ParseTraits(const YamlNode& node, const std::string& field, ErrorList& errors) {
  std::string list;
  if (node.is_sequence()) {
    for (size_t i = 0; i < node.items.size(); ++i) {
      std::string at = field + "[" + std::to_string(i) + "]";
      if (auto item = errors.Take(YamlString(node.items[i], at))) list += *item + ",";
    }
  } else if (auto text = errors.Take(YamlString(node, field))) {
    list = *std::move(text);
  }
  Result<std::vector<std::string>> traits = placement::NormalizeTraits(list);
  if (traits.has_value()) return *std::move(traits);
  errors.Add(std::move(traits).error().WithField(field));
  return {};
}

void ParseTags(const YamlNode& node, const std::string& field, DeviceSpecEntry& entry, ErrorList& errors) {
  auto at = [&](const char* key) { return field + "." + key; };
  if (const YamlNode* value = node.Find("physical_network"); value != nullptr && !value->is_null()) {
    entry.physical_network = errors.Take(YamlString(*value, at("physical_network")));
  }
  for (auto [key, target] :
       {std::pair("trusted", &entry.trusted), std::pair("remote_managed", &entry.remote_managed),
        std::pair("live_migratable", &entry.live_migratable),
        std::pair("one_time_use", &entry.one_time_use)}) {
    if (const YamlNode* value = node.Find(key)) *target = errors.Take(YamlBool(*value, at(key)));
  }
  if (const YamlNode* value = node.Find("managed")) {
    entry.managed = errors.Take(YamlBool(*value, at("managed"))).value_or(true);
  }
  if (const YamlNode* value = node.Find("traits")) {
    entry.traits = ParseTraits(*value, at("traits"), errors);
  }
  const YamlNode* value = node.Find("resource_class");
  if (value == nullptr) return;
  if (auto text = errors.Take(YamlString(*value, at("resource_class")))) {
    Result<std::string> name = placement::NormalizeResourceClass(*text);
    if (name.has_value()) {
      entry.resource_class = *std::move(name);
    } else {
      errors.Add(std::move(name).error().WithField(at("resource_class")));
    }
  }
}

std::string EntryName(const DeviceSpec& spec, const DeviceSpecEntry* entry) {
  std::string name = "device_spec[" + std::to_string(entry - spec.entries.data()) + "]";
  return entry->line > 0 ? name + " (line " + std::to_string(entry->line) + ")" : name;
}

void ApplyTags(const DeviceSpecEntry& entry, placement::Device& device) {
  device.assignable = true;
  device.physical_network = entry.physical_network;
  device.trusted = entry.trusted;
  device.remote_managed = entry.remote_managed;
  device.resource_class = entry.resource_class;
  device.traits = entry.traits;
  if (entry.live_migratable == true) device.traits.emplace_back(kLiveMigratableTrait);
  if (entry.one_time_use == true) device.traits.emplace_back(kOneTimeUseTrait);
  std::sort(device.traits.begin(), device.traits.end());
  device.traits.erase(std::unique(device.traits.begin(), device.traits.end()), device.traits.end());
}

// What holds for a device before any entry is applied.
void ResetTags(placement::Device& device) {
  device.assignable = false;
  device.physical_network.reset();
  device.trusted.reset();
  device.remote_managed.reset();
  device.resource_class.clear();
  device.traits.clear();
}

void FillDefaults(placement::Device& device) {
  if (device.resource_class.empty()) {
    device.resource_class = placement::DefaultPciResourceClass(device.vendor_id, device.product_id);
  }
  // Seed 002, "remote_managed": devices are implicitly false; type-PCI has no such default in Nova.
  if (!device.remote_managed.has_value() && device.type != placement::DeviceType::kPci) {
    device.remote_managed = false;
  }
}

std::string TagsOf(const placement::Device& device) {
  std::string text = device.resource_class;
  for (const std::string& trait : device.traits) text += " " + trait;
  return text;
}

// One assignment run: the devices in order of address, and the entry of each.
struct Assignment {
  const DeviceSpec& spec;
  std::vector<placement::Device> devices;
  std::vector<const DeviceSpecEntry*> entries;

  const placement::Device* Parent(const placement::Device& vf) const {
    if (!vf.parent.has_value()) return nullptr;
    auto found =
        std::lower_bound(devices.begin(), devices.end(), *vf.parent,
                         [](const placement::Device& d, const PciAddress& a) { return d.address < a; });
    return found != devices.end() && found->address == *vf.parent ? &*found : nullptr;
  }
  std::string NameOf(const placement::Device& device) const {
    return std::string(placement::DeviceTypeName(device.type)) + " " + device.address.ToString() + " by " +
           EntryName(spec, entries[static_cast<size_t>(&device - devices.data())]);
  }
};

void CheckRemoteManaged(const Assignment& run, ErrorList& errors) {
  for (const placement::Device& device : run.devices) {
    if (device.type != placement::DeviceType::kPf || !device.assignable) continue;
    if (device.remote_managed != true) continue;
    errors.Add(
        InvalidArgument("remote_managed: true is only valid for VFs, it is set for " + run.NameOf(device),
                        "device_spec", "add the product_id of its VFs"));
  }
}

// A VF shares its provider with the other VFs of its PF, which cannot be withheld alone (as in Nova).
void CheckOneTimeUse(const Assignment& run, ErrorList& errors) {
  for (size_t i = 0; i < run.devices.size(); ++i) {
    if (run.devices[i].type != placement::DeviceType::kVf || run.entries[i] == nullptr) continue;
    if (!run.entries[i]->one_time_use.has_value()) continue;
    errors.Add(InvalidArgument(
        "one_time_use is only valid for type-PCI and type-PF, it is set for " + run.NameOf(run.devices[i]),
        "device_spec", "take it out, or add the product_id of the PF"));
  }
}

// The VFs of each PF against the PF, and against the PF's first configured VF.
void CheckFamilies(const Assignment& run, ErrorList& errors) {
  std::map<PciAddress, const placement::Device*> first_vfs;  // by PF
  for (const placement::Device& device : run.devices) {
    if (device.type != placement::DeviceType::kVf || !device.assignable || !device.parent.has_value())
      continue;
    auto [first, is_new] = first_vfs.emplace(*device.parent, &device);
    if (is_new) {
      if (const placement::Device* pf = run.Parent(device); pf != nullptr && pf->assignable) {
        errors.Add(InvalidArgument(
            "a PF and its VF are both configured: " + run.NameOf(*pf) + ", " + run.NameOf(device),
            "device_spec",
            "an entry with the address of a PF means its VFs too: add the product_id of "
            "the one that is to be handed out"));
      }
    } else if (TagsOf(*first->second) != TagsOf(device)) {
      errors.Add(InvalidArgument("VFs of PF " + device.parent->ToString() +
                                     " differ in resource class or traits: " + run.NameOf(*first->second) +
                                     " has " + TagsOf(*first->second) + ", " + run.NameOf(device) + " has " +
                                     TagsOf(device),
                                 "device_spec"));
    }
  }
}

void AddWarnings(const DeviceSpec& spec, const std::vector<size_t>& matches, AssignedDevices& result) {
  for (const DeviceSpecEntry& entry : spec.entries) {
    if (matches[static_cast<size_t>(&entry - spec.entries.data())] == 0) {
      result.warnings.push_back(EntryName(spec, &entry) + " matches no device of this host");
    }
    if (!entry.vendor_id && !entry.product_id && !entry.address) {
      result.warnings.push_back(EntryName(spec, &entry) +
                                " matches every device: it names no vendor_id, "
                                "product_id or address");
    }
  }
}

}  // namespace

const DeviceSpecEntry* DeviceSpec::Find(const placement::Device& device) const {
  placement::DeviceIdentity identity{device.vendor_id, device.product_id, device.address, device.parent};
  for (const DeviceSpecEntry& entry : entries) {
    if (entry.Matches(identity)) return &entry;
  }
  return nullptr;
}

DeviceSpecEntry ParseDeviceSpecEntry(const YamlNode& node, const std::string& field, ErrorList& errors) {
  DeviceSpecEntry entry;
  entry.line = node.line;
  if (!node.is_map()) {
    errors.Add(InvalidArgument("is not a map (line " + std::to_string(node.line) + ")", field,
                               "for example {vendor_id: \"8086\", product_id: \"154d\"}"));
    return entry;
  }
  CheckKeys(node, field, kKeys, errors);
  for (auto [key, target] :
       {std::pair("vendor_id", &entry.vendor_id), std::pair("product_id", &entry.product_id)}) {
    if (const YamlNode* value = node.Find(key)) {
      *target = errors.Take(ParseId(*value, field + "." + key)).value_or(std::nullopt);
    }
  }
  if (const YamlNode* value = node.Find("address")) {
    entry.address = ParseAddress(*value, field + ".address", errors);
  }
  ParseTags(node, field, entry, errors);
  return entry;
}

Result<DeviceSpec> ParseDeviceSpec(const YamlNode& node, std::string_view field) {
  DeviceSpec spec;
  if (node.is_null()) return spec;
  ErrorList errors;
  std::string path(field);
  if (node.is_map()) {
    spec.entries.push_back(ParseDeviceSpecEntry(node, path, errors));
  } else if (!node.is_sequence()) {
    return InvalidArgument("is not a list of entries (line " + std::to_string(node.line) + ")", path);
  } else if (node.items.size() > kMaxEntries) {
    return InvalidArgument("has " + std::to_string(node.items.size()) + " entries, at most " +
                               std::to_string(kMaxEntries) + " are allowed",
                           path);
  }
  for (size_t i = 0; i < node.items.size(); ++i) {
    spec.entries.push_back(ParseDeviceSpecEntry(node.items[i], path + "[" + std::to_string(i) + "]", errors));
  }
  TRY(errors.ToStatus());
  return spec;
}

Result<AssignedDevices> AssignDevices(const DeviceSpec& spec, std::vector<placement::Device> devices) {
  std::sort(devices.begin(), devices.end(),
            [](const auto& a, const auto& b) { return a.address < b.address; });
  Assignment run{spec, std::move(devices), {}};
  std::vector<size_t> matches(spec.entries.size());
  AssignedDevices result;
  for (placement::Device& device : run.devices) {
    ResetTags(device);
    const DeviceSpecEntry* entry = spec.Find(device);
    run.entries.push_back(entry);
    if (entry != nullptr) {
      if (!entry->managed) result.unmanaged.insert(device.address);
      if (entry->one_time_use == true) result.one_time_use.insert(device.address);
      ++matches[static_cast<size_t>(entry - spec.entries.data())];
      ApplyTags(*entry, device);
    }
    FillDefaults(device);
  }
  ErrorList errors;
  CheckRemoteManaged(run, errors);
  CheckOneTimeUse(run, errors);
  CheckFamilies(run, errors);
  TRY(errors.ToStatus());

  std::vector<PciAddress> parents;
  for (const placement::Device& device : run.devices) {
    if (device.assignable && device.parent.has_value()) parents.push_back(*device.parent);
  }
  std::sort(parents.begin(), parents.end());
  for (placement::Device& device : run.devices) {
    bool is_parent = std::binary_search(parents.begin(), parents.end(), device.address);
    if (device.assignable || is_parent) result.devices.push_back(std::move(device));
  }
  AddWarnings(spec, matches, result);
  return result;
}

}  // namespace berth::agent
