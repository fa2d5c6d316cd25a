#include "placement/rest/patterns.h"
#include "placement/rest/schemas.h"

namespace berth::placement::rest {
namespace {

Schema Text() {
  return Schema::String();
}

Schema ListProviders(int since) {
  Schema schema = Schema::Object().Property("name", Text()).Property("uuid", Schema::String().UuidFormat());
  if (since >= 3) schema = std::move(schema).Property("member_of", Text());
  if (since >= 4) schema = std::move(schema).Property("resources", Text());
  if (since >= 14) schema = std::move(schema).Property("in_tree", Schema::String().UuidFormat());
  if (since >= 18) schema = std::move(schema).Property("required", Text());
  return std::move(schema).NoOthers();
}

Schema Usages(bool with_type) {
  Schema schema = Schema::Object()
                      .Property("project_id", Schema::String().MinLength(1).MaxLength(255))
                      .Property("user_id", Schema::String().MinLength(1).MaxLength(255));
  if (with_type) {
    schema = std::move(schema).Property(
        "consumer_type", Schema::String().Matches(ConsumerTypeQueryPattern()).MinLength(1).MaxLength(255));
  }
  return std::move(schema).Required({"project_id"}).NoOthers();
}

// ^resources([1-9][0-9]*)?$ and so on: a key of the kind with a suffix or without.
template <bool (*IsSuffix)(std::string_view)>
Pattern GroupPattern(std::string_view kind, std::string_view suffix) {
  std::string text = "^" + std::string(kind) + "(" + std::string(suffix) + ")?$";
  if (kind == "resources") {
    return {text, [](std::string_view key) {
              return key.starts_with("resources") && (key.size() == 9 || IsSuffix(key.substr(9)));
            }};
  }
  if (kind == "required") {
    return {text, [](std::string_view key) {
              return key.starts_with("required") && (key.size() == 8 || IsSuffix(key.substr(8)));
            }};
  }
  if (kind == "member_of") {
    return {text, [](std::string_view key) {
              return key.starts_with("member_of") && (key.size() == 9 || IsSuffix(key.substr(9)));
            }};
  }
  return {text, [](std::string_view key) {
            return key.starts_with("in_tree") && (key.size() == 7 || IsSuffix(key.substr(7)));
          }};
}

Schema Limit() {
  return Schema::Type({"integer", "string"}).Matches(LimitPattern()).Minimum(1).MinLength(1);
}

// Before 1.25: no groups with suffixes.
Schema PlainCandidates(int since) {
  Schema schema = Schema::Object().Property("resources", Text());
  if (since >= 16) schema = std::move(schema).Property("limit", Limit());
  if (since >= 17) schema = std::move(schema).Property("required", Text());
  if (since >= 21) schema = std::move(schema).Property("member_of", Text());
  return std::move(schema).Required({"resources"}).NoOthers();
}

Schema GranularCandidates(int since) {
  Schema schema = Schema::Object().Property("limit", Limit()).NoOthers();
  for (std::string_view kind : {"resources", "required", "member_of", "in_tree"}) {
    if (kind == "in_tree" && since < 31) continue;
    Pattern pattern = since >= 33 ? GroupPattern<IsNamedSuffix>(kind, "[a-zA-Z0-9_-]{1,64}")
                                  : GroupPattern<IsNumberedSuffix>(kind, "[1-9][0-9]*");
    schema = std::move(schema).PatternProperty(std::move(pattern), Text());
  }
  schema = std::move(schema).Property("group_policy", Schema::String().OneOf({"none", "isolate"}));
  if (since >= 35) schema = std::move(schema).Property("root_required", Text());
  if (since >= 36) schema = std::move(schema).Property("same_subtree", Text());
  return schema;
}

}  // namespace

const Schema& ListProvidersSchema(Microversion version) {
  static const Schema kV0 = ListProviders(0), kV3 = ListProviders(3), kV4 = ListProviders(4),
                      kV14 = ListProviders(14), kV18 = ListProviders(18);
  return version.At(18) ? kV18 : version.At(14) ? kV14 : version.At(4) ? kV4 : version.At(3) ? kV3 : kV0;
}

const Schema& ListTraitsSchema() {
  static const Schema kSchema =
      Schema::Object().Property("name", Text()).Property("associated", Text()).NoOthers();
  return kSchema;
}

const Schema& UsagesSchema(Microversion version) {
  static const Schema kOld = Usages(false), kTyped = Usages(true);
  return version.At(38) ? kTyped : kOld;
}

const Schema& CandidatesSchema(Microversion version) {
  static const Schema kV10 = PlainCandidates(10), kV16 = PlainCandidates(16), kV17 = PlainCandidates(17),
                      kV21 = PlainCandidates(21), kV25 = GranularCandidates(25),
                      kV31 = GranularCandidates(31), kV33 = GranularCandidates(33),
                      kV35 = GranularCandidates(35), kV36 = GranularCandidates(36);
  return version.At(36)   ? kV36
         : version.At(35) ? kV35
         : version.At(33) ? kV33
         : version.At(31) ? kV31
         : version.At(25) ? kV25
         : version.At(21) ? kV21
         : version.At(17) ? kV17
         : version.At(16) ? kV16
                          : kV10;
}

}  // namespace berth::placement::rest
