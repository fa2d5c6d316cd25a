#include "compute-agent/preflight/preflight.h"

#include <algorithm>

#include "compute-agent/preflight/checks.h"

namespace berth::agent {

const char* SeverityName(Severity severity) {
  switch (severity) {
    case Severity::kOk:
      return "ok";
    case Severity::kInfo:
      return "info";
    case Severity::kWarning:
      return "warning";
    case Severity::kHard:
      return "error";
  }
  return "unknown";
}

const char* ScopeName(Scope scope) {
  switch (scope) {
    case Scope::kGuests:
      return "guests";
    case Scope::kDevices:
      return "devices";
    case Scope::kConfidential:
      return "confidential";
  }
  return "unknown";
}

void AddFinding(PreflightReport& report, Scope scope, const char* id, bool bad, Severity severity,
                std::string found, std::string needed, std::string repair) {
  report.findings.push_back({id, scope, bad ? severity : Severity::kOk, std::move(found), std::move(needed),
                             bad ? std::move(repair) : ""});
}

bool PreflightReport::Passed(Scope scope) const {
  return std::none_of(findings.begin(), findings.end(), [scope](const Finding& finding) {
    bool concerns = finding.scope == scope || finding.scope == Scope::kGuests;
    return concerns && finding.severity == Severity::kHard;
  });
}

PreflightReport CheckHost(const PreflightInput& input) {
  PreflightReport report;
  report.kind = ChosenKind(input.confidential, input.inventory.confidential);
  report.secure = FindSecureMemory(report.kind, input.confidential, input.inventory.confidential);
  CheckGuests(input, report);
  CheckDevices(input, report);
  if (report.kind != ConfidentialKind::kNone) CheckConfidential(input, report);
  return report;
}

}  // namespace berth::agent
