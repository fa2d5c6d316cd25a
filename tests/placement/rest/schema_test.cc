#include "placement/rest/schema.h"

#include <gtest/gtest.h>

#include "placement/rest/schemas.h"

namespace berth::placement::rest {
namespace {

std::string Check(const Schema& schema, std::string_view text) {
  auto document = ParseJson(text);
  return document ? schema.Check(*document) : "malformed: " + document.error();
}

// The first line, which says what is wrong.
std::string Message(const Schema& schema, std::string_view text) {
  std::string all = Check(schema, text);
  return all.substr(0, all.find('\n'));
}

constexpr Microversion kV0{1, 0}, kV12{1, 12}, kV28{1, 28}, kV34{1, 34}, kV38{1, 38};

TEST(Schema, TellsTheConditionAndThePlaceAsPythonsJsonschemaDoes) {
  EXPECT_EQ(Check(InventorySchema(), R"({"total": 0, "resource_provider_generation": 1})"),
            "0 is less than the minimum of 1\n\n"
            "Failed validating 'minimum' in schema['properties']['total']:\n"
            "    {'maximum': 2147483647, 'minimum': 1, 'type': 'integer'}\n\n"
            "On instance['total']:\n"
            "    0");
}

TEST(Schema, TellsTheLeastDeepErrorFirst) {
  // The missing key is an error of the whole, the wrong total one of a part.
  EXPECT_EQ(Message(InventorySchema(), R"({"total": "x"})"),
            "'resource_provider_generation' is a required property");
  EXPECT_EQ(Message(InventorySchema(), R"({"total": "x", "resource_provider_generation": 1})"),
            "'x' is not of type 'integer'");
}

TEST(Schema, RefusesWhatIsNotNamed) {
  EXPECT_EQ(Message(CreateProviderSchema(kV0), R"({"name": "a", "parent_provider_uuid": null})"),
            "Additional properties are not allowed ('parent_provider_uuid' was unexpected)");
  EXPECT_EQ(Message(CreateProviderSchema(kV0), R"({"name": "a", "b": 1, "c": 2})"),
            "Additional properties are not allowed ('b', 'c' were unexpected)");
  EXPECT_EQ(Message(ManyAllocationsSchema(kV28), R"({"zoo": {}})"),
            "'zoo' does not match any of the regexes: '^[0-9a-fA-F-]{36}$'");
}

TEST(Schema, TellsEachConditionInItsWords) {
  const Schema& provider = CreateProviderSchema(kV38);
  EXPECT_EQ(Message(provider, "[]"), "[] is not of type 'object'");
  EXPECT_EQ(Message(provider, R"({"name": "a", "uuid": "b"})"), "'b' is not a 'uuid'");
  EXPECT_EQ(Message(provider, R"({"name": "a", "parent_provider_uuid": 7})"),
            "7 is not valid under any of the given schemas");
  EXPECT_TRUE(
      Message(provider, R"({"name": ")" + std::string(201, 'n') + R"("})").ends_with("' is too long"));
  EXPECT_EQ(Message(ResourceClassSchema(), R"({"name": "VCPU"})"),
            "'VCPU' does not match '^CUSTOM_[A-Z0-9_]+$'");
  EXPECT_EQ(Message(AggregatesSchema(kV0),
                    R"(["fda1d0be-a98c-4a0f-8b1c-0d5c5a52d1b4", "fda1d0be-a98c-4a0f-8b1c-0d5c5a52d1b4"])"),
            "['fda1d0be-a98c-4a0f-8b1c-0d5c5a52d1b4', 'fda1d0be-a98c-4a0f-8b1c-0d5c5a52d1b4'] has non-unique "
            "elements");
  EXPECT_EQ(Message(AllocationsSchema(kV12), R"({"allocations": {}, "project_id": "p", "user_id": "u"})"),
            "{} should be non-empty");
  EXPECT_EQ(Message(AllocationsSchema(kV0), R"({"allocations": []})"), "[] should be non-empty");
  EXPECT_EQ(Message(AllocationsSchema(kV12), R"({"allocations": {}, "project_id": "", "user_id": "u"})")
                .substr(0, 2),
            "{}");
  EXPECT_EQ(Message(InventorySchema(), R"({"total": 2147483648, "resource_provider_generation": 1})"),
            "2147483648 is greater than the maximum of 2147483647");
  EXPECT_EQ(Message(InventorySchema(), R"({"total": 1.5, "resource_provider_generation": 1})"),
            "1.5 is not of type 'integer'");
  EXPECT_EQ(Message(AllocationsSchema(kV28),
                    R"({"allocations": {}, "project_id": "p", "user_id": "u", "consumer_generation": "x"})"),
            "'x' is not of type 'integer', 'null'");
}

TEST(Schema, TakesWhatEachMicroversionTakes) {
  constexpr std::string_view kEmpty =
      R"({"allocations": {}, "project_id": "p", "user_id": "u", "consumer_generation": null})";
  EXPECT_EQ(Check(AllocationsSchema(kV28), kEmpty), "");
  EXPECT_EQ(Message(AllocationsSchema(kV38), kEmpty), "'consumer_type' is a required property");
  constexpr std::string_view kMapped =
      R"({"allocations": {"fda1d0be-a98c-4a0f-8b1c-0d5c5a52d1b4": {"resources": {"VCPU": 1}, "generation": 3}},
          "project_id": "p", "user_id": "u", "consumer_generation": 1,
          "mappings": {"_A": ["fda1d0be-a98c-4a0f-8b1c-0d5c5a52d1b4"]}})";
  EXPECT_EQ(Message(AllocationsSchema(kV28), kMapped),
            "Additional properties are not allowed ('mappings' was unexpected)");
  EXPECT_EQ(Check(AllocationsSchema(kV34), kMapped), "");
  EXPECT_EQ(Check(InventorySchema(),
                  R"({"total": 3.0, "resource_provider_generation": 0, "allocation_ratio": 16.0})"),
            "");
  EXPECT_EQ(Check(CreateProviderSchema(kV38), R"({"name": "☃", "parent_provider_uuid": null})"), "");
}

