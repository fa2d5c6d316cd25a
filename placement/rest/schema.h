#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "placement/rest/json_value.h"

namespace berth::placement::rest {

// A regular expression of the API's schemas: its text, as errors show it, and what decides it.
struct Pattern {
  std::string text;
  bool (*matches)(std::string_view);
};

// A JSON schema, as far as the API uses it, built in C++:
//   Schema::Object().Property("name", Schema::String().MaxLength(200)).Required({"name"}).NoOthers()
// The order of the calls is the order in which the conditions are tried, which decides between errors of
// equal depth. Texts of errors are those of Python's jsonschema, which clients see and the public tests
// compare. An immutable value once built.
class Schema {
 public:
  static Schema Object() { return Type({"object"}); }
  static Schema Array(Schema items);
  static Schema String() { return Type({"string"}); }
  static Schema Integer() { return Type({"integer"}); }
  static Schema Number() { return Type({"number"}); }
  static Schema Null() { return Type({"null"}); }
  static Schema Type(std::vector<std::string> names);
  static Schema AnyOf(std::vector<Schema> choices);

  Schema Property(std::string name, Schema schema) &&;  // replaces one of the same name
  Schema PatternProperty(Pattern pattern, Schema schema) &&;
  Schema NoOthers() &&;                                // additionalProperties: false
  Schema Required(std::vector<std::string> names) &&;  // appends
  Schema MinProperties(int64_t count) &&;              // replaces
  Schema MinItems(int64_t count) &&;
  Schema UniqueItems() &&;
  Schema MinLength(int64_t count) &&;
  Schema MaxLength(int64_t count) &&;
  Schema Minimum(double value) &&;
  Schema Maximum(double value) &&;
  Schema Matches(Pattern pattern) &&;
  Schema UuidFormat() &&;
  Schema OneOf(std::vector<std::string> values) &&;  // enum

  // "": valid. Else the whole text: what is wrong, which condition says so, and where in the body.
  std::string Check(const JsonValue& instance) const;

 private:
  enum class Kind {
    kType,
    kProperties,
    kPatternProperties,
    kAdditional,
    kRequired,
    kMinProperties,
    kItems,
    kMinItems,
    kUniqueItems,
    kMinLength,
    kMaxLength,
    kMinimum,
    kMaximum,
    kPattern,
    kFormat,
    kEnum,
    kAnyOf,
  };
  // One condition; which members count depends on the kind.
  struct Keyword {
    Kind kind;
    std::vector<std::string> names;
    double number = 0;
    std::vector<std::pair<std::string, Schema>> children;  // by property or pattern, or without names
    std::vector<Pattern> patterns;
  };
  struct Error;
  class Checker;

  Keyword& At(Kind kind);
  const Keyword* Find(Kind kind) const;
  std::string Repr() const;

  std::vector<Keyword> keywords_;
};

}  // namespace berth::placement::rest
