#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace berth::cli {

// Terminal columns that UTF-8 text takes, for the characters that we print (each code point one column).
size_t DisplayWidth(std::string_view text);
std::string PadRight(std::string text, size_t width);
std::string PadLeft(std::string text, size_t width);

// Rows in aligned columns under capital headings, two blanks apart, without lines: easy to read, and to cut
// with awk. Empty cells print as "-".
class Table {
 public:
  enum class Align { kLeft, kRight };
  struct Column {
    std::string heading;
    Align align = Align::kLeft;
  };

  explicit Table(std::vector<Column> columns) : columns_(std::move(columns)) {}

  void AddRow(std::vector<std::string> cells);  // as many cells as columns
  bool empty() const { return rows_.empty(); }
  std::string ToString() const;

 private:
  std::vector<Column> columns_;
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace berth::cli
