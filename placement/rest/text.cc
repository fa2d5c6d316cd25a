#include "placement/rest/text.h"

#include <algorithm>
#include <cstdint>
#include <cstdio>

namespace berth::placement::rest {
namespace {

bool IsUpper(char c) {
  return (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}
bool IsHex(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

}  // namespace

std::vector<std::string_view> Split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  while (true) {
    size_t at = text.find(separator);
    parts.push_back(text.substr(0, at));
    if (at == std::string_view::npos) return parts;
    text.remove_prefix(at + 1);
  }
}

std::string_view Strip(std::string_view text) {
  constexpr std::string_view kBlanks = " \t\r\n\v\f";
  size_t first = text.find_first_not_of(kBlanks);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kBlanks) - first + 1);
}

std::string Join(const std::vector<std::string>& parts, std::string_view separator) {
  std::string joined;
  for (const std::string& part : parts) {
    if (&part != &parts.front()) joined += separator;
    joined += part;
  }
  return joined;
}

std::string PythonRepr(std::string_view text) {
  char quote =
      text.find('\'') != std::string_view::npos && text.find('"') == std::string_view::npos ? '"' : '\'';
  std::string out(1, quote);
  for (char c : text) {
    auto byte = static_cast<unsigned char>(c);
    if (c == '\n') {
      out += "\\n";
    } else if (c == '\r') {
      out += "\\r";
    } else if (c == '\t') {
      out += "\\t";
    } else if (c == '\\' || c == quote) {
      out += '\\';
      out += c;
    } else if (byte < 0x20 || byte == 0x7f) {
      char escaped[8];
      std::snprintf(escaped, sizeof escaped, "\\x%02x", byte);
      out += escaped;
    } else {
      out += c;
    }
  }
  return out + quote;
}

std::string PythonRepr(const std::vector<std::string>& list) {
  std::string out = "[";
  for (const std::string& item : list) {
    if (&item != &list.front()) out += ", ";
    out += PythonRepr(item);
  }
  return out + "]";
}

size_t CountCharacters(std::string_view text) {
  return static_cast<size_t>(std::count_if(
      text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }));
}

bool IsUtf8(std::string_view text) {
  for (size_t i = 0; i < text.size();) {
    auto byte = [&](size_t at) { return at < text.size() ? static_cast<unsigned char>(text[at]) : 0u; };
    unsigned lead = byte(i);
    size_t length = lead < 0x80                   ? 1
                    : lead >= 0xc2 && lead < 0xe0 ? 2
                    : lead >= 0xe0 && lead < 0xf0 ? 3
                    : lead >= 0xf0 && lead < 0xf5 ? 4
                                                  : 0;
    if (length == 0) return false;
    uint32_t code = length == 1 ? lead : lead & (0x7fu >> length);
    for (size_t k = 1; k < length; ++k) {
      if ((byte(i + k) & 0xc0) != 0x80) return false;
      code = code << 6 | (byte(i + k) & 0x3f);
    }
    if ((length == 3 && code < 0x800) || (length == 4 && (code < 0x10000 || code > 0x10ffff)) ||
        (code >= 0xd800 && code < 0xe000)) {
      return false;
    }
    i += length;
  }
  return true;
}

std::optional<Uuid> ParseUuidLike(std::string_view text) {
  if (text.size() > 64) return std::nullopt;
  std::string plain;
  if (text.starts_with("urn:")) text.remove_prefix(4);
  if (text.starts_with("uuid:")) text.remove_prefix(5);
  if (text.size() >= 2 && text.front() == '{' && text.back() == '}') text = text.substr(1, text.size() - 2);
  for (char c : text) {
    if (c != '-') plain += c;
  }
  if (plain.size() != 32 || !std::all_of(plain.begin(), plain.end(), IsHex)) return std::nullopt;
  Result<Uuid> parsed = Uuid::Parse(plain);
  return parsed ? std::optional<Uuid>(*parsed) : std::nullopt;
}

bool IsClassOrTraitName(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), IsUpper);
}

bool IsCustomName(std::string_view text) {
  return text.size() > 7 && text.starts_with("CUSTOM_") && IsClassOrTraitName(text);
}

bool IsUuidPattern(std::string_view text) {
  return text.size() == 36 &&
         std::all_of(text.begin(), text.end(), [](char c) { return IsHex(c) || c == '-'; });
}

bool IsNumberedSuffix(std::string_view text) {
  return !text.empty() && text.front() != '0' &&
         std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

bool IsNamedSuffix(std::string_view text) {
  return !text.empty() && text.size() <= 64 && std::all_of(text.begin(), text.end(), [](char c) {
    return IsUpper(c) || (c >= 'a' && c <= 'z') || c == '-';
  });
}

bool IsConsumerTypeQuery(std::string_view text) {
  return IsClassOrTraitName(text) || text.starts_with("all") || text == "unknown";
}

}  // namespace berth::placement::rest
