#include "cli/oslo_ini.h"

#include "compute-agent/inventory/sysfs_values.h"

namespace berth::cli {
namespace {

std::string_view Trim(std::string_view text) {
  constexpr std::string_view kBlanks = " \t\r\n\v\f";
  size_t begin = text.find_first_not_of(kBlanks);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kBlanks) - begin + 1);
}

std::string_view Unquote(std::string_view text) {
  bool quoted =
      text.size() > 1 && text.front() == text.back() && (text.front() == '"' || text.front() == '\'');
  return quoted ? text.substr(1, text.size() - 2) : text;
}

}  // namespace

std::vector<OsloOption> ParseOsloIni(std::string_view text, const std::string& name, ErrorList& errors) {
  std::vector<OsloOption> options;
  std::string section = "DEFAULT";
  bool continues = false;  // the line before belongs to the last option
  int number = 0;
  auto refuse = [&](std::string what) {
    errors.Add(InvalidArgument(std::move(what), name + ":" + std::to_string(number)));
  };
  while (!text.empty()) {
    size_t end = text.find('\n');
    std::string_view line = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    ++number;
    std::string_view content = Trim(line);
    if (content.empty()) {
      continues = false;
      continue;
    }
    if (line.front() == '#' || line.front() == ';') continue;
    if (line.front() == ' ' || line.front() == '\t') {
      if (!continues) {
        refuse("\"" + agent::Excerpt(content) + "\" continues no option");
      } else {
        options.back().value += "\n" + std::string(content);
      }
      continue;
    }
    continues = false;
    if (content.front() == '[') {
      if (content.size() < 3 || content.back() != ']') {
        refuse("\"" + agent::Excerpt(content) + "\" is no section header");
        continue;
      }
      section = content.substr(1, content.size() - 2);
      continue;
    }
    size_t separator = content.find_first_of("=:");
    if (separator == std::string_view::npos || separator == 0) {
      refuse("\"" + agent::Excerpt(content) + "\" is no assignment");
      continue;
    }
    options.push_back({section, std::string(Trim(content.substr(0, separator))),
                       std::string(Trim(content.substr(separator + 1))), number});
    continues = true;
  }
  for (OsloOption& option : options) option.value = std::string(Unquote(Trim(option.value)));
  return options;
}

}  // namespace berth::cli
