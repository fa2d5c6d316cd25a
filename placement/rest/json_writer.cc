#include "placement/rest/json_writer.h"

#include <array>
#include <charconv>
#include <cmath>

#include "placement/rest/text.h"

namespace berth::placement::rest {
namespace {

bool IsPlain(std::string_view text) {
  for (char c : text) {
    auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte >= 0x7f || c == '"' || c == '\\') return false;
  }
  return true;
}

// Bytes of the character that begins at `i`; 0: no valid one.
size_t CharacterLength(std::string_view text, size_t i) {
  for (size_t length = 1; length <= 4 && i + length <= text.size(); ++length) {
    if (IsUtf8(text.substr(i, length))) return length;
  }
  return 0;
}

}  // namespace

JsonWriter& JsonWriter::Begin(char bracket) {
  Separate();
  out_ += bracket;
  comma_ = false;
  return *this;
}

JsonWriter& JsonWriter::End(char bracket) {
  out_ += bracket;
  comma_ = true;
  return *this;
}

JsonWriter& JsonWriter::Key(std::string_view name) {
  Separate();
  Quote(name);
  out_ += ':';
  comma_ = false;
  return *this;
}

JsonWriter& JsonWriter::String(std::string_view value) {
  Separate();
  Quote(value);
  return *this;
}

JsonWriter& JsonWriter::Int(int64_t value) {
  Separate();
  std::array<char, 24> digits;
  out_.append(digits.data(), std::to_chars(digits.data(), digits.data() + digits.size(), value).ptr);
  return *this;
}

JsonWriter& JsonWriter::Double(double value) {
  if (!std::isfinite(value)) return Null();
  Separate();
  std::array<char, 40> digits;
  std::string_view text(
      digits.data(),
      static_cast<size_t>(std::to_chars(digits.data(), digits.data() + digits.size(), value).ptr -
                          digits.data()));
  out_ += text;
  if (text.find_first_of(".e") == std::string_view::npos) out_ += ".0";
  return *this;
}

JsonWriter& JsonWriter::Raw(std::string_view json) {
  Separate();
  out_ += json;
  return *this;
}

void JsonWriter::Quote(std::string_view text) {
  out_ += '"';
  if (IsPlain(text)) {
    out_ += text;
    out_ += '"';
    return;
  }
  static constexpr std::string_view kHex = "0123456789abcdef";
  for (size_t i = 0; i < text.size();) {
    char c = text[i];
    auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out_ += '\\';
      out_ += c;
    } else if (byte < 0x20 || byte == 0x7f) {
      out_ += "\\u00";
      out_ += kHex[byte >> 4];
      out_ += kHex[byte & 15];
    } else if (byte < 0x80) {
      out_ += c;
    } else {
      size_t length = CharacterLength(text, i);
      out_ += length == 0 ? std::string_view("\xef\xbf\xbd") : text.substr(i, length);
      i += length == 0 ? 1 : length;
      continue;
    }
    ++i;
  }
  out_ += '"';
}

}  // namespace berth::placement::rest
