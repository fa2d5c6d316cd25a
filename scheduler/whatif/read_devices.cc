#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "common/pci_address.h"
#include "placement/device_spec/entry.h"
#include "placement/model/names.h"
#include "scheduler/request/alias.h"
#include "scheduler/whatif/scenario.h"

namespace berth::scheduler::whatif {
namespace {

using placement::AddressPattern;
using placement::DeviceSpecEntry;

bool EqualsIgnoringCase(std::string_view text, std::string_view lower) {
  return text.size() == lower.size() &&
         std::equal(text.begin(), text.end(), lower.begin(), [](char a, char b) {
           return (a >= 'A' && a <= 'Z' ? static_cast<char>(a - 'A' + 'a') : a) == b;
         });
}

// A tag as Nova compares it: only "true" and "false", in any case, mean something.
std::optional<bool> Tag(const Json& spec, const char* key) {
  const Json* value = Find(spec, key);
  if (value == nullptr) return std::nullopt;
  if (value->IsBool()) return value->IsTrue();
  if (!value->IsString()) return std::nullopt;
  if (EqualsIgnoringCase(TextOf(*value), "true")) return true;
  if (EqualsIgnoringCase(TextOf(*value), "false")) return false;
  return std::nullopt;
}

// Nova reads this one as a boolean of any spelling.
bool IsYes(const Json& spec, const char* key) {
  const Json* value = Find(spec, key);
  if (value == nullptr) return false;
  std::string text = ToText(*value);
  for (std::string_view yes : {"true", "yes", "on", "1", "t", "y"}) {
    if (EqualsIgnoringCase(text, yes)) return true;
  }
  return false;
}

std::string Joined(const Json& value) {
  if (!value.IsArray()) return ToText(value);
  std::string out;
  for (const Json& item : value.GetArray()) out += ToText(item) + ",";
  return out;
}

Result<AddressPattern> ReadAddress(const Json& value) {
  if (value.IsString()) return AddressPattern::FromGlob(TextOf(value));
  if (!value.IsObject()) return InvalidArgument("address must be a string or an object");
  AddressPattern::Fields fields;
  for (auto [key, text] : {std::pair("domain", &fields.domain), std::pair("bus", &fields.bus),
                           std::pair("slot", &fields.slot), std::pair("function", &fields.function)}) {
    if (const Json* field = Find(value, key)) *text = ToText(*field);
  }
  return AddressPattern::FromRegex(fields);
}

Result<DeviceSpecEntry> ReadEntry(const Json& json) {
  DeviceSpecEntry entry;
  if (!json.IsObject()) return InvalidArgument("an entry of device_spec must be an object");
  for (auto [key, target] :
       {std::pair("vendor_id", &entry.vendor_id), std::pair("product_id", &entry.product_id)}) {
    if (const Json* value = Find(json, key)) {
      TRY_ASSIGN(*target, placement::ParsePciId(ToText(*value)));
    }
  }
  if (const Json* value = Find(json, "address")) {
    TRY_ASSIGN(entry.address, ReadAddress(*value));
  }
  if (const Json* value = Find(json, "physical_network")) entry.physical_network = ToText(*value);
  entry.trusted = Tag(json, "trusted");
  entry.remote_managed = Tag(json, "remote_managed");
  entry.live_migratable = IsYes(json, "live_migratable");
  if (const Json* value = Find(json, "resource_class")) {
    TRY_ASSIGN(entry.resource_class, placement::NormalizeResourceClass(ToText(*value)));
  }
  if (const Json* value = Find(json, "traits")) {
    TRY_ASSIGN(entry.traits, placement::NormalizeTraits(Joined(*value)));
  }
  return entry;
}

// The entries, or false with the reason of the refusal in `out`.
bool ReadSpec(const Json& host, JsonFields& fields, std::vector<DeviceSpecEntry>& entries,
              ScenarioHost& out) {
  const Json* spec = Find(host, "device_spec");
  if (spec == nullptr) return true;
  if (!spec->IsArray() && !spec->IsObject()) {
    fields.Fail("device_spec", "must be a list of objects");
    return false;
  }
  auto read = [&](const Json& json) {
    if (json.IsObject() && Find(json, "devname") != nullptr) {
      out.refused = "PciDeviceInvalidDeviceName";
      out.refused_why = placement::kDevnameRefused;
      return false;
    }
    auto entry = ReadEntry(json);
    if (!entry.has_value()) {
      out.refused = "PciConfigInvalidSpec";
      out.refused_why = "device_spec: " + entry.error().message();
      return false;
    }
    entries.push_back(*std::move(entry));
    return true;
  };
  if (spec->IsObject()) return read(*spec);
  for (const Json& json : spec->GetArray()) {
    if (!read(json)) return false;
  }
  return true;
}

// A device as the hypervisor reports it.
struct Reported {
  FitDevice device;
  bool available = true;
  bool held = false;  // by an instance: blocks its family
  bool has_serial = false;
};

std::string NormalId(const Json& device, const char* key) {
  const Json* value = Find(device, key);
  std::string text = value == nullptr ? "" : ToText(*value);
  auto id = placement::ParsePciId(text);
  return id.has_value() && id->has_value() ? **std::move(id) : std::move(text);
}

// Empty for devices beyond the limits of seed 002: they are ignored.
std::optional<Reported> ReadDevice(const Json& json, JsonFields& fields) {
  Reported out;
  const Json* text = Find(json, "address");
  if (text == nullptr || !text->IsString()) {
    fields.Fail("pci_devices.address", "is missing");
    return std::nullopt;
  }
  auto address = PciAddress::Parse(TextOf(*text));
  if (!address.has_value()) {
    if (address.error().code() != StatusCode::kOutOfRange)
      fields.Fail("pci_devices.address", address.error().message());
    return std::nullopt;
  }
  out.device.address = *address;
  const Json* type = Find(json, "dev_type");
  auto kind = type == nullptr ? DeviceKind::kPci : ParseDeviceKind(ToText(*type));
  if (!kind) {
    fields.Fail("pci_devices.dev_type", "must be type-PCI, type-PF, type-VF or vdpa");
    return std::nullopt;
  }
  out.device.kind = *kind;
  out.device.vendor_id = NormalId(json, "vendor_id");
  out.device.product_id = NormalId(json, "product_id");
  out.device.numa_node = fields.Number(json, "numa_node");
  const Json* parent = Find(json, "parent_addr");
  bool child = *kind == DeviceKind::kVf || *kind == DeviceKind::kVdpa;
  if (child && parent != nullptr && parent->IsString()) {
    auto parsed = PciAddress::Parse(TextOf(*parent));
    if (parsed.has_value()) out.device.parent = *parsed;
  }
  if (const Json* status = Find(json, "status"); status != nullptr && status->IsString()) {
    std::string_view word = TextOf(*status);
    out.available = word == "available";
    out.held = word == "allocated" || word == "claimed";
  }
  const Json* serial = Find(json, "card_serial_number");
  out.has_serial = serial != nullptr && !ToText(*serial).empty();
  if (const Json* domains = fields.Array(json, "domains")) {
    for (const Json& domain : domains->GetArray()) out.device.domains.push_back(ToText(domain));
    std::sort(out.device.domains.begin(), out.device.domains.end());
  }
  return out;
}

// The first entry that matches. A remote-managed one needs the card's serial number: without it the network
// controller could not be told which card is meant, so the entry does not apply (Nova ignores the device).
const DeviceSpecEntry* FindEntry(const std::vector<DeviceSpecEntry>& entries, const Reported& one) {
  placement::DeviceIdentity identity{one.device.vendor_id, one.device.product_id, one.device.address,
                                     one.device.parent};
  for (const DeviceSpecEntry& entry : entries) {
    if (!entry.Matches(identity)) continue;
    if (entry.remote_managed == true && !one.has_serial) continue;
    return &entry;
  }
  return nullptr;
}

void ApplyEntry(const DeviceSpecEntry& entry, FitDevice& device) {
  device.network = entry.physical_network;
  device.trusted = entry.trusted;
  device.remote_managed = entry.remote_managed;
  // R6: type-PCI has no default.
  if (!device.remote_managed && device.kind != DeviceKind::kPci) device.remote_managed = false;
  device.resource_class = entry.resource_class.empty()
                              ? placement::DefaultPciResourceClass(device.vendor_id, device.product_id)
                              : entry.resource_class;
  device.traits = entry.traits;
  if (entry.live_migratable == true) {
    auto at = std::lower_bound(device.traits.begin(), device.traits.end(), kLiveMigratableTrait);
    if (at == device.traits.end() || *at != kLiveMigratableTrait)
      device.traits.insert(at, kLiveMigratableTrait);
  }
}

std::vector<Reported> ReadReported(const Json& host, JsonFields& fields) {
  std::vector<Reported> out;
  const Json* devices = fields.Array(host, "pci_devices");
  if (devices == nullptr) return out;
  out.reserve(devices->Size());
  for (const Json& json : devices->GetArray()) {
    if (!json.IsObject()) {
      fields.Fail("pci_devices", "must be objects");
      return out;
    }
    if (auto one = ReadDevice(json, fields)) out.push_back(*std::move(one));
  }
  auto before = [](const Reported& a, const Reported& b) { return a.device.address < b.device.address; };
  if (!std::is_sorted(out.begin(), out.end(), before)) std::sort(out.begin(), out.end(), before);
  for (size_t i = 1; i < out.size(); ++i) {
    if (out[i].device.address == out[i - 1].device.address) {
      fields.Fail("pci_devices.address", out[i].device.address.ToString() + " stands twice");
    }
  }
  return out;
}

}  // namespace

void ReadDevices(const Json& host, bool refuse_pf_and_vf, JsonFields& fields, ScenarioHost& out) {
  std::vector<DeviceSpecEntry> entries;
  bool accepted = ReadSpec(host, fields, entries, out);
  std::vector<Reported> reported = ReadReported(host, fields);
  if (!accepted || !fields.ok()) return;
  auto find = [&](const PciAddress& address) -> Reported* {
    auto it =
        std::lower_bound(reported.begin(), reported.end(), address,
                         [](const Reported& one, const PciAddress& a) { return one.device.address < a; });
    return it != reported.end() && it->device.address == address ? &*it : nullptr;
  };
  std::vector<const DeviceSpecEntry*> matched;
  matched.reserve(reported.size());
  for (Reported& one : reported) {
    matched.push_back(FindEntry(entries, one));
    // A PF is blocked while one of its VFs is held.
    if (!one.device.parent || !one.held) continue;
    if (Reported* pf = find(*one.device.parent)) pf->available = false;
  }
  for (size_t i = 0; i < reported.size(); ++i) {
    Reported& one = reported[i];
    if (matched[i] == nullptr) continue;
    Reported* pf = one.device.parent ? find(*one.device.parent) : nullptr;
    if (pf != nullptr && pf->held) one.available = false;
    bool both = pf != nullptr && pf->device.kind == DeviceKind::kPf &&
                matched[static_cast<size_t>(pf - reported.data())] != nullptr;
    if (both && refuse_pf_and_vf && out.refused.empty()) {
      out.refused = "DependentDevices";
      out.refused_why = "device_spec lists the PF " + pf->device.address.ToString() +
                        " together with its VF " + one.device.address.ToString();
    }
    ApplyEntry(*matched[i], one.device);
  }
  out.host.devices.reserve(reported.size());
  for (size_t i = 0; i < reported.size(); ++i) {
    if (matched[i] != nullptr && reported[i].available)
      out.host.devices.push_back(std::move(reported[i].device));
  }
}

}  // namespace berth::scheduler::whatif
