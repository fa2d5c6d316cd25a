#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "common/status.h"

namespace berth::cli {

// Keys come out in the order in which they were put in: stable output.
using Json = nlohmann::ordered_json;

enum class Format { kTable, kWide, kTree, kJson, kYaml };

// The field of errors about -o, which are errors of the command line.
inline constexpr char kOutputField[] = "output";

// "table", "wide", "tree", "json", "yaml"; kInvalidArgument names what is allowed.
Result<Format> ParseFormat(std::string_view name);

// Indented, with a newline at the end. Bytes that are not UTF-8 become U+FFFD.
std::string ToJsonText(const Json& value);

// Block style, short lists of numbers in one line; strings are quoted wherever YAML 1.1 or 1.2 could take
// them for something else. With a newline at the end.
std::string ToYamlText(const Json& value);

// kJson or kYaml.
std::string ToText(const Json& value, Format format);

}  // namespace berth::cli
