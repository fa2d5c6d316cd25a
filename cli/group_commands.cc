#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "cli/client.h"
#include "cli/command.h"
#include "cli/place_options.h"
#include "cli/table.h"
#include "cli/text.h"
#include "cli/wire_json.h"

namespace berth::cli {
namespace {

using Align = Table::Align;

Result<v1::ListGroupsResponse> AskGroups(Context& context, const std::string& name) {
  Client client(context);
  v1::ListGroupsRequest request;
  request.set_name(name);
  return client.Call(client.scheduler(), &v1::Scheduler::Stub::ListGroups, request);
}

std::string LimitText(const v1::ServerGroup& group) {
  return group.policy() == v1::GROUP_POLICY_ANTI_AFFINITY ? std::to_string(group.max_per_host()) : "";
}

Status ListGroups(Context& context) {
  TRY_ASSIGN(Format format, context.ChooseFormat({Format::kTable, Format::kJson, Format::kYaml}));
  TRY_ASSIGN(v1::ListGroupsResponse response, AskGroups(context, ""));
  if (format != Format::kTable) {
    context.terminal.out << ToText(Json{{"groups", ToJson(response.groups())}}, format);
    return OkStatus();
  }
  Table table({{"NAME"}, {"POLICY"}, {"PER HOST", Align::kRight}, {"MEMBERS", Align::kRight}});
  for (const auto& group : response.groups()) {
    table.AddRow({group.group().name(), GroupPolicyText(group.group().policy()), LimitText(group.group()),
                  std::to_string(group.members_size())});
  }
  context.terminal.out << table.ToString();
  return OkStatus();
}

Status ShowGroup(Context& context, const std::string& name) {
  TRY_ASSIGN(Format format, context.ChooseFormat({Format::kTable, Format::kJson, Format::kYaml}));
  TRY_ASSIGN(v1::ListGroupsResponse response, AskGroups(context, name));
  if (format != Format::kTable) {
    context.terminal.out << ToText(ToJson(response.groups(0)), format);
    return OkStatus();
  }
  Table table({{"INSTANCE"}, {"HOST"}, {"UUID"}});
  for (const auto& member : response.groups(0).members())
    table.AddRow({member.instance(), member.host(), member.uuid()});
  context.terminal.out << table.ToString();
  return OkStatus();
}

Status ListAggregates(Context& context) {
  TRY_ASSIGN(Format format, context.ChooseFormat({Format::kTable, Format::kJson, Format::kYaml}));
  Client client(context);
  TRY_ASSIGN(
      v1::ListAggregatesResponse response,
      client.Call(client.scheduler(), &v1::Scheduler::Stub::ListAggregates, v1::ListAggregatesRequest()));
  if (format != Format::kTable) {
    context.terminal.out << ToText(Json{{"aggregates", ToJson(response.aggregates())}}, format);
    return OkStatus();
  }
  Table table({{"NAME"}, {"ZONE"}, {"METADATA"}, {"HOSTS"}});
  for (const auto& aggregate : response.aggregates()) {
    std::vector<std::string> metadata;
    for (const auto& [key, value] : aggregate.metadata()) {
      metadata.push_back(key);
      metadata.back().append("=").append(value);
    }
    std::sort(metadata.begin(), metadata.end());
    table.AddRow({aggregate.name(), aggregate.availability_zone(), Join(metadata, ","),
                  Join({aggregate.hosts().begin(), aggregate.hosts().end()}, ",")});
  }
  context.terminal.out << table.ToString();
  return OkStatus();
}

}  // namespace

void AddGroups(CLI::App& app, Context& context, Verbs& verbs) {
  CLI::App* group = AddNoun(app, "group", "Server groups: instances that stay together or apart");
  CLI::App* list = AddVerb(*group, "list", "List the groups that have members", "berthctl group list");
  AddOutputOption(*list, context, "table (default), json, yaml");
  verbs.Add(list, ListGroups);

  auto name = std::make_shared<std::string>();
  CLI::App* show =
      AddVerb(*group, "show", "Show the members of a group and their hosts", "berthctl group show db");
  show->add_option("GROUP", *name, "Name")->required();
  AddOutputOption(*show, context, "table (default), json, yaml");
  verbs.Add(show, [name](Context& c) { return ShowGroup(c, *name); });

  CLI::App* aggregate = AddNoun(app, "aggregate", "Host aggregates of the scheduler's configuration");
  CLI::App* all = AddVerb(*aggregate, "list", "List aggregates with their hosts", "berthctl aggregate list");
  AddOutputOption(*all, context, "table (default), json, yaml");
  verbs.Add(all, ListAggregates);
}

}  // namespace berth::cli
