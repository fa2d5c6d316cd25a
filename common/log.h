#pragma once

#include <concepts>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>

#include "common/status.h"

namespace berth {

enum class LogLevel { kDebug, kInfo, kWarning, kError };

// One "key=value" of a log line. Values are copied as text; strings with blanks or quotes are quoted.
struct LogField {
  template <std::integral T>
  LogField(std::string_view k, T v) : key(k), value(std::to_string(v)) {}
  LogField(std::string_view k, bool v) : key(k), value(v ? "true" : "false") {}
  LogField(std::string_view k, double v) : key(k), value(std::to_string(v)) {}
  LogField(std::string_view k, std::string v) : key(k), value(std::move(v)) {}
  LogField(std::string_view k, std::string_view v) : key(k), value(v) {}
  LogField(std::string_view k, const char* v) : key(k), value(v) {}
  LogField(std::string_view k, const Status& v) : key(k), value(v.ToString()) {}

  std::string_view key;
  std::string value;
};

// Everything goes to standard error, one line an event: time, level, event, fields. Thread-safe.
// `level` is the least that is written. `program` stands in each line.
void InitLogging(std::string_view program, LogLevel level);
// The same into a file (appended, reopened never). kNotFound, kPermissionDenied ... when it cannot be opened.
Status InitFileLogging(std::string_view program, LogLevel level, const std::string& path);
Result<LogLevel> ParseLogLevel(std::string_view text);

// Use LOG. `event` is a past-tense noun phrase in snake_case ("claim_committed"), never prose.
void WriteLog(LogLevel level, std::string_view event, std::initializer_list<LogField> fields = {});
bool LogEnabled(LogLevel level);

}  // namespace berth

// LOG(kInfo, "claim_committed", {{"consumer", id}, {"cells", n}}); the fields may be left out.
#define LOG(level, event, ...)                                                       \
  do {                                                                               \
    if (::berth::LogEnabled(::berth::LogLevel::level)) {                             \
      ::berth::WriteLog(::berth::LogLevel::level, event __VA_OPT__(, ) __VA_ARGS__); \
    }                                                                                \
  } while (false)
