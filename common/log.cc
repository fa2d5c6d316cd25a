#include "common/log.h"

#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <array>
#include <atomic>
#include <cstdio>
#include <memory>

namespace berth {
namespace {

constexpr const char* kPattern = "%Y-%m-%dT%H:%M:%S.%f%z %l %n %v";

spdlog::level::level_enum ToSpdlog(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return spdlog::level::debug;
    case LogLevel::kInfo:
      return spdlog::level::info;
    case LogLevel::kWarning:
      return spdlog::level::warn;
    case LogLevel::kError:
      return spdlog::level::err;
  }
  return spdlog::level::err;
}

std::atomic<int> g_level{static_cast<int>(LogLevel::kWarning)};

// Replaced only by Init*, before threads start; spdlog's sinks with _mt lock themselves.
std::shared_ptr<spdlog::logger>& Logger() {
  static std::shared_ptr<spdlog::logger> logger = [] {
    auto made = std::make_shared<spdlog::logger>("berth", std::make_shared<spdlog::sinks::stderr_sink_mt>());
    made->set_pattern(kPattern);
    made->set_level(spdlog::level::debug);
    return made;
  }();
  return logger;
}

void Install(std::shared_ptr<spdlog::logger> logger, LogLevel level) {
  logger->set_pattern(kPattern);
  logger->set_level(spdlog::level::debug);
  logger->flush_on(spdlog::level::debug);
  Logger() = std::move(logger);
  g_level = static_cast<int>(level);
}

void AppendValue(std::string& line, std::string_view value) {
  if (!value.empty() && value.find_first_of(" \t\r\n\"\\=") == std::string_view::npos) {
    line += value;
    return;
  }
  line += '"';
  for (char c : value) {
    if (c == '\n') {
      line += "\\n";
    } else if (static_cast<unsigned char>(c) < 0x20) {
      line += ' ';
    } else {
      if (c == '"' || c == '\\') line += '\\';
      line += c;
    }
  }
  line += '"';
}

}  // namespace

void InitLogging(std::string_view program, LogLevel level) {
  ::tzset();  // a first line later may come from a thread that may not read the time zone's file
  Install(std::make_shared<spdlog::logger>(std::string(program),
                                           std::make_shared<spdlog::sinks::stderr_sink_mt>()),
          level);
}

Status InitFileLogging(std::string_view program, LogLevel level, const std::string& path) {
  ::tzset();  // as above
  // The C library would make the file's buffer with the first line, and ask the kernel about the file for
  // that: too late for a thread that may make few system calls.
  spdlog::file_event_handlers events;
  events.after_open = [buffer = std::make_shared<std::array<char, BUFSIZ>>()](const spdlog::filename_t&,
                                                                              std::FILE* file) {
    static_cast<void>(std::setvbuf(file, buffer->data(), _IOFBF, buffer->size()));
  };
  try {
    Install(std::make_shared<spdlog::logger>(
                std::string(program),
                std::make_shared<spdlog::sinks::basic_file_sink_mt>(path, /*truncate=*/false, events)),
            level);
  } catch (const spdlog::spdlog_ex& e) {
    return FailedPrecondition("log file " + path + ": " + e.what(), "log-file");
  }
  return OkStatus();
}

Result<LogLevel> ParseLogLevel(std::string_view text) {
  if (text == "debug") return LogLevel::kDebug;
  if (text == "info") return LogLevel::kInfo;
  if (text == "warning") return LogLevel::kWarning;
  if (text == "error") return LogLevel::kError;
  return InvalidArgument("log level \"" + std::string(text) + "\" is unknown", "log-level",
                         "allowed: debug, info, warning, error");
}

bool LogEnabled(LogLevel level) {
  return static_cast<int>(level) >= g_level.load(std::memory_order_relaxed);
}

void WriteLog(LogLevel level, std::string_view event, std::initializer_list<LogField> fields) {
  std::string line(event);
  for (const LogField& field : fields) {
    line += ' ';
    line += field.key;
    line += '=';
    AppendValue(line, field.value);
  }
  Logger()->log(ToSpdlog(level), spdlog::string_view_t(line.data(), line.size()));
}

}  // namespace berth
