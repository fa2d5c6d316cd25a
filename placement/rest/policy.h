#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "common/status.h"
#include "common/yaml.h"
#include "placement/rest/identity.h"

namespace berth::placement::rest {

class PolicyCheck;

// Who may do what: Placement's rules by their names, with its defaults, each of which a file may replace. A
// rule is a check in OpenStack's language: "role:admin", "rule:admin_api", "project_id:%(project_id)s", "@"
// (everybody),
// "!" (nobody), joined by and, or, not and parentheses. Immutable, so thread-safe.
class Policy {
 public:
  struct Options {
    // Only the new defaults count (admin, service, a project's reader): the role admin alone does not
    // reshape. Else the old ones (role:admin) allow as well.
    bool new_defaults_only = true;
  };
  // What the request is about, for %(project_id)s.
  struct Target {
    std::string project_id = {};
    std::string user_id = {};
  };

  // `overrides`: a map of rules; may be null. Errors name the rule.
  static Result<Policy> Make(const Options& options, const YamlNode& overrides);
  Policy(Policy&&) noexcept;
  Policy& operator=(Policy&&) noexcept;
  ~Policy();

  // `rule` is one of Placement's names; unknown ones allow nobody.
  bool Allows(std::string_view rule, const Identity& identity, const Target& target) const;

 private:
  Policy();
  Status Define(const std::string& name, std::string_view check);

  std::map<std::string, std::unique_ptr<PolicyCheck>, std::less<>> rules_;
};

}  // namespace berth::placement::rest
