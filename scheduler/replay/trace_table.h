#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/status.h"

namespace berth::scheduler::replay {

// The largest file that is read, in bytes after decompression.
inline constexpr size_t kMaxTraceBytes = size_t{1} << 30;

// A file's whole text; what is gzip is decompressed. Errors: kNotFound, kDataLoss, kResourceExhausted.
Result<std::string> ReadTraceFile(const std::string& path);

// Comma-separated values with a line of headings, row by row. Refers to the text.
class TraceTable {
 public:
  // `name`: the file's, for errors.
  TraceTable(std::string name, std::string_view text);

  // The number of a column; kInvalidArgument if there is none of that name.
  Result<size_t> Column(std::string_view heading) const;
  // Goes to the next row; false: there is none.
  bool Next();
  // Of the row; empty where the row is too short.
  std::string_view Text(size_t column) const {
    return column < row_.size() ? row_[column] : std::string_view();
  }
  // Numbers that are none, negative ones and those above `most` are kInvalidArgument, with line and column.
  Result<uint64_t> Number(size_t column, uint64_t most) const;
  // A finite number, or nothing for "inf".
  Result<std::optional<double>> Time(size_t column) const;
  Status Bad(size_t column, const std::string& allowed) const;

 private:
  const std::string name_;
  std::string_view rest_;
  std::vector<std::string_view> headings_;
  std::vector<std::string_view> row_;
  uint64_t line_ = 1;
};

// The parts of a text between separators.
std::vector<std::string_view> SplitText(std::string_view text, char separator);
// A number of digits only; nothing if it is none or above `most`.
std::optional<uint64_t> ParseNumber(std::string_view text, uint64_t most);

}  // namespace berth::scheduler::replay
