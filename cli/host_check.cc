#include <memory>

#include "cli/client.h"
#include "cli/command.h"
#include "cli/table.h"
#include "compute-agent/devices/report_builder.h"
#include "compute-agent/inventory/discover.h"
#include "compute-agent/preflight/preflight_json.h"

namespace berth::cli {
namespace {

struct CheckOptions {
  std::string host;  // empty: this machine
  std::string root = "/";
  std::string config;
  bool json = false;
};

// The settings of the host in an agent's configuration; the rest of the file is the agent's own matter.
Result<agent::HostConfig> ReadConfig(const std::string& path) {
  agent::HostConfig config;
  if (path.empty()) return config;
  TRY_ASSIGN(YamlNode root, ReadYamlFile(path));
  ErrorList errors;
  config = agent::ParseHostConfig(root, errors);
  Status status = errors.ToStatus();
  if (!status.ok()) return std::move(status).WithContext(path);
  return config;
}

std::string ToTable(const agent::PreflightReport& report) {
  Table table({{"CHECK"}, {"FOR"}, {"RESULT"}, {"FOUND"}});
  for (const agent::Finding& finding : report.findings) {
    table.AddRow(
        {finding.id, agent::ScopeName(finding.scope), agent::SeverityName(finding.severity), finding.found});
  }
  std::string text = table.ToString();
  for (const agent::Finding& finding : report.findings) {
    if (finding.severity == agent::Severity::kOk) continue;
    text += "\n" + std::string(agent::SeverityName(finding.severity)) + " " + finding.id +
            "\n  found:  " + finding.found + "\n  needed: " + finding.needed + "\n";
    if (!finding.repair.empty()) text += "  repair: " + finding.repair + "\n";
  }
  text += "\nguests: " + std::string(report.Passed(agent::Scope::kGuests) ? "yes" : "no") +
          ", devices: " + (report.Passed(agent::Scope::kDevices) ? "yes" : "no") + ", confidential guests: " +
          (report.kind == agent::ConfidentialKind::kNone ? "not shown by this host"
           : report.Passed(agent::Scope::kConfidential)  ? agent::ConfidentialKindName(report.kind)
                                                         : "no") +
          "\n";
  return text;
}

// What a host's agent says of it, as if it had been checked here.
Result<agent::PreflightReport> AskAgent(Context& context, const std::string& host) {
  Client client(context);
  v1::CheckHostRequest request;
  request.set_host(host);
  TRY_ASSIGN(v1::CheckHostResponse response,
             client.Call(client.scheduler(), &v1::Scheduler::Stub::CheckHost, request));
  agent::PreflightReport report;
  report.kind =
      agent::ParseConfidentialKind(response.confidential_type()).value_or(agent::ConfidentialKind::kNone);
  for (const v1::SecureMemory& memory : response.secure_memory())
    report.secure.bytes[memory.node()] = memory.bytes();
  for (const v1::HostFinding& in : response.findings()) {
    agent::Finding finding;
    finding.id = in.id();
    for (agent::Scope scope : {agent::Scope::kGuests, agent::Scope::kDevices, agent::Scope::kConfidential}) {
      if (in.scope() == agent::ScopeName(scope)) finding.scope = scope;
    }
    // A word of a later version counts as a warning: nothing is hidden.
    finding.severity = agent::Severity::kWarning;
    for (agent::Severity severity : {agent::Severity::kOk, agent::Severity::kInfo, agent::Severity::kHard}) {
      if (in.severity() == agent::SeverityName(severity)) finding.severity = severity;
    }
    finding.found = in.found();
    finding.needed = in.needed();
    finding.repair = in.repair();
    report.findings.push_back(std::move(finding));
  }
  return report;
}

Result<agent::PreflightReport> CheckThisMachine(const CheckOptions& options) {
  Result<agent::Root> root = agent::Root::Open(options.root);
  if (!root.has_value()) return std::move(root).error().WithField("root");
  TRY_ASSIGN(agent::HostConfig config, ReadConfig(options.config));
  agent::HostInventory inventory = agent::Discover(*root);
  // Whether KVM can be used is only tried on the machine itself; another tree is taken at its word.
  if (!root->is_live()) inventory.facts.kvm.usable = inventory.facts.kvm.present;
  return agent::CheckHost(inventory, config, agent::ReadHostSettings(*root));
}

Status CheckHost(Context& context, const CheckOptions& options) {
  TRY_ASSIGN(Format format, context.ChooseFormat({Format::kTable, Format::kJson, Format::kYaml}));
  TRY_ASSIGN(agent::PreflightReport report,
             options.host.empty() ? CheckThisMachine(options) : AskAgent(context, options.host));
  context.terminal.out << (format == Format::kTable ? ToTable(report)
                                                    : ToText(agent::ToJson(report), format));
  int hard = 0;
  for (const agent::Finding& finding : report.findings) {
    hard += finding.severity == agent::Severity::kHard ? 1 : 0;
  }
  if (hard == 0) return OkStatus();
  return FailedPrecondition(std::to_string(hard) + (hard == 1 ? " check" : " checks") + " failed");
}

}  // namespace

void AddHostCheck(CLI::App& noun, Context& context, Verbs& verbs) {
  CLI::App* verb =
      AddVerb(noun, "check", "Check whether a machine is fit for guests, devices, confidential guests",
              "berthctl host check --config /etc/berth/agent.yaml -o json\n"
              "  berthctl host check node7");
  auto options = std::make_shared<CheckOptions>();
  CLI::Option* host = verb->add_option("HOST", options->host,
                                       "Name or UUID: its agent is asked [this machine, without services]");
  verb->add_option("--root", options->root, "Folder that holds sys, proc, etc and dev of the machine")
      ->type_name("DIR")
      ->capture_default_str()
      ->excludes(host);
  verb->add_option("--config", options->config, "The agent's configuration")
      ->type_name("FILE")
      ->excludes(host);
  AddOutputOption(*verb, context, "table (default), json, yaml");
  verb->add_flag("--json", options->json, "The same as -o json");
  verbs.Add(verb, [options](Context& c) {
    if (options->json) c.output = "json";
    return CheckHost(c, *options);
  });
}

}  // namespace berth::cli
