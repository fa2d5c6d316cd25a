#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <utility>
#include <vector>

#include "placement/candidates/request.h"
#include "placement/rest/api_error.h"
#include "placement/rest/schema.h"

namespace berth::placement::rest {

// The parameters behind the '?', in their order; a name may come more than once. A value type.
class Query {
 public:
  // '+' is a blank; a '%' without two hexadecimal digits stays. Parameters without '=' have the value "".
  static Query Parse(std::string_view text);

  using Parameter = std::pair<std::string, std::string>;
  const std::vector<Parameter>& parameters() const { return parameters_; }
  // The last one of the name, as the API takes it where it does not say otherwise.
  std::optional<std::string> Last(std::string_view name) const;
  std::vector<std::string> All(std::string_view name) const;
  bool Has(std::string_view name) const { return Last(name).has_value(); }

  // Against the schema of the route; the error is the API's.
  tl::expected<void, ApiError> Check(const Schema& schema) const;

 private:
  std::vector<Parameter> parameters_;
};

// Values of parameters. Each function gives the API's text for what it refuses.

// "VCPU:2,MEMORY_MB:1024"; a class that comes twice counts as it came last.
tl::expected<std::vector<ResourceAmount>, ApiError> ParseResources(std::string_view value);

struct TraitsValue {
  std::vector<std::vector<std::string>> required;  // AND of ORs
  std::vector<std::string> forbidden;
};
// One "required" parameter: "A,B", with forbidden ones "A,!B" (1.22+), or "in:A,B" (1.39+).
tl::expected<TraitsValue, ApiError> ParseTraits(std::string_view value, bool allow_forbidden, bool allow_any);
// All of "required<suffix>": before 1.39 only the last counts.
tl::expected<TraitsValue, ApiError> ParseRequired(const Query& query, std::string_view suffix,
                                                  Microversion version);

struct MemberOfValue {
  std::vector<std::vector<Uuid>> required;  // AND of ORs
  std::vector<Uuid> forbidden;
};
// All of "member_of<suffix>": one UUID, "in:" and several, both with '!' before them (1.32+), repeated
// (1.24+).
tl::expected<MemberOfValue, ApiError> ParseMemberOf(const Query& query, std::string_view suffix,
                                                    Microversion version);

tl::expected<Uuid, ApiError> ParseInTree(std::string_view value);

}  // namespace berth::placement::rest
