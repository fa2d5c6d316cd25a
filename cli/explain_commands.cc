#include <memory>
#include <string>

#include "cli/client.h"
#include "cli/command.h"
#include "cli/instance_picture.h"
#include "cli/table.h"
#include "cli/wire_json.h"
#include "cli/wish_options.h"

namespace berth::cli {
namespace {

using Align = Table::Align;

struct Options {
  std::string flavor;
  std::string host;
  WishOptions wish;
  std::string availability_zone;
  std::string project;
  bool per_host = false;
  bool reasons_only = false;
};

Result<v1::Wish> WishOf(const Options& options) {
  TRY_ASSIGN(v1::Wish wish, options.wish.Parse(options.flavor));
  wish.set_availability_zone(options.availability_zone);
  wish.set_project(options.project);
  return wish;
}

std::string Hosts(uint64_t count) {
  return std::to_string(count) + (count == 1 ? " host" : " hosts");
}

std::string KindText(v1::ChangeKind kind) {
  switch (kind) {
    case v1::CHANGE_KIND_RELAX_POLICY:
      return "policy";
    case v1::CHANGE_KIND_CHANGE_SETTING:
      return "setting";
    case v1::CHANGE_KIND_SHRINK:
      return "size";
    case v1::CHANGE_KIND_FREE_DEVICE:
      return "device";
    case v1::CHANGE_KIND_MOVE_INSTANCE:
      return "instance";
    default:
      return "";
  }
}

std::string ReasonsText(const v1::ExplainResponse& answer) {
  if (answer.reasons_size() == 0) return "";
  Table table({{"REASON"},
               {"HOSTS", Align::kRight},
               {"NEAREST"},
               {"WHERE"},
               {"HAVE", Align::kRight},
               {"NEED", Align::kRight},
               {"WHAT"}});
  for (const v1::ReasonCount& reason : answer.reasons()) {
    const v1::Reason& nearest = reason.nearest();
    table.AddRow({reason.code(), std::to_string(reason.hosts()), reason.nearest_host(), nearest.where(),
                  nearest.have(), nearest.need(), nearest.text()});
  }
  return table.ToString();
}

std::string ChangesText(const v1::ExplainResponse& answer) {
  std::string text;
  if (answer.changes_size() > 0) {
    text += "\nOne of these changes is enough, the cheapest first:\n";
    for (const v1::Change& change : answer.changes())
      text += "  " + PadRight(KindText(change.kind()), 10) + change.text() + "\n";
  } else {
    text += "\nNo single change was found that is enough.\n";
  }
  if (answer.hosts_not_tried() > 0)
    text += "Moving instances was not tried on " + Hosts(answer.hosts_not_tried()) + ".\n";
  return text;
}

std::string ExplainText(const v1::ExplainResponse& answer, const Options& options) {
  std::string text;
  if (answer.fitting() > 0) {
    text = options.flavor + " fits on " + std::to_string(answer.fitting()) + " of " + Hosts(answer.hosts());
  } else {
    text = options.flavor + " fits on none of " + Hosts(answer.hosts());
  }
  if (answer.undecided() > 0) text += "; " + Hosts(answer.undecided()) + " undecided";
  text += "\n";
  for (const std::string& note : answer.notes()) text += "note: " + note + "\n";
  if (std::string reasons = ReasonsText(answer); !reasons.empty()) text += "\n" + reasons;
  if (options.per_host && answer.verdicts_size() > 0) text += "\n" + VerdictsTable(answer.verdicts());
  if (answer.fitting() == 0 && answer.hosts() > 0 && !options.reasons_only) text += ChangesText(answer);
  return text;
}

Status Explain(Context& context, const Options& options) {
  TRY_ASSIGN(Format format, context.ChooseFormat({Format::kTable, Format::kJson, Format::kYaml}));
  v1::ExplainRequest request;
  TRY_ASSIGN(*request.mutable_wish(), WishOf(options));
  request.set_host(options.host);
  request.set_verdicts(options.per_host);
  request.set_changes(!options.reasons_only);
  Client client(context);
  TRY_ASSIGN(v1::ExplainResponse answer,
             client.Call(client.scheduler(), &v1::Scheduler::Stub::Explain, request));
  context.terminal.out << (format == Format::kTable ? ExplainText(answer, options)
                                                    : ToText(ToJson(answer), format));
  return OkStatus();
}

std::string CapacityText(const v1::GetCapacityResponse& answer, const std::string& flavor) {
  std::string text;
  if (answer.hosts_size() > 0) {
    Table table({{"HOST"}, {"INSTANCES", Align::kRight}});
    for (const auto& host : answer.hosts())
      table.AddRow({host.host(), (host.undecided() ? ">= " : "") + std::to_string(host.instances())});
    text = table.ToString() + "\n";
  }
  if (answer.aggregates_size() > 1) {
    Table table({{"AGGREGATE"}, {"INSTANCES", Align::kRight}, {"HOSTS", Align::kRight}});
    for (const auto& one : answer.aggregates())
      table.AddRow({one.name(), std::to_string(one.instances()), std::to_string(one.hosts())});
    text += table.ToString() + "\n";
  }
  text += std::to_string(answer.instances()) + " more of " + flavor + ", on " +
          std::to_string(answer.hosts_size()) + " of " + Hosts(answer.hosts_total()) + "\n";
  if (answer.undecided() > 0)
    text += "On " + Hosts(answer.undecided()) + " there may be more: the search gave up.\n";
  return text;
}

Status Capacity(Context& context, const Options& options) {
  TRY_ASSIGN(Format format, context.ChooseFormat({Format::kTable, Format::kJson, Format::kYaml}));
  v1::GetCapacityRequest request;
  TRY_ASSIGN(*request.mutable_wish(), WishOf(options));
  request.set_host(options.host);
  Client client(context);
  TRY_ASSIGN(v1::GetCapacityResponse answer,
             client.Call(client.scheduler(), &v1::Scheduler::Stub::GetCapacity, request));
  context.terminal.out << (format == Format::kTable ? CapacityText(answer, options.flavor)
                                                    : ToText(ToJson(answer), format));
  return OkStatus();
}

void AddQuestion(CLI::App& verb, Options& options, Context& context) {
  verb.add_option("FLAVOR", options.flavor, "Flavor, see: berthctl flavor list")->required();
  verb.add_option("--host", options.host, "Only this host (name or UUID)")->type_name("HOST");
  options.wish.AddTo(verb);
  verb.add_option("--availability-zone", options.availability_zone, "Only in this zone")->type_name("ZONE");
  verb.add_option("--project", options.project, "Of this tenant")->type_name("PROJECT");
  AddOutputOption(verb, context, "table (default), json, yaml");
}

}  // namespace

void AddExplain(CLI::App& app, Context& context, Verbs& verbs) {
  auto why = std::make_shared<Options>();
  CLI::App* explain =
      AddVerb(app, "explain", "Say why hosts take a request or not, and what single change would help",
              "berthctl explain gpu4 --port vnic=direct,network=physnet0 --per-host");
  AddQuestion(*explain, *why, context);
  explain->add_flag("--per-host", why->per_host, "Also the first thing missing on each host");
  explain->add_flag("--reasons-only", why->reasons_only, "Do not look for changes, which takes longer");
  verbs.Add(explain, [why](Context& c) { return Explain(c, *why); });

  auto how_many = std::make_shared<Options>();
  CLI::App* capacity = AddVerb(app, "capacity", "Count how many more instances of a flavor fit",
                               "berthctl capacity gpu4 -o json");
  AddQuestion(*capacity, *how_many, context);
  verbs.Add(capacity, [how_many](Context& c) { return Capacity(c, *how_many); });
}

}  // namespace berth::cli
