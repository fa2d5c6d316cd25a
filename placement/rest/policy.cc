#include "placement/rest/policy.h"

#include <algorithm>

#include "common/log.h"
#include "placement/rest/policy_check.h"

namespace berth::placement::rest {
namespace {

constexpr std::string_view kAdminOrService = "rule:admin_or_service_api";

struct Default {
  std::string_view name;
  std::string_view check;
  bool deprecated_admin = false;  // the old default role:admin allows as well, unless only new ones count
};

// Names and defaults of Placement's policy.
constexpr Default kDefaults[] = {
    {"admin_api", "role:admin"},
    {"service_api", "role:service", true},
    {"admin_or_service_api", "role:admin or role:service", true},
    {"project_reader_api", "role:reader and project_id:%(project_id)s", true},
    {"admin_or_project_reader_or_service_api", "role:admin or rule:project_reader_api or role:service", true},
    {"placement:resource_providers:list", kAdminOrService},
    {"placement:resource_providers:create", kAdminOrService},
    {"placement:resource_providers:show", kAdminOrService},
    {"placement:resource_providers:update", kAdminOrService},
    {"placement:resource_providers:delete", kAdminOrService},
    {"placement:resource_classes:list", kAdminOrService},
    {"placement:resource_classes:create", kAdminOrService},
    {"placement:resource_classes:show", kAdminOrService},
    {"placement:resource_classes:update", kAdminOrService},
    {"placement:resource_classes:delete", kAdminOrService},
    {"placement:resource_providers:inventories:list", kAdminOrService},
    {"placement:resource_providers:inventories:create", kAdminOrService},
    {"placement:resource_providers:inventories:show", kAdminOrService},
    {"placement:resource_providers:inventories:update", kAdminOrService},
    {"placement:resource_providers:inventories:delete", kAdminOrService},
    {"placement:resource_providers:aggregates:list", kAdminOrService},
    {"placement:resource_providers:aggregates:update", kAdminOrService},
    {"placement:resource_providers:usages", kAdminOrService},
    {"placement:usages", "rule:admin_or_project_reader_or_service_api"},
    {"placement:traits:list", kAdminOrService},
    {"placement:traits:show", kAdminOrService},
    {"placement:traits:update", kAdminOrService},
    {"placement:traits:delete", kAdminOrService},
    {"placement:resource_providers:traits:list", kAdminOrService},
    {"placement:resource_providers:traits:update", kAdminOrService},
    {"placement:resource_providers:traits:delete", kAdminOrService},
    {"placement:allocations:manage", kAdminOrService},
    {"placement:allocations:list", kAdminOrService},
    {"placement:allocations:update", kAdminOrService},
    {"placement:allocations:delete", kAdminOrService},
    {"placement:resource_providers:allocations:list", kAdminOrService},
    {"placement:allocation_candidates:list", kAdminOrService},
    {"placement:reshaper:reshape", "rule:service_api"},
};

}  // namespace

Policy::Policy() = default;
Policy::Policy(Policy&&) noexcept = default;
Policy& Policy::operator=(Policy&&) noexcept = default;
Policy::~Policy() = default;

Status Policy::Define(const std::string& name, std::string_view check) {
  Result<std::unique_ptr<PolicyCheck>> parsed = ParsePolicyCheck(check);
  if (!parsed) return std::move(parsed).error().WithField("policy." + name);
  rules_[name] = *std::move(parsed);
  return {};
}

Result<Policy> Policy::Make(const Options& options, const YamlNode& overrides) {
  Policy policy;
  for (const Default& rule : kDefaults) {
    std::string check(rule.check);
    if (rule.deprecated_admin && !options.new_defaults_only) check = "(" + check + ") or role:admin";
    TRY(policy.Define(std::string(rule.name), check));
  }
  if (!overrides.is_null() && !overrides.is_map()) {
    return InvalidArgument("must be a map of rules", "policy");
  }
  std::vector<std::string_view> names;
  for (const Default& rule : kDefaults) names.push_back(rule.name);
  for (const auto& [name, node] : overrides.entries) {
    // A rule of one's own, to be named by others, is fine; a misspelt one of ours is most likely a mistake.
    if (name.starts_with("placement:") && std::find(names.begin(), names.end(), name) == names.end()) {
      std::string nearest(NearestName(name, names));
      return InvalidArgument("no such rule", "policy." + name,
                             nearest.empty() ? "" : "did you mean " + nearest + "?");
    }
    TRY_ASSIGN(std::string check, YamlString(node, "policy." + name));
    TRY(policy.Define(name, check));
  }
  return policy;
}

bool Policy::Allows(std::string_view rule, const Identity& identity, const Target& target) const {
  if (identity.system_scope) return false;  // all rules have the scope "project"
  std::function<const PolicyCheck*(std::string_view)> find =
      [this](std::string_view name) -> const PolicyCheck* {
    auto at = rules_.find(name);
    return at == rules_.end() ? nullptr : at->second.get();
  };
  const PolicyCheck* check = find(rule);
  return check != nullptr && check->Passes({identity, target, find});
}

}  // namespace berth::placement::rest
