#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/status.h"

namespace berth {

// A YAML document as a plain tree, so that only yaml.cc knows the YAML library and no exception leaves it.
// Scalars stay text (what a key means is decided by who reads it); `quoted` tells "1" from 1 and "null" from
// null.
struct YamlNode {
  enum class Kind { kNull, kScalar, kSequence, kMap };

  Kind kind = Kind::kNull;
  std::string scalar;
  bool quoted = false;
  std::vector<YamlNode> items;  // kSequence
  struct Entry;
  std::vector<Entry> entries;  // kMap, in the order of the file; keys are unique
  int line = 0;                // 1-based; 0 when unknown

  bool is_null() const { return kind == Kind::kNull; }
  bool is_scalar() const { return kind == Kind::kScalar; }
  bool is_sequence() const { return kind == Kind::kSequence; }
  bool is_map() const { return kind == Kind::kMap; }
  const YamlNode* Find(std::string_view key) const;  // nullptr when absent or not a map
};

// One key of a map with its value.
struct YamlNode::Entry {
  std::string first;
  YamlNode second;
};

// Errors: kInvalidArgument with "name:line:column: what". Refused: duplicate keys, keys that are not scalars,
// more than one document, nesting deeper than 64, aliases (an alias bomb would not end), more than 1,000,000
// nodes.
Result<YamlNode> ParseYaml(std::string_view text, std::string_view name);
Result<YamlNode> ReadYamlFile(const std::string& path);

// Readers of one value. `field` is the path for the error, to which the line is added.
Result<std::string> YamlString(const YamlNode& node, std::string_view field);
Result<int64_t> YamlInt(const YamlNode& node, std::string_view field, int64_t min, int64_t max);
Result<double> YamlDouble(const YamlNode& node, std::string_view field, double min, double max);
Result<bool> YamlBool(const YamlNode& node, std::string_view field);  // true/false/yes/no/on/off, any case
// One error for each key of a map that is not in `allowed`, naming the nearest one; or that it is no map.
std::vector<Status> UnknownYamlKeys(const YamlNode& map, std::string_view field,
                                    const std::vector<std::string_view>& allowed);
// The first of them.
Status CheckYamlKeys(const YamlNode& map, std::string_view field,
                     const std::vector<std::string_view>& allowed);
// The candidate with the smallest edit distance to `text`, if it is near enough to be a typing error; else
// "".
std::string_view NearestName(std::string_view text, const std::vector<std::string_view>& candidates);

}  // namespace berth
