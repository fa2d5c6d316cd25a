#include <memory>

#include "cli/command.h"
#include "cli/table.h"
#include "compute-agent/devices/report_builder.h"
#include "compute-agent/inventory/discover.h"

namespace berth::cli {
namespace {

struct CheckOptions {
  std::string root = "/";
  std::string config;
};

// The settings of the host in an agent's configuration; the rest of the file is the agent's own matter.
Result<agent::HostConfig> ReadConfig(const std::string& path) {
  agent::HostConfig config;
  if (path.empty()) return config;
  TRY_ASSIGN(YamlNode root, ReadYamlFile(path));
  agent::ErrorList errors;
  config = agent::ParseHostConfig(root, errors);
  Status status = errors.ToStatus();
  if (!status.ok()) return std::move(status).WithContext(path);
  return config;
}

Json ToJson(const agent::PreflightReport& report) {
  Json findings = Json::array();
  for (const agent::Finding& finding : report.findings) {
    findings.push_back({{"id", finding.id},
                        {"scope", agent::ScopeName(finding.scope)},
                        {"severity", agent::SeverityName(finding.severity)},
                        {"found", finding.found},
                        {"needed", finding.needed},
                        {"repair", finding.repair.empty() ? Json(nullptr) : Json(finding.repair)}});
  }
  Json secure = Json::array();
  for (const auto& [node, bytes] : report.secure.bytes) secure.push_back({{"node", node}, {"bytes", bytes}});
  return {{"confidential_type", agent::ConfidentialKindName(report.kind)},
          {"secure_memory", std::move(secure)},
          {"passed",
           {{"guests", report.Passed(agent::Scope::kGuests)},
            {"devices", report.Passed(agent::Scope::kDevices)},
            {"confidential",
             report.kind != agent::ConfidentialKind::kNone && report.Passed(agent::Scope::kConfidential)}}},
          {"findings", std::move(findings)}};
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

Status CheckLocalHost(Context& context, const CheckOptions& options) {
  TRY_ASSIGN(Format format, context.ChooseFormat({Format::kTable, Format::kJson, Format::kYaml}));
  Result<agent::Root> root = agent::Root::Open(options.root);
  if (!root.has_value()) return std::move(root).error().WithField("root");
  TRY_ASSIGN(agent::HostConfig config, ReadConfig(options.config));
  agent::HostInventory inventory = agent::Discover(*root);
  // Whether KVM can be used is only tried on the machine itself; another tree is taken at its word.
  if (!root->is_live()) inventory.facts.kvm.usable = inventory.facts.kvm.present;
  agent::PreflightReport report = agent::CheckHost(inventory, config, agent::ReadHostSettings(*root));
  context.terminal.out << (format == Format::kTable ? ToTable(report) : ToText(ToJson(report), format));
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
      AddVerb(noun, "check", "Check whether this machine is fit for guests, devices, confidential guests",
              "berthctl host check --config /etc/berth/agent.yaml -o json");
  auto options = std::make_shared<CheckOptions>();
  verb->add_option("--root", options->root, "Folder that holds sys, proc, etc and dev of the machine")
      ->type_name("DIR")
      ->capture_default_str();
  verb->add_option("--config", options->config, "The agent's configuration")->type_name("FILE");
  AddOutputOption(*verb, context, "table (default), json, yaml");
  verbs.Add(verb, [options](Context& c) { return CheckLocalHost(c, *options); });
}

}  // namespace berth::cli
