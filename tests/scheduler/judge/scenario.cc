#include "tests/scheduler/judge/scenario.h"

#include <algorithm>
#include <cctype>
#include <regex>
#include <set>

#include <nlohmann/json.hpp>

#include "placement/model/names.h"
#include "scheduler/request/resolve.h"

namespace berth::scheduler {
namespace {

using Json = nlohmann::json;

std::string Lower(std::string text) {
  for (char& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return text;
}

std::string Hex4(const std::string& text) {
  std::string lower = Lower(text);
  return std::string(lower.size() < 4 ? 4 - lower.size() : 0, '0') + lower;
}

CpuSet Cpus(const Json& value) {
  if (value.is_string()) return CpuSet::Parse(value.get<std::string>()).value();
  CpuSet out;
  for (const Json& cpu : value)
    out.Add(cpu.is_string() ? static_cast<uint32_t>(std::stoul(cpu.get<std::string>()))
                            : cpu.get<uint32_t>());
  return out;
}

Properties Strings(const Json& object) {
  Properties out;
  for (const auto& [key, value] : object.items()) {
    out[key] = value.is_string() ? value.get<std::string>() : value.dump();
  }
  return out;
}

// Numbers may be written as text.
uint64_t Whole(const Json& object, const char* key, uint64_t fallback = 0) {
  if (!object.contains(key) || object[key].is_null()) return fallback;
  const Json& value = object[key];
  return value.is_string() ? std::stoull(value.get<std::string>()) : value.get<uint64_t>();
}

double Ratio(const Json& object, const char* key) {
  if (!object.contains(key)) return 1.0;
  return object[key].is_string() ? std::stod(object[key].get<std::string>()) : object[key].get<double>();
}

std::optional<uint32_t> Node(const Json& object, const char* key) {
  if (!object.contains(key) || object[key].is_null()) return std::nullopt;
  const Json& value = object[key];
  int64_t number = value.is_string() ? std::stoll(value.get<std::string>()) : value.get<int64_t>();
  return number < 0 ? std::nullopt : std::optional(static_cast<uint32_t>(number));
}

std::optional<bool> Flag(const Json& object, const char* key) {
  if (!object.contains(key) || object[key].is_null()) return std::nullopt;
  if (object[key].is_boolean()) return object[key].get<bool>();
  return Lower(object[key].get<std::string>()) == "true";
}

// ---- device_spec ----

std::vector<std::string> Fields(const PciAddress& address) {
  std::string text = address.ToString();
  return {text.substr(0, 4), text.substr(5, 2), text.substr(8, 2), text.substr(11)};
}

// The four fields of an address glob; missing or empty ones are "*".
std::vector<std::string> GlobFields(const std::string& glob) {
  std::vector<std::string> out(4, "*");
  std::string rest = glob;
  if (size_t dot = rest.find('.'); dot != std::string::npos) {
    out[3] = rest.substr(dot + 1);
    rest = rest.substr(0, dot);
  }
  std::vector<std::string> parts;
  size_t colon = 0;
  while ((colon = rest.find(':')) != std::string::npos) {
    parts.push_back(rest.substr(0, colon));
    rest = rest.substr(colon + 1);
  }
  parts.push_back(rest);
  for (size_t i = 0; i < parts.size() && i < 3; ++i) out[2 - i] = parts[parts.size() - 1 - i];
  for (std::string& field : out) field = field.empty() ? "*" : Lower(field);
  return out;
}

bool FieldEquals(const std::string& pattern, const std::string& field) {
  return pattern == "*" || std::stoul(pattern, nullptr, 16) == std::stoul(field, nullptr, 16);
}

bool AddressMatches(const Json& pattern, const PciAddress& address) {
  std::vector<std::string> fields = Fields(address);
  if (pattern.is_string()) {
    std::vector<std::string> glob = GlobFields(pattern.get<std::string>());
    for (size_t i = 0; i < 4; ++i) {
      if (!FieldEquals(glob[i], fields[i])) return false;
    }
    return true;
  }
  const char* names[] = {"domain", "bus", "slot", "function"};
  for (size_t i = 0; i < 4; ++i) {
    std::regex expression(pattern.value(names[i], ".*"));
    if (!std::regex_search(fields[i], expression, std::regex_constants::match_continuous)) return false;
  }
  return true;
}

// An entry that names one whole address also lists the VFs of the PF there.
bool NamesOneAddress(const Json& pattern) {
  if (!pattern.is_string()) return false;
  std::vector<std::string> glob = GlobFields(pattern.get<std::string>());
  return std::find(glob.begin(), glob.end(), "*") == glob.end();
}

bool SpecMatches(const Json& spec, const Json& device, const PciAddress& address,
                 std::optional<PciAddress> parent) {
  for (const char* key : {"vendor_id", "product_id"}) {
    if (!spec.contains(key) || spec[key] == "*") continue;
    if (Hex4(spec[key]) != Hex4(device[key])) return false;
  }
  if (!spec.contains("address")) return true;
  if (AddressMatches(spec["address"], address)) return true;
  return parent && NamesOneAddress(spec["address"]) && AddressMatches(spec["address"], *parent);
}

FitDevice MakeDevice(const Json& json, const Json& spec, std::optional<PciAddress> parent) {
  FitDevice device;
  device.address = PciAddress::Parse(json["address"].get<std::string>()).value();
  device.kind = ParseDeviceKind(json["dev_type"].get<std::string>()).value();
  device.vendor_id = Hex4(json["vendor_id"]);
  device.product_id = Hex4(json["product_id"]);
  device.numa_node = Node(json, "numa_node");
  for (const Json& domain : json.value("domains", Json::array())) device.domains.push_back(domain);
  if (device.kind != DeviceKind::kPf) device.parent = parent;
  if (spec.contains("physical_network") && !spec["physical_network"].is_null()) {
    device.network = spec["physical_network"].get<std::string>();
  }
  device.trusted = Flag(spec, "trusted");
  device.remote_managed = Flag(spec, "remote_managed");
  if (!device.remote_managed && device.kind != DeviceKind::kPci) device.remote_managed = false;
  device.resource_class = placement::DefaultPciResourceClass(device.vendor_id, device.product_id);
  if (spec.contains("resource_class")) {
    device.resource_class =
        placement::NormalizeResourceClass(spec["resource_class"].get<std::string>()).value();
  }
  device.traits = placement::NormalizeTraits(spec.value("traits", "")).value();
  return device;
}

void ReadDevices(const Json& json, bool refuse_both, ScenarioHost& out) {
  std::set<PciAddress> taken;
  std::set<PciAddress> busy_parents;
  auto parent_of = [](const Json& device) -> std::optional<PciAddress> {
    if (!device.contains("parent_addr") || device["parent_addr"].is_null()) return std::nullopt;
    return PciAddress::Parse(device["parent_addr"].get<std::string>()).value();
  };
  for (const Json& device : json["pci_devices"]) {
    if (device.value("status", "available") == "available") continue;
    auto address = PciAddress::Parse(device["address"].get<std::string>());
    if (!address.has_value()) continue;
    taken.insert(*address);
    if (auto parent = parent_of(device)) busy_parents.insert(*parent);
  }
  std::set<PciAddress> listed_pfs;
  std::set<PciAddress> listed_parents;
  for (const Json& device : json["pci_devices"]) {
    auto address = PciAddress::Parse(device["address"].get<std::string>());
    if (!address.has_value()) continue;
    auto parent = parent_of(device);
    for (const Json& spec : json["device_spec"]) {
      if (!SpecMatches(spec, device, *address, parent)) continue;
      if (Flag(spec, "remote_managed").value_or(false) && device.value("card_serial_number", "").empty())
        continue;
      FitDevice made = MakeDevice(device, spec, parent);
      if (made.kind == DeviceKind::kPf) listed_pfs.insert(*address);
      if (made.parent) listed_parents.insert(*made.parent);
      bool busy =
          taken.contains(*address) || busy_parents.contains(*address) || (parent && taken.contains(*parent));
      if (!busy) out.host.devices.push_back(std::move(made));
      break;
    }
  }
  bool both = std::any_of(listed_pfs.begin(), listed_pfs.end(),
                          [&](const PciAddress& pf) { return listed_parents.contains(pf); });
  if (both && refuse_both) out.refused = "DependentDevices";
}

FitCell ReadCell(const Json& json) {
  FitCell cell;
  cell.id = Node(json, "id").value();
  cell.socket = Node(json, "socket");
  cell.shared_cpus = Cpus(json["cpuset"]);
  CpuSet dedicated = Cpus(json["pcpuset"]);
  cell.single_pool = cell.shared_cpus == dedicated;
  cell.free_dedicated = dedicated - (json.contains("pinned_cpus") ? Cpus(json["pinned_cpus"]) : CpuSet());
  for (const Json& core : json.value("siblings", Json::array())) cell.siblings.push_back(Cpus(core));
  cell.shared_vcpus = static_cast<uint32_t>(Whole(json, "cpu_usage"));
  cell.memory_bytes = Whole(json, "memory_mb") << 20;
  cell.memory_used_bytes = Whole(json, "memory_used_mb") << 20;
  auto left = [](uint64_t total, uint64_t gone) { return total > gone ? total - gone : 0; };
  for (const Json& pages : json.value("mempages", Json::array())) {
    uint64_t total = Whole(pages, "total");
    cell.pages.push_back(
        {Whole(pages, "size_kb") << 10, total, left(total, Whole(pages, "used") + Whole(pages, "reserved"))});
  }
  cell.secure_room_bytes = left(Whole(json, "secure_memory_mb"), Whole(json, "secure_memory_used_mb")) << 20;
  cell.nonsecure_room_bytes = left(Whole(json, "nonsecure_memory_mb", Whole(json, "memory_mb")),
                                   Whole(json, "nonsecure_memory_used_mb", Whole(json, "memory_used_mb")))
                              << 20;
  const Json network = json.value("network", Json::object());
  cell.tunneled = network.value("tunneled", false);
  for (const Json& name : network.value("physnets", Json::array())) cell.physical_networks.push_back(name);
  return cell;
}

AliasTable ReadAliases(const Json& config) {
  AliasTable table;
  for (const Json& alias : config.value("aliases", Json::array())) {
    std::vector<AliasField> fields;
    for (const auto& [key, value] : alias.items()) {
      std::string text;
      if (value.is_array()) {
        for (const Json& item : value) text += item.get<std::string>() + ",";
      } else {
        text = value.get<std::string>();
      }
      fields.emplace_back(key, text);
    }
    auto entry = MakeAliasEntry(fields);
    if (entry.has_value()) (void)AddAliasEntry(*entry, table);
  }
  return table;
}

Result<RequestSpec> ReadRequest(const Json& json) {
  Flavor flavor;
  flavor.name = json["flavor"].value("name", "f");
  flavor.vcpus = static_cast<uint32_t>(Whole(json["flavor"], "vcpus"));
  flavor.memory_mib = Whole(json["flavor"], "memory_mb");
  flavor.extra_specs = Strings(json["flavor"].value("extra_specs", Json::object()));
  std::vector<PortRequest> ports;
  for (const Json& port : json.value("ports", Json::array())) {
    PortRequest one;
    one.id = port["id"];
    one.vnic_type = port["vnic_type"];
    if (port.contains("physical_network") && !port["physical_network"].is_null()) {
      one.physical_network = port["physical_network"].get<std::string>();
    }
    one.trusted = Flag(port, "trusted");
    one.tunneled = Flag(port, "tunneled").value_or(false);
    if (port.contains("numa_policy") && !port["numa_policy"].is_null()) one.numa_policy = port["numa_policy"];
    ports.push_back(std::move(one));
  }
  const Json config = json.value("config", Json::object());
  bool in_placement = config.value("pci_in_placement", false);
  return ResolveRequest(flavor, Strings(json.value("image_properties", Json::object())), ports,
                        ReadAliases(config),
                        in_placement ? PciTracking::kNovaInPlacement : PciTracking::kNovaTracker);
}

void ReadExpected(const Json& json, Scenario& out) {
  if (!json.contains("expect")) return;
  out.expected_error = json["expect"].value("request_error", "");
  const Json hosts = json["expect"].value("hosts", Json::object());
  for (const auto& [name, host] : hosts.items()) {
    ExpectedHost one{host.value("pass", false), std::nullopt, host.value("refused", "")};
    if (host.contains("non_affine")) one.non_affine = host["non_affine"].get<uint32_t>();
    out.expected[name] = one;
  }
}

}  // namespace

Result<Scenario> ReadScenario(std::string_view line) {
  try {
    Json json = Json::parse(line);
    Scenario out;
    out.id = json["id"];
    out.spec = ReadRequest(json);
    bool refuse_both = json.value("config", Json::object()).value("refuse_pf_and_vf", true);
    for (const Json& host : json["hosts"]) {
      ScenarioHost one;
      one.name = host["name"];
      one.host.cpu_ratio = Ratio(host, "cpu_allocation_ratio");
      one.host.ram_ratio = Ratio(host, "ram_allocation_ratio");
      for (const Json& cell : host["numa_cells"]) one.host.cells.push_back(ReadCell(cell));
      ReadDevices(host, refuse_both, one);
      Prepare(one.host);
      out.hosts.push_back(std::move(one));
    }
    ReadExpected(json, out);
    return out;
  } catch (const std::exception& e) {
    return InvalidArgument(std::string("not a scenario: ") + e.what());
  }
}

}  // namespace berth::scheduler
