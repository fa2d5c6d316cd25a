#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "common/cpu_set.h"
#include "scheduler/whatif/json.h"

namespace berth::scheduler::whatif {

// Reads members of JSON objects with tolerance: a whole number may be written as a number, a number with a
// zero fraction, or a string. Keeps the first error, with the path of the object given by the caller; values
// read after an error are defaults. One for each scenario.
class JsonFields {
 public:
  bool ok() const { return error_.empty(); }
  const std::string& error() const { return error_; }
  void Fail(std::string_view where, std::string_view what);

  // Members. A wrong type or a negative number is an error.
  uint64_t Whole(const Json& object, const char* key, uint64_t fallback);
  uint64_t WholeRequired(const Json& object, const char* key);
  // Absent, null and negative numbers are "unknown".
  std::optional<uint32_t> Number(const Json& object, const char* key);
  double Ratio(const Json& object, const char* key);  // default 1.0
  bool Bool(const Json& object, const char* key, bool fallback);
  std::string Text(const Json& object, const char* key);  // default ""
  // "0-3,8" or a list of numbers; absent: empty.
  CpuSet Cpus(const Json& object, const char* key);
  CpuSet CpusOf(const Json& value, const char* key);
  // The member as an array; nullptr when absent or null.
  const Json* Array(const Json& object, const char* key);

 private:
  std::optional<int64_t> ToWhole(const Json& value, const char* key);

  std::string error_;
};

// Text of a value that stands where text is expected: strings as they are, booleans and numbers as JSON.
std::string ToText(const Json& value);

}  // namespace berth::scheduler::whatif
