#pragma once

#include <rapidjson/document.h>

#include <string>
#include <string_view>
#include <tl/expected.hpp>

namespace berth::placement::rest {

using JsonValue = rapidjson::Value;
using JsonDocument = rapidjson::Document;

inline std::string_view TextOf(const JsonValue& value) {
  return {value.GetString(), value.GetStringLength()};
}

// Deeper nesting is refused; no valid body of the API goes deeper than 8.
inline constexpr size_t kMaxJsonDepth = 64;

// A body as JSON. The error is the API's text for it ("Expecting value: line 1 column 1 (char 0)"). Of a key
// that comes twice in an object the last value counts, as Python has it.
tl::expected<JsonDocument, std::string> ParseJson(std::string_view text);

// As Python prints the value: {'a': 1, 'b': [True, None]}. Cut after `limit` bytes.
std::string PythonRepr(const JsonValue& value, size_t limit = 2000);

// The number as Python prints it.
std::string PythonNumber(const JsonValue& value);

}  // namespace berth::placement::rest
