#include "cli/output.h"

#include <algorithm>
#include <array>
#include <cctype>

namespace berth::cli {
namespace {

constexpr size_t kMaxInlineList = 16;

std::string Quoted(const std::string& text) {
  // A JSON string is a double-quoted YAML scalar.
  return Json(text).dump(-1, ' ', true, Json::error_handler_t::replace);
}

bool IsWord(std::string_view text) {
  constexpr std::array<std::string_view, 9> kReserved = {"true", "false", "null", "yes", "no",
                                                         "on",   "off",   "y",    "n"};
  std::string lower(text);
  std::transform(lower.begin(), lower.end(), lower.begin(), [](unsigned char c) { return std::tolower(c); });
  if (std::find(kReserved.begin(), kReserved.end(), lower) != kReserved.end()) return false;
  if (text.empty() || std::isalpha(static_cast<unsigned char>(text.front())) == 0) return false;
  if (text.back() == ' ') return false;
  // No character of YAML's syntax, so no colon, hash, comma or bracket.
  return std::all_of(text.begin(), text.end(), [](unsigned char c) {
    return std::isalnum(c) != 0 || c == ' ' || c == '_' || c == '-' || c == '.' || c == '/';
  });
}

std::string Scalar(const Json& value) {
  if (!value.is_string()) return value.dump();
  const std::string& text = value.get_ref<const std::string&>();
  return IsWord(text) ? text : Quoted(text);
}

std::string Key(const std::string& key) {
  return IsWord(key) ? key : Quoted(key);
}

bool IsInline(const Json& value) {
  if (!value.is_structured() || value.empty()) return true;
  if (!value.is_array() || value.size() > kMaxInlineList) return false;
  return std::all_of(value.begin(), value.end(), [](const Json& item) { return item.is_number(); });
}

std::string Inline(const Json& value) {
  if (!value.is_structured()) return Scalar(value);
  if (value.is_object()) return "{}";
  std::string text = "[";
  for (const Json& item : value) text += (text.size() > 1 ? ", " : "") + Scalar(item);
  return text + "]";
}

// Writes a non-empty map or list whose first line continues the present one, which stands at `indent`.
void Write(const Json& value, size_t indent, std::string& out) {
  std::string margin(indent, ' ');
  bool first = true;
  if (value.is_array()) {
    for (const Json& item : value) {
      if (!std::exchange(first, false)) out += margin;
      out += "- ";
      if (IsInline(item)) {
        out += Inline(item) + "\n";
      } else {
        Write(item, indent + 2, out);
      }
    }
    return;
  }
  for (const auto& [key, item] : value.items()) {
    if (!std::exchange(first, false)) out += margin;
    out += Key(key) + ":";
    if (IsInline(item)) {
      out += " " + Inline(item) + "\n";
      continue;
    }
    out += "\n" + std::string(indent + (item.is_array() ? 0 : 2), ' ');
    Write(item, indent + (item.is_array() ? 0 : 2), out);
  }
}

}  // namespace

Result<Format> ParseFormat(std::string_view name) {
  if (name == "table") return Format::kTable;
  if (name == "wide") return Format::kWide;
  if (name == "tree") return Format::kTree;
  if (name == "json") return Format::kJson;
  if (name == "yaml") return Format::kYaml;
  return InvalidArgument("\"" + std::string(name) + "\" is no output format", kOutputField,
                         "allowed: table, wide, tree, json, yaml");
}

std::string ToJsonText(const Json& value) {
  return value.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

std::string ToYamlText(const Json& value) {
  if (IsInline(value)) return Inline(value) + "\n";
  std::string text;
  Write(value, 0, text);
  return text;
}

std::string ToText(const Json& value, Format format) {
  return format == Format::kYaml ? ToYamlText(value) : ToJsonText(value);
}

}  // namespace berth::cli
