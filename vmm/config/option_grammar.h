#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "common/cpu_set.h"
#include "common/status.h"

// The grammar of one option string, as Cloud Hypervisor and seed 001 have it:
//   option  = pair *("," pair)         pair = key "=" value
//   list    = item / "[" item *("," item) "]"
//   integer list item = n / a "-" b    tuple = n "@" value
// A quotation mark toggles a literal section; a comma inside quotes or brackets does not separate. Stricter
// than Cloud Hypervisor: sizes and integers are range checked, and who reads the pairs and tuples refuses
// those that stand twice. Pure functions.
namespace berth::vmm {

struct KeyValue {
  std::string key;
  std::string value;  // trimmed, quotes still in it; empty means "unset"
  size_t column = 0;  // of the key, from 1
};

// The pairs in order. Appends what is wrong (kInvalidArgument, message names the column): unbalanced quotes
// or brackets, which leave no pairs; a part without "=" (the error's field) and an empty key, which leave the
// others.
std::vector<KeyValue> SplitKeyValues(std::string_view text, std::vector<Status>& wrong);

// Removes the quotation marks.
std::string Unquote(std::string_view text);

enum class ValueType {
  kToggle,
  kBytes,
  kInteger,
  kString,
  kIntegerList,
  kTupleList,
  kAffinityList,
  kStringList,
  kDescriptorLists
};

using TupleList = std::vector<std::pair<uint32_t, uint32_t>>;         // k@v
using AffinityList = std::vector<std::pair<uint32_t, CpuSet>>;        // k@[a,b-c]
using DescriptorLists = std::vector<std::pair<std::string, CpuSet>>;  // text@[a,b-c]
// kToggle: bool; kBytes and kInteger: uint64_t; kString: std::string; lists as named (kIntegerList: CpuSet).
using OptionValue = std::variant<bool, uint64_t, std::string, CpuSet, TupleList, AffinityList,
                                 std::vector<std::string>, DescriptorLists>;

// The value of a key. `max` bounds kInteger and the right side of kTupleList. The error's hint says what is
// accepted. An integer list holds numbers up to CpuSet::kMaxCpu; a list is never empty. The left sides of
// tuples may stand twice.
Result<OptionValue> ParseValue(ValueType type, uint64_t max, std::string_view text);

// What ParseValue accepts for a type, in words: "on, off, true or false".
std::string AllowedValues(ValueType type, uint64_t max);

}  // namespace berth::vmm
