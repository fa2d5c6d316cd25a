#include "compute-agent/inventory/discover.h"

#include <memory>

#include "cli/command.h"
#include "cli/discovery_output.h"

namespace berth::cli {
namespace {

Status RunDiscover(Context& context, const std::string& path) {
  TRY_ASSIGN(Format format,
             context.ChooseFormat({Format::kTree, Format::kTable, Format::kJson, Format::kYaml}));
  Result<agent::Root> root = agent::Root::Open(path);
  if (!root.has_value()) return std::move(root).error().WithField("root");
  agent::HostInventory inventory = agent::Discover(*root);
  switch (format) {
    case Format::kTable:
    case Format::kWide:
      context.terminal.out << DiscoveryToTable(inventory);
      break;
    case Format::kTree:
      context.terminal.out << DrawTree(DiscoveryToTree(inventory), context.terminal.columns,
                                       context.terminal.colors);
      break;
    case Format::kJson:
    case Format::kYaml:
      context.terminal.out << ToText(DiscoveryToJson(inventory), format);
      break;
  }
  return OkStatus();
}

}  // namespace

void AddDiscover(CLI::App& app, Context& context, Verbs& verbs) {
  CLI::App* verb = AddVerb(app, "discover", "Show what this machine has: NUMA nodes, pages, PCI devices",
                           "berthctl discover -o json | jq '.numa_nodes[].cpus'");
  auto root = std::make_shared<std::string>("/");
  verb->add_option("--root", *root, "Folder that holds sys and proc, of a recorded machine")
      ->type_name("DIR")
      ->capture_default_str();
  AddOutputOption(*verb, context, "tree (default), table, json, yaml");
  verbs.Add(verb, [root](Context& c) { return RunDiscover(c, *root); });
}

}  // namespace berth::cli
