// The nouns that can only be listed: device, flavor, alias.
#include <map>
#include <memory>

#include "cli/client.h"
#include "cli/command.h"
#include "cli/pci_names.h"
#include "cli/table.h"
#include "cli/text.h"
#include "cli/wire_json.h"

namespace berth::cli {
namespace {

using Align = Table::Align;
const std::vector<Format> kListFormats = {Format::kTable, Format::kWide, Format::kJson, Format::kYaml};

std::string DeviceTypeText(v1::DeviceType type) {
  switch (type) {
    case v1::DEVICE_TYPE_PCI:
      return "type-PCI";
    case v1::DEVICE_TYPE_PF:
      return "type-PF";
    case v1::DEVICE_TYPE_VF:
      return "type-VF";
    default:
      return "";
  }
}

std::string DeviceState(const v1::Device& device, const std::map<std::string, std::string>& names) {
  if (!device.consumer().empty()) {
    auto found = names.find(device.consumer());
    return "used by " + (found == names.end() ? device.consumer() : found->second);
  }
  if (device.blocked()) return "blocked";
  return device.assignable() ? "free" : "not assignable";
}

Status ListDevices(Context& context, const std::string& host) {
  TRY_ASSIGN(Format format, context.ChooseFormat(kListFormats));
  Client client(context);
  v1::ListDevicesRequest request;
  request.set_host(host);
  TRY_ASSIGN(v1::ListDevicesResponse response,
             client.Call(client.placement(), &v1::Placement::Stub::ListDevices, request));
  if (format == Format::kJson || format == Format::kYaml) {
    context.terminal.out << ToText(Json{{"devices", ToJson(response.devices())}}, format);
    return OkStatus();
  }
  v1::ListClaimsRequest claims_request;
  claims_request.set_host(host);
  TRY_ASSIGN(v1::ListClaimsResponse claims,
             client.Call(client.placement(), &v1::Placement::Stub::ListClaims, claims_request));
  std::map<std::string, std::string> names;
  for (const v1::Claim& claim : claims.claims()) names[claim.consumer()] = claim.name();
  bool wide = format == Format::kWide;
  std::vector<Table::Column> columns = {
      {"HOST"}, {"ADDRESS"}, {"TYPE"}, {"ID"}, {"CLASS"}, {"NODE", Align::kRight}, {"STATE"}};
  if (wide) {
    for (const char* name : {"PARENT", "DRIVER", "GROUP", "NETWORK", "RESOURCE CLASS", "TRAITS"}) {
      columns.push_back({name});
    }
  }
  Table table(std::move(columns));
  for (const auto& entry : response.devices()) {
    const v1::Device& device = entry.device();
    std::vector<std::string> row = {entry.host_name(),
                                    device.address(),
                                    DeviceTypeText(device.type()),
                                    device.vendor_id() + ":" + device.product_id(),
                                    PciClassName(device.class_code()),
                                    device.has_numa_node() ? std::to_string(device.numa_node()) : "",
                                    DeviceState(device, names)};
    if (wide) {
      row.push_back(device.parent());
      row.push_back(device.driver());
      row.push_back(device.has_iommu_group() ? std::to_string(device.iommu_group()) : "");
      row.push_back(device.physical_network());
      row.push_back(device.resource_class());
      row.push_back(Join({device.traits().begin(), device.traits().end()}, ","));
    }
    table.AddRow(std::move(row));
  }
  context.terminal.out << table.ToString();
  return OkStatus();
}

Status ListFlavors(Context& context) {
  TRY_ASSIGN(Format format, context.ChooseFormat({Format::kTable, Format::kJson, Format::kYaml}));
  Client client(context);
  TRY_ASSIGN(v1::ListFlavorsResponse response,
             client.Call(client.scheduler(), &v1::Scheduler::Stub::ListFlavors, v1::ListFlavorsRequest()));
  if (format != Format::kTable) {
    context.terminal.out << ToText(Json{{"flavors", ToJson(response.flavors())}}, format);
    return OkStatus();
  }
  Table table({{"NAME"}, {"VCPUS", Align::kRight}, {"MEMORY", Align::kRight}, {"EXTRA SPECS"}});
  for (const v1::Flavor& flavor : response.flavors()) {
    std::map<std::string, std::string> specs(flavor.extra_specs().begin(), flavor.extra_specs().end());
    std::vector<std::string> parts;
    parts.reserve(specs.size());
    for (const auto& [key, value] : specs) {
      parts.push_back(key);
      parts.back().append("=").append(value);
    }
    table.AddRow({flavor.name(), std::to_string(flavor.vcpus()), BytesText(flavor.memory_mib() << 20),
                  Join(parts, " ")});
  }
  context.terminal.out << table.ToString();
  return OkStatus();
}

Status ListAliases(Context& context) {
  TRY_ASSIGN(Format format, context.ChooseFormat({Format::kTable, Format::kJson, Format::kYaml}));
  Client client(context);
  TRY_ASSIGN(v1::ListAliasesResponse response,
             client.Call(client.scheduler(), &v1::Scheduler::Stub::ListAliases, v1::ListAliasesRequest()));
  if (format != Format::kTable) {
    context.terminal.out << ToText(Json{{"aliases", ToJson(response.aliases())}}, format);
    return OkStatus();
  }
  Table table({{"NAME"}, {"VENDOR"}, {"PRODUCT"}, {"TYPE"}, {"NUMA POLICY"}, {"RESOURCE CLASS"}, {"TRAITS"}});
  for (const v1::Alias& alias : response.aliases()) {
    table.AddRow({alias.name(), alias.vendor_id(), alias.product_id(), alias.device_type(),
                  alias.numa_policy(), alias.resource_class(),
                  Join({alias.traits().begin(), alias.traits().end()}, ",")});
  }
  context.terminal.out << table.ToString();
  return OkStatus();
}

}  // namespace

void AddLists(CLI::App& app, Context& context, Verbs& verbs) {
  CLI::App* device = AddNoun(app, "device", "PCI devices known to placement");
  CLI::App* devices = AddVerb(*device, "list", "List devices with who uses them",
                              "berthctl device list --host node-1 -o wide");
  auto host = std::make_shared<std::string>();
  devices->add_option("--host", *host, "Only of this host (name or UUID)")->type_name("HOST");
  AddOutputOption(*devices, context, "table (default), wide, json, yaml");
  verbs.Add(devices, [host](Context& c) { return ListDevices(c, *host); });

  CLI::App* flavor = AddNoun(app, "flavor", "Kinds of instances that can be created");
  CLI::App* flavors = AddVerb(*flavor, "list", "List flavors", "berthctl flavor list");
  AddOutputOption(*flavors, context, "table (default), json, yaml");
  verbs.Add(flavors, ListFlavors);

  CLI::App* alias = AddNoun(app, "alias", "Names for kinds of PCI devices");
  CLI::App* aliases = AddVerb(*alias, "list", "List PCI aliases", "berthctl alias list -o yaml");
  AddOutputOption(*aliases, context, "table (default), json, yaml");
  verbs.Add(aliases, ListAliases);
}

}  // namespace berth::cli
