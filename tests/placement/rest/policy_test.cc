#include "placement/rest/policy.h"

#include <gtest/gtest.h>

namespace berth::placement::rest {
namespace {

constexpr std::string_view kList = "placement:resource_providers:list";
constexpr std::string_view kUsages = "placement:usages";
constexpr std::string_view kReshape = "placement:reshaper:reshape";

Identity Who(std::vector<std::string> roles, std::string project = "p1") {
  return {.user_id = "u1", .project_id = std::move(project), .roles = std::move(roles)};
}

Policy Make(std::string_view rules, bool new_only = false) {
  Result<YamlNode> yaml = ParseYaml(rules, "policy.yaml");
  EXPECT_TRUE(yaml) << yaml.error().ToString();
  Result<Policy> policy = Policy::Make({.new_defaults_only = new_only}, *yaml);
  EXPECT_TRUE(policy) << policy.error().ToString();
  return *std::move(policy);
}

Status Refused(std::string_view rules) {
  return Policy::Make({}, *ParseYaml(rules, "policy.yaml")).status();
}

TEST(Policy, AllowsAdminAndServiceByDefault) {
  Policy policy = Make("{}");

  EXPECT_TRUE(policy.Allows(kList, Who({"admin"}), {}));
  EXPECT_TRUE(policy.Allows(kList, Who({"Service"}), {}));
  EXPECT_FALSE(policy.Allows(kList, Who({"member", "reader"}), {}));
  EXPECT_FALSE(policy.Allows("placement:no:such", Who({"admin"}), {}));
}

TEST(Policy, LetsReadersSeeTheUsagesOfTheirOwnProject) {
  Policy policy = Make("{}", true);

  EXPECT_TRUE(policy.Allows(kUsages, Who({"reader"}), {.project_id = "p1"}));
  EXPECT_FALSE(policy.Allows(kUsages, Who({"reader"}), {.project_id = "p2"}));
  EXPECT_FALSE(policy.Allows(kUsages, Who({"reader"}, ""), {.project_id = ""}));
  EXPECT_TRUE(policy.Allows(kUsages, Who({"admin"}), {.project_id = "p2"}));
}

TEST(Policy, ReshapesByServiceOnlyUnderTheNewDefaults) {
  EXPECT_FALSE(Make("{}", true).Allows(kReshape, Who({"admin"}), {}));
  EXPECT_TRUE(Make("{}", true).Allows(kReshape, Who({"service"}), {}));
  EXPECT_TRUE(Make("{}", false).Allows(kReshape, Who({"admin"}), {}));
}

TEST(Policy, RefusesTokensOfTheSystem) {
  Identity system = Who({"admin"}, "");
  system.system_scope = true;

  EXPECT_FALSE(Make("{}").Allows(kList, system, {}));
}

TEST(Policy, TakesRulesFromAFile) {
  Policy policy = Make(R"yaml(
"placement:resource_providers:list": "@"
"placement:resource_providers:show": "!"
"placement:traits:list": "role:reader and not (role:guest or user_id:u2)"
"mine": "role:x"
"placement:usages": "rule:mine or project_id:%(project_id)s"
"admin_or_service_api": "role:boss"
)yaml");

  EXPECT_TRUE(policy.Allows(kList, Who({}), {}));
  EXPECT_FALSE(policy.Allows("placement:resource_providers:show", Who({"admin"}), {}));
  EXPECT_TRUE(policy.Allows("placement:traits:list", Who({"reader"}), {}));
  EXPECT_FALSE(policy.Allows("placement:traits:list", Who({"reader", "guest"}), {}));
  EXPECT_TRUE(policy.Allows(kUsages, Who({"x"}), {.project_id = "p2"}));
  EXPECT_TRUE(policy.Allows(kUsages, Who({}), {.project_id = "p1"}));
  EXPECT_FALSE(policy.Allows("placement:traits:update", Who({"admin"}), {}));
  EXPECT_TRUE(policy.Allows("placement:traits:update", Who({"boss"}), {}));
}

TEST(Policy, NamesTheRuleThatIsWrong) {
  EXPECT_EQ(Refused(R"({"placement:trait:list": "@"})").field(), "policy.placement:trait:list");
  EXPECT_NE(Refused(R"({"placement:trait:list": "@"})").hint().find("placement:traits:list"),
            std::string::npos);
  for (const char* check : {"role", "(role:a", "role:a and", "role:a role:b", "not", ")"}) {
    EXPECT_EQ(Refused("{\"placement:traits:list\": \"" + std::string(check) + "\"}").field(),
              "policy.placement:traits:list")
        << check;
  }
}

TEST(Policy, SurvivesRulesThatNameEachOther) {
  Policy policy =
      Make(R"({"a": "rule:b", "b": "not rule:a", "placement:traits:list": "rule:c", "c": "rule:c"})");

  EXPECT_FALSE(policy.Allows("placement:traits:list", Who({"admin"}), {}));
}

}  // namespace
}  // namespace berth::placement::rest