TEST(Schema, CountsCharactersNotBytes) {
  std::string snowmen;
  for (int i = 0; i < 200; ++i) snowmen += "☃";

  EXPECT_EQ(Check(CreateProviderSchema(kV0), R"({"name": ")" + snowmen + R"("})"), "");
  EXPECT_NE(Check(CreateProviderSchema(kV0), R"({"name": ")" + snowmen + R"(☃"})"), "");
}

TEST(Json, SaysWhereItIsMalformed) {
  EXPECT_EQ(ParseJson("").error(), "Expecting value: line 1 column 1 (char 0)");
  EXPECT_EQ(ParseJson("{\n\"a\" 1}").error(), "Expecting ':' delimiter: line 2 column 5 (char 6)");
  EXPECT_FALSE(ParseJson("\"\xff\""));
  EXPECT_FALSE(ParseJson(std::string(100'000, '[')));
  EXPECT_TRUE(ParseJson(std::string(64, '[') + std::string(64, ']')));
}

TEST(Json, TakesTheLastOfAKeyThatComesTwice) {
  auto document = ParseJson(R"({"a": 1, "b": {"c": 1, "c": 2}, "a": 3})");

  ASSERT_TRUE(document);
  EXPECT_EQ(PythonRepr(*document), "{'b': {'c': 2}, 'a': 3}");
}

TEST(Json, KeepsTheLastOfManyKeys) {
  constexpr int kMany = 200'000;
  std::string text = "{";
  for (int i = 0; i < kMany; ++i) text += "\"a\":" + std::to_string(i) + ",";
  for (int i = 0; i < kMany; ++i) text += "\"" + std::to_string(i) + "\":1,";
  text.back() = '}';

  auto document = ParseJson(text);

  ASSERT_TRUE(document) << document.error();
  ASSERT_EQ(document->MemberCount(), size_t{kMany + 1});
  EXPECT_EQ((*document)["a"].GetInt(), kMany - 1);
  EXPECT_EQ((*document)["199999"].GetInt(), 1);
}

TEST(Json, PrintsValuesAsPythonDoes) {
  auto document = ParseJson(R"([1, -2.5, 1e20, "it's", "a\"'\n", true, null, {"k": []}])");

  ASSERT_TRUE(document);
  EXPECT_EQ(PythonRepr(*document), R"([1, -2.5, 1e+20, "it's", 'a"\'\n', True, None, {'k': []}])");
  EXPECT_LE(PythonRepr(*ParseJson("\"" + std::string(5000, 'x') + "\"")).size(), 2003u);
}

}  // namespace
}  // namespace berth::placement::rest
