#pragma once

#include <functional>
#include <memory>
#include <string_view>

#include "common/status.h"
#include "placement/rest/policy.h"

namespace berth::placement::rest {

// One parsed check of a policy rule.
class PolicyCheck {
 public:
  struct Context {
    const Identity& identity;
    const Policy::Target& target;
    // The rule of that name, nullptr if there is none.
    const std::function<const PolicyCheck*(std::string_view)>& find_rule;
    int depth = 0;  // of rules in rules
  };

  virtual ~PolicyCheck() = default;
  virtual bool Passes(const Context& context) const = 0;
};

// kInvalidArgument says what was expected where. "" passes always.
Result<std::unique_ptr<PolicyCheck>> ParsePolicyCheck(std::string_view text);

}  // namespace berth::placement::rest
