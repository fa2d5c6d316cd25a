#include "placement/rest/query.h"

#include <gtest/gtest.h>

#include "placement/rest/candidates_query.h"
#include "placement/rest/schemas.h"
#include "placement/rest/text.h"

namespace berth::placement::rest {
namespace {

constexpr const char* kUuid = "fda1d0be-a98c-4a0f-8b1c-0d5c5a52d1b4";

std::string Candidates(std::string_view text, int minor) {
  Query query = Query::Parse(text);
  Microversion version{1, minor};
  if (auto valid = query.Check(CandidatesSchema(version)); !valid) {
    return valid.error().detail.substr(0, valid.error().detail.find('\n'));
  }
  auto request = ParseCandidatesQuery(query, version);
  return request ? "" : request.error().detail + " " + std::string(request.error().code);
}

TEST(Query, DecodesFormsAndKeepsTheirOrder) {
  Query query = Query::Parse("a=1&b=%e2%98%83&a=x+y&empty&c=%zz");

  EXPECT_EQ(query.All("a"), (std::vector<std::string>{"1", "x y"}));
  EXPECT_EQ(query.Last("a"), "x y");
  EXPECT_EQ(query.Last("b"), "☃");
  EXPECT_EQ(query.Last("empty"), "");
  EXPECT_EQ(query.Last("c"), "%zz");
  EXPECT_EQ(query.Last("d"), std::nullopt);
}

TEST(Query, RefusesWhatTheSchemaDoesNotName) {
  auto wrong = Query::Parse("nmae=x").Check(ListProvidersSchema({1, 0}));
  auto bytes = Query::Parse("name=%ff").Check(ListProvidersSchema({1, 0}));

  ASSERT_FALSE(wrong);
  EXPECT_TRUE(wrong.error().detail.starts_with(
      "Invalid query string parameters: Additional properties are not allowed ('nmae' was unexpected)"));
  EXPECT_FALSE(bytes);
}

TEST(QueryResources, SaysWhatIsWrongWithThem) {
  auto text = [](std::string_view value) { return ParseResources(value).error().detail; };
  constexpr std::string_view kForm =
      "Badly formed resources parameter. Expected resources query string parameter in form: "
      "?resources=VCPU:2,MEMORY_MB:1024. Got: ";

  EXPECT_EQ(text(" "), std::string(kForm) + "empty string.");
  EXPECT_EQ(text("VCPU"), std::string(kForm) + "VCPU.");
  EXPECT_EQ(text("VCPU:1,"), std::string(kForm) + ".");
  EXPECT_EQ(text("VCPU:fred"), "Requested resource VCPU expected positive integer amount. Got: fred.");
  EXPECT_EQ(text("VCPU:-2"), "Requested resource VCPU requires amount >= 1. Got: -2.");
  EXPECT_EQ(text("VCPU:0"), "Requested resource VCPU requires amount >= 1. Got: 0.");
  ASSERT_TRUE(ParseResources("VCPU:1,DISK_GB: 1_0 ,VCPU:99999999999999999999"));
  EXPECT_EQ(*ParseResources("VCPU:1,DISK_GB: 1_0 ,VCPU:3"),
            (std::vector<ResourceAmount>{{"VCPU", 3}, {"DISK_GB", 10}}));
}

TEST(QueryTraits, AreRequiredForbiddenOrAlternatives) {
  auto traits = ParseTraits("A, B,!C,!!D", true, true);
  auto any = ParseTraits("in:A,B", true, true);

  ASSERT_TRUE(traits && any);
  EXPECT_EQ(traits->required, (std::vector<std::vector<std::string>>{{"A"}, {"B"}}));
  EXPECT_EQ(traits->forbidden, (std::vector<std::string>{"C", "D"}));
  EXPECT_EQ(any->required, (std::vector<std::vector<std::string>>{{"A", "B"}}));
}

TEST(QueryTraits, SayWhatIsWrongByMicroversion) {
  auto text = [](std::string_view value, bool forbidden, bool any) {
    return ParseTraits(value, forbidden, any).error().detail;
  };
  constexpr std::string_view kForm =
      "Invalid query string parameters: Expected 'required' parameter value of the form: ";

  EXPECT_EQ(text("A,!B", false, false), std::string(kForm) + "HW_CPU_X86_VMX,CUSTOM_MAGIC. Got: A,!B");
  EXPECT_EQ(text("A,", false, false),
            std::string(kForm) + "HW_CPU_X86_VMX,CUSTOM_MAGIC. Got an empty trait in: A,");
  EXPECT_EQ(text("!", true, false),
            std::string(kForm) + "HW_CPU_X86_VMX,!CUSTOM_MAGIC. Got an empty trait in: !");
  EXPECT_EQ(
      text("in:A", true, false),
      "Invalid query string parameters: The format 'in:HW_CPU_X86_VMX,CUSTOM_MAGIC' only supported since "
      "microversion 1.39. Got: in:A");
  EXPECT_EQ(text("in:A,!B", true, true),
            "Invalid query string parameters: The format 'in:HW_CPU_X86_VMX,CUSTOM_MAGIC' does not support "
            "forbidden "
            "traits. Got: in:A,!B");
}

TEST(QueryTraits, CountOnceBefore39AndTogetherFromThen) {
  Query query = Query::Parse("required=A&required=in:B,C&required=!D");

  EXPECT_EQ(ParseRequired(query, "", {1, 38})->required.size(), 0u);
  EXPECT_EQ(ParseRequired(query, "", {1, 39})->required.size(), 2u);
  EXPECT_EQ(ParseRequired(query, "", {1, 39})->forbidden, (std::vector<std::string>{"D"}));
}

// As many as an address may be long: each kind is read once, however often it comes.
TEST(CandidatesQuery, ReadsManyParametersOfAKindOnce) {
  std::string text = "resources=VCPU:1";
  std::string traits;
  for (int i = 0; i < 1200; ++i) traits += (i == 0 ? "!T" : ",!T") + std::to_string(i);
  for (int i = 0; i < 20'000; ++i) text += "&required=" + (i == 0 ? traits : "!T");
  Query query = Query::Parse(text);

  auto request = ParseCandidatesQuery(query, {1, 39});

  ASSERT_TRUE(request) << request.error().detail;
  EXPECT_EQ(request->groups[0].filter.forbidden_traits.size(), 1201U);
}

TEST(QueryMemberOf, FollowsItsMicroversions) {
  std::string uuid = kUuid, two = uuid + "," + uuid;
  auto parse = [](const std::string& text, int minor) {
    return ParseMemberOf(Query::Parse(text), "", {1, minor});
  };

  EXPECT_EQ(parse("member_of=in:" + two, 3)->required[0].size(), 1u);
  EXPECT_EQ(parse("member_of=" + uuid + "&member_of=" + uuid, 23).error().detail,
            "Multiple member_of parameters are not supported");
  EXPECT_EQ(parse("member_of=" + uuid + "&member_of=" + uuid, 24)->required.size(), 2u);
  EXPECT_EQ(parse("member_of=!" + uuid, 31).error().detail,
            "Forbidden member_of parameters are not supported in the specified microversion");
  EXPECT_EQ(parse("member_of=!in:" + two, 32)->forbidden.size(), 1u);
  EXPECT_TRUE(
      parse("member_of=" + two, 32).error().detail.starts_with("Multiple values for 'member_of' must be"));
  EXPECT_EQ(
      parse("member_of=in:a,b", 32).error().detail,
      "Invalid query string parameters: Expected 'member_of' parameter to contain valid UUID(s). Got: a");
}

TEST(CandidatesQuery, KnowsWhatEachMicroversionKnows) {
  EXPECT_EQ(Candidates("resources=VCPU:1", 10), "");
  EXPECT_EQ(
      Candidates("resources=VCPU:1&limit=1", 15),
      "Invalid query string parameters: Additional properties are not allowed ('limit' was unexpected)");
  EXPECT_EQ(Candidates("resources=VCPU:1&limit=1", 16), "");
  EXPECT_NE(Candidates("resources=VCPU:1&limit=0", 16), "");
  EXPECT_NE(Candidates("resources=VCPU:1&limit=", 16), "");
  EXPECT_NE(Candidates("resources=VCPU:1&required=A", 16), "");
  EXPECT_EQ(Candidates("resources=VCPU:1&required=A", 17), "");
  EXPECT_NE(Candidates("required=A", 24).find("'resources' is a required property"), std::string::npos);
  EXPECT_EQ(Candidates("resources1=VCPU:1", 25), "");
  EXPECT_NE(Candidates("resources01=VCPU:1", 25).find("'resources01' does not match any of the regexes"),
            std::string::npos);
  EXPECT_NE(Candidates("resources_A=VCPU:1", 32), "");
  EXPECT_EQ(Candidates("resources_A=VCPU:1", 33), "");
  EXPECT_NE(Candidates("resources=VCPU:1&in_tree=" + std::string(kUuid), 30), "");
  EXPECT_EQ(Candidates("resources=VCPU:1&in_tree=" + std::string(kUuid), 31), "");
  EXPECT_NE(Candidates("resources=VCPU:1&root_required=A", 34), "");
  EXPECT_EQ(Candidates("resources=VCPU:1&root_required=A,!B", 35), "");
  EXPECT_NE(Candidates("resources1=VCPU:1&same_subtree=1", 35), "");
  EXPECT_EQ(Candidates("resources1=VCPU:1&same_subtree=1", 36), "");
}

TEST(CandidatesQuery, SaysWhatDoesNotGoTogether) {
  std::string uuid = kUuid;
  EXPECT_EQ(
      Candidates("resources1=VCPU:1&resources2=VCPU:1", 25),
      "The \"group_policy\" parameter is required when specifying more than one \"resources{N}\" parameter. "
      "placement.undefined_code");
  EXPECT_EQ(Candidates("resources1=VCPU:1&resources2=VCPU:1&group_policy=none", 25), "");
  EXPECT_EQ(Candidates("resources1=VCPU:1&group_policy=bogus", 25),
            "Invalid query string parameters: 'bogus' is not one of ['none', 'isolate']");
  EXPECT_EQ(
      Candidates("resources2=VCPU:1&required=A&required1=B", 25),
      "All traits parameters must be associated with resources.  Found the following orphaned traits keys: "
      "required, required1 placement.undefined_code");
  EXPECT_EQ(Candidates("resources2=VCPU:1&member_of=" + uuid + "&member_of3=" + uuid, 25),
            "All member_of parameters must be associated with resources. Found the following orphaned "
            "member_of keys: "
            "member_of, member_of3 placement.undefined_code");
  EXPECT_EQ(
      Candidates("group_policy=none", 25),
      "At least one request group (`resources` or `resources{$S}`) is required. placement.undefined_code");
  EXPECT_EQ(Candidates("required_A=X&same_subtree=_A", 36),
            "There must be at least one resources or resources[$S] parameter. placement.query.missing_value");
  EXPECT_EQ(
      Candidates("resources=VCPU:1&required_A=X", 36),
      "Resourceless suffixed group request should be specified in `same_subtree` query param: bad group(s) - "
      "['_A']. placement.query.bad_value");
  EXPECT_EQ(Candidates("resources_A=VCPU:1&same_subtree=_A,_B", 36),
            "Real suffixes should be specified in `same_subtree`: ['_B'] not found in ['_A']. "
            "placement.query.bad_value");
  EXPECT_EQ(
      Candidates("resources_A=VCPU:1&same_subtree=_A,", 36),
      "Empty string (unsuffixed group) can not be specified in `same_subtree`  placement.query.bad_value");
  EXPECT_EQ(Candidates("resources=VCPU:1&root_required=A&root_required=B", 36),
            "Query parameter 'root_required' may be specified only once. placement.query.duplicate_key");
  EXPECT_EQ(Candidates("resources=VCPU:1&root_required=A,!A", 36),
            "Conflicting required and forbidden traits found in root_required: A placement.query.bad_value");
  EXPECT_EQ(Candidates("resources=VCPU:1&required=A,!A", 22),
            "Conflicting required and forbidden traits found in the following traits keys: required: (A) "
            "placement.undefined_code");
}

TEST(CandidatesQuery, BecomesTheRequest) {
  Query query = Query::Parse(
      "resources=VCPU:2&required=A&resources_P=SRIOV_NET_VF:1&required_P=!B&group_policy=isolate"
      "&limit=5&same_subtree=_P,_Q&required_Q=in:C,D&root_required=R,!S");
  auto request = ParseCandidatesQuery(query, {1, 39});

  ASSERT_TRUE(request) << request.error().detail;
  ASSERT_EQ(request->groups.size(), 3u);
  EXPECT_EQ(request->groups[0].suffix, "");
  EXPECT_EQ(request->groups[1].suffix, "_P");
  EXPECT_EQ(request->groups[1].resources, (std::vector<ResourceAmount>{{"SRIOV_NET_VF", 1}}));
  EXPECT_EQ(request->groups[1].filter.forbidden_traits, (std::vector<std::string>{"B"}));
  EXPECT_TRUE(request->groups[2].resources.empty());
  EXPECT_EQ(request->groups[2].filter.required_traits, (std::vector<std::vector<std::string>>{{"C", "D"}}));
  EXPECT_EQ(request->group_policy, GroupPolicy::kIsolate);
  EXPECT_EQ(request->limit, 5u);
  EXPECT_EQ(request->same_subtrees, (std::vector<std::vector<std::string>>{{"_P", "_Q"}}));
  EXPECT_EQ(request->root_required, (std::vector<std::string>{"R"}));
  EXPECT_EQ(request->root_forbidden, (std::vector<std::string>{"S"}));
  EXPECT_TRUE(request->nested_aware);
  EXPECT_FALSE(ParseCandidatesQuery(Query::Parse("resources=VCPU:1"), {1, 28})->nested_aware);
}

TEST(Text, TakesUuidsAsOpenStackDoes) {
  for (const char* text :
       {"fda1d0be-a98c-4a0f-8b1c-0d5c5a52d1b4", "FDA1D0BEA98C4A0F8B1C0D5C5A52D1B4",
        "{fda1d0be-a98c-4a0f-8b1c-0d5c5a52d1b4}", "urn:uuid:fda1d0be-a98c-4a0f-8b1c-0d5c5a52d1b4"}) {
    ASSERT_TRUE(ParseUuidLike(text)) << text;
    EXPECT_EQ(ParseUuidLike(text)->ToString(), kUuid);
  }
  for (const char* text :
       {"", "fda1d0be", "fda1d0be-a98c-4a0f-8b1c-0d5c5a52d1bg", "------------------------------------"}) {
    EXPECT_FALSE(ParseUuidLike(text)) << text;
  }
}

}  // namespace
}  // namespace berth::placement::rest
