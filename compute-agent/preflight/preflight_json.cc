#include "compute-agent/preflight/preflight_json.h"

#include <utility>

namespace berth::agent {

nlohmann::ordered_json ToJson(const PreflightReport& report) {
  using Json = nlohmann::ordered_json;
  Json findings = Json::array();
  for (const Finding& finding : report.findings) {
    findings.push_back({{"id", finding.id},
                        {"scope", ScopeName(finding.scope)},
                        {"severity", SeverityName(finding.severity)},
                        {"found", finding.found},
                        {"needed", finding.needed},
                        {"repair", finding.repair.empty() ? Json(nullptr) : Json(finding.repair)}});
  }
  Json secure = Json::array();
  for (const auto& [node, bytes] : report.secure.bytes) secure.push_back({{"node", node}, {"bytes", bytes}});
  return {{"confidential_type", ConfidentialKindName(report.kind)},
          {"secure_memory", std::move(secure)},
          {"passed",
           {{"guests", report.Passed(Scope::kGuests)},
            {"devices", report.Passed(Scope::kDevices)},
            {"confidential", report.kind != ConfidentialKind::kNone && report.Passed(Scope::kConfidential)}}},
          {"findings", std::move(findings)}};
}

}  // namespace berth::agent
