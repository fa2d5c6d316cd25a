#pragma once

#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>

namespace berth {

// One text out of several; at each place where one is made this is a third of the code of operator+.
[[gnu::noinline]] inline std::string Concat(std::initializer_list<std::string_view> parts) {
  std::string text;
  for (const std::string_view part : parts) text += part;
  return text;
}

// The next line of `text`, without its end, which `text` then begins behind; nullopt when nothing is left. A
// last line needs no end. Unlike std::getline it brings no streams into a program, which is much for one that
// is linked statically.
inline std::optional<std::string_view> NextLine(std::string_view& text) {
  if (text.empty()) return std::nullopt;
  const size_t end = text.find('\n');
  const std::string_view line = text.substr(0, end);
  text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  return line;
}

// The next word of `text`, which `text` then begins behind: words lie between spaces, tabs and ends of lines.
// nullopt when none is left.
inline std::optional<std::string_view> NextWord(std::string_view& text) {
  constexpr std::string_view kBetween = " \t\r\n";
  const size_t start = text.find_first_not_of(kBetween);
  if (start == std::string_view::npos) {
    text = {};
    return std::nullopt;
  }
  const size_t end = text.find_first_of(kBetween, start);
  const std::string_view word = text.substr(start, end == std::string_view::npos ? end : end - start);
  text.remove_prefix(end == std::string_view::npos ? text.size() : end);
  return word;
}

}  // namespace berth
