#include "scheduler/replay/trace_table.h"

#include <zlib.h>

#include <cerrno>
#include <charconv>
#include <cmath>
#include <memory>
#include <utility>

namespace berth::scheduler::replay {
namespace {

std::string_view TakeLine(std::string_view& rest) {
  size_t end = rest.find('\n');
  std::string_view line = rest.substr(0, end);
  rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
  if (line.ends_with('\r')) line.remove_suffix(1);
  return line;
}

struct CloseFile {
  void operator()(gzFile_s* file) const { gzclose(file); }
};

}  // namespace

Result<std::string> ReadTraceFile(const std::string& path) {
  errno = 0;
  std::unique_ptr<gzFile_s, CloseFile> file(gzopen(path.c_str(), "rb"));
  if (file == nullptr) return ErrnoStatus("can not open \"" + path + "\"", errno).WithField("trace");
  std::string text;
  std::vector<char> buffer(size_t{1} << 20);
  while (true) {
    int got = gzread(file.get(), buffer.data(), static_cast<unsigned>(buffer.size()));
    if (got < 0) {
      int code = 0;
      const char* why = gzerror(file.get(), &code);
      if (code == Z_ERRNO) return ErrnoStatus("can not read \"" + path + "\"", errno).WithField("trace");
      return DataLoss("\"" + path + "\" is damaged: " + why);
    }
    if (got == 0) break;
    text.append(buffer.data(), static_cast<size_t>(got));
    if (text.size() > kMaxTraceBytes) {
      return ResourceExhausted("\"" + path + "\" has more than " + std::to_string(kMaxTraceBytes) + " bytes");
    }
  }
  // A stream that was cut short ends without an error.
  if (gzclose_r(file.release()) == Z_BUF_ERROR) return DataLoss("\"" + path + "\" ends too early");
  return text;
}

std::vector<std::string_view> SplitText(std::string_view text, char separator) {
  std::vector<std::string_view> out;
  while (true) {
    size_t at = text.find(separator);
    out.push_back(text.substr(0, at));
    if (at == std::string_view::npos) return out;
    text.remove_prefix(at + 1);
  }
}

std::optional<uint64_t> ParseNumber(std::string_view text, uint64_t most) {
  uint64_t value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value > most) return std::nullopt;
  return value;
}

TraceTable::TraceTable(std::string name, std::string_view text) : name_(std::move(name)), rest_(text) {
  headings_ = SplitText(TakeLine(rest_), ',');
}

Result<size_t> TraceTable::Column(std::string_view heading) const {
  for (size_t column = 0; column < headings_.size(); ++column) {
    if (headings_[column] == heading) return column;
  }
  return InvalidArgument(name_ + ": there is no column \"" + std::string(heading) + "\"", "trace");
}

bool TraceTable::Next() {
  while (!rest_.empty()) {
    std::string_view line = TakeLine(rest_);
    ++line_;
    if (line.empty()) continue;
    row_ = SplitText(line, ',');
    return true;
  }
  return false;
}

Status TraceTable::Bad(size_t column, const std::string& allowed) const {
  std::string heading(column < headings_.size() ? headings_[column] : std::string_view("?"));
  return InvalidArgument(name_ + ":" + std::to_string(line_) + ": " + heading + " \"" +
                             std::string(Text(column).substr(0, 40)) + "\" is not " + allowed,
                         "trace");
}

Result<uint64_t> TraceTable::Number(size_t column, uint64_t most) const {
  if (auto value = ParseNumber(Text(column), most)) return *value;
  return Bad(column, "a number from 0 to " + std::to_string(most));
}

Result<std::optional<double>> TraceTable::Time(size_t column) const {
  std::string_view text = Text(column);
  if (text == "inf") return std::optional<double>();
  double value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || !std::isfinite(value))
    return Bad(column, "a time");
  return std::optional<double>(value);
}

}  // namespace berth::scheduler::replay
