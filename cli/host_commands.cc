#include <memory>

#include "cli/client.h"
#include "cli/command.h"
#include "cli/host_picture.h"
#include "cli/table.h"
#include "cli/text.h"
#include "cli/wire_json.h"
#include "common/cpu_set.h"

namespace berth::cli {
namespace {

using Align = Table::Align;

struct Totals {
  CpuSet cpus;
  CpuSet dedicated;
  CpuSet pinned;
  uint64_t memory = 0;
  uint64_t memory_used = 0;
  uint64_t floating = 0;
  uint32_t assignable = 0;
  uint32_t devices_used = 0;
};

Totals TotalsOf(const v1::Host& host) {
  Totals totals;
  totals.memory_used = host.floating_memory_bytes();
  totals.floating = host.floating_vcpus();
  for (const v1::Cell& cell : host.cells()) {
    CpuSet dedicated = CpuSet::Parse(cell.dedicated_cpus()).value_or(CpuSet());
    totals.dedicated |= dedicated;
    totals.cpus |= dedicated | CpuSet::Parse(cell.shared_cpus()).value_or(CpuSet());
    totals.pinned |= CpuSet::Parse(cell.usage().pinned_cpus()).value_or(CpuSet());
    totals.memory += cell.memory_bytes();
    totals.memory_used += cell.usage().memory_bytes();
    totals.floating += cell.usage().shared_vcpus();
  }
  for (const v1::Device& device : host.devices()) {
    if (device.assignable()) ++totals.assignable;
    if (!device.consumer().empty()) ++totals.devices_used;
  }
  return totals;
}

Status ListHosts(Context& context) {
  TRY_ASSIGN(Format format,
             context.ChooseFormat({Format::kTable, Format::kWide, Format::kJson, Format::kYaml}));
  Client client(context);
  TRY_ASSIGN(v1::ListHostsResponse response,
             client.Call(client.placement(), &v1::Placement::Stub::ListHosts, v1::ListHostsRequest()));
  if (format == Format::kJson || format == Format::kYaml) {
    context.terminal.out << ToText(Json{{"hosts", ToJson(response.hosts())}}, format);
    return OkStatus();
  }
  std::vector<Table::Column> columns = {{"NAME"},
                                        {"CELLS", Align::kRight},
                                        {"CPUS", Align::kRight},
                                        {"PINNED", Align::kRight},
                                        {"FLOATING", Align::kRight},
                                        {"MEMORY", Align::kRight},
                                        {"USED", Align::kRight},
                                        {"DEVICES", Align::kRight},
                                        {"KVM"},
                                        {"STATUS"}};
  if (format == Format::kWide) {
    for (const char* name : {"UUID", "AGENT", "KERNEL", "WARNINGS"}) columns.push_back({name});
  }
  Table table(std::move(columns));
  for (const v1::Host& host : response.hosts()) {
    Totals totals = TotalsOf(host);
    std::vector<std::string> row = {
        host.name(),
        std::to_string(host.cells_size()),
        std::to_string(totals.cpus.Count()),
        std::to_string(totals.pinned.Count()) + "/" + std::to_string(totals.dedicated.Count()),
        std::to_string(totals.floating),
        BytesText(totals.memory),
        BytesText(totals.memory_used),
        std::to_string(totals.devices_used) + "/" + std::to_string(totals.assignable),
        host.can_run_guests() ? "yes" : "no",
        IsDrained(host) ? "drained" : "enabled"};
    if (format == Format::kWide) {
      row.push_back(host.uuid());
      row.push_back(host.agent_endpoint());
      row.push_back(host.kernel_release());
      row.push_back(std::to_string(host.warnings_size()));
    }
    table.AddRow(std::move(row));
  }
  context.terminal.out << table.ToString();
  return OkStatus();
}

Result<v1::GetHostResponse> GetHost(Client& client, const std::string& name) {
  v1::GetHostRequest request;
  request.set_host(name);
  return client.Call(client.placement(), &v1::Placement::Stub::GetHost, request);
}

std::string HostTables(const v1::GetHostResponse& response) {
  const v1::Host& host = response.host();
  Table facts({{"FIELD"}, {"VALUE"}});
  facts.AddRow({"name", host.name()});
  facts.AddRow({"uuid", host.uuid()});
  facts.AddRow({"agent", host.agent_endpoint()});
  facts.AddRow({"os", host.os_name()});
  facts.AddRow({"kernel", host.kernel_release()});
  facts.AddRow({"KVM", host.can_run_guests() ? "yes" : "no"});
  facts.AddRow({"status", IsDrained(host) ? "drained" : "enabled"});
  facts.AddRow({"generation", std::to_string(host.generation())});
  Table cells({{"CELL", Align::kRight},
               {"SOCKET", Align::kRight},
               {"DEDICATED"},
               {"SHARED"},
               {"PINNED"},
               {"MEMORY", Align::kRight},
               {"USED", Align::kRight},
               {"PAGES (USED/TOTAL)"}});
  for (const v1::Cell& cell : host.cells()) {
    std::vector<std::string> pools;
    for (int i = 1; i < cell.pages_size(); ++i) {
      const v1::PagePool& pool = cell.pages(i);
      pools.push_back(PageSizeText(pool.size_bytes()) + " " + std::to_string(pool.used()) + "/" +
                      std::to_string(pool.total()));
    }
    cells.AddRow({std::to_string(cell.id()), cell.has_socket() ? std::to_string(cell.socket()) : "",
                  cell.dedicated_cpus(), cell.shared_cpus(), cell.usage().pinned_cpus(),
                  BytesText(cell.memory_bytes()), BytesText(cell.usage().memory_bytes()), Join(pools, ", ")});
  }
  std::string text = facts.ToString() + "\n" + cells.ToString();
  if (response.claims_size() > 0) {
    Table claims({{"INSTANCE"}, {"FLAVOR"}, {"VCPUS", Align::kRight}, {"MEMORY", Align::kRight}, {"UUID"}});
    for (const v1::Claim& claim : response.claims()) {
      claims.AddRow({claim.name(), claim.spec().flavor(), std::to_string(claim.spec().vcpus()),
                     BytesText(claim.spec().memory_bytes()), claim.consumer()});
    }
    text += "\n" + claims.ToString();
  }
  for (const std::string& warning : host.warnings()) text += "\nwarning: " + warning;
  if (host.warnings_size() > 0) text += "\n";
  return text;
}

Status ShowHost(Context& context, const std::string& name, const std::vector<Format>& formats) {
  TRY_ASSIGN(Format format, context.ChooseFormat(formats));
  Client client(context);
  TRY_ASSIGN(v1::GetHostResponse response, GetHost(client, name));
  if (format == Format::kTree) {
    context.terminal.out << DrawTree(HostPicture(response), context.terminal.columns,
                                     context.terminal.colors);
  } else if (format == Format::kTable) {
    context.terminal.out << HostTables(response);
  } else {
    context.terminal.out << ToText(ToJson(response), format);
  }
  return OkStatus();
}

}  // namespace

void AddHost(CLI::App& app, Context& context, Verbs& verbs) {
  CLI::App* host = AddNoun(app, "host", "Hosts known to placement");
  AddHostCheck(*host, context, verbs);
  AddHostStatus(*host, context, verbs);
  CLI::App* list = AddVerb(*host, "list", "List hosts with what is used and free", "berthctl host list");
  AddOutputOption(*list, context, "table (default), wide, json, yaml");
  verbs.Add(list, ListHosts);

  auto name = std::make_shared<std::string>();
  CLI::App* show = AddVerb(*host, "show", "Show one host with its cells and instances",
                           "berthctl host show node-1 -o json");
  show->add_option("HOST", *name, "Name or UUID")->required();
  AddOutputOption(*show, context, "table (default), tree, json, yaml");
  verbs.Add(show, [name](Context& c) {
    return ShowHost(c, *name, {Format::kTable, Format::kTree, Format::kJson, Format::kYaml});
  });

  CLI::App* topology =
      AddVerb(*host, "topology", "Draw one host: sockets, nodes, CPUs and devices with who uses them",
              "berthctl host topology node-1");
  topology->add_option("HOST", *name, "Name or UUID")->required();
  AddOutputOption(*topology, context, "tree (default), json, yaml");
  verbs.Add(topology,
            [name](Context& c) { return ShowHost(c, *name, {Format::kTree, Format::kJson, Format::kYaml}); });
}

}  // namespace berth::cli
