#include "scheduler/whatif/json.h"

#include <bit>
#include <cstring>

namespace berth::scheduler::whatif {
namespace {

bool IsDigit(char c) {
  return c >= '0' && c <= '9';
}

// The high bit of the first byte that is a quote, a backslash, or below 32 (the classic tests for zero bytes:
// borrows can set bits of later bytes, never of earlier ones); 0: there is none.
uint64_t SpecialBytes(uint64_t word) {
  constexpr uint64_t kOnes = 0x0101010101010101;
  constexpr uint64_t kHighs = 0x8080808080808080;
  uint64_t quote = word ^ (kOnes * '"');
  uint64_t slash = word ^ (kOnes * '\\');
  uint64_t found = (quote - kOnes) & ~quote;
  found |= (slash - kOnes) & ~slash;
  found |= (word - kOnes * 0x20) & ~word;
  return found & kHighs;
}

// The first quote, backslash or control character.
const char* FindSpecial(const char* at, const char* end) {
  for (; end - at >= 8; at += 8) {
    uint64_t word = 0;
    std::memcpy(&word, at, sizeof word);
    if constexpr (std::endian::native != std::endian::little) word = __builtin_bswap64(word);
    if (uint64_t found = SpecialBytes(word); found != 0) return at + std::countr_zero(found) / 8;
  }
  while (at < end && *at != '"' && *at != '\\' && static_cast<unsigned char>(*at) >= 0x20) ++at;
  return at;
}

bool IsAscii(std::string_view text) {
  uint64_t all = 0;
  size_t i = 0;
  for (; i + 8 <= text.size(); i += 8) {
    uint64_t word = 0;
    std::memcpy(&word, text.data() + i, sizeof word);
    all |= word;
  }
  for (; i < text.size(); ++i) all |= static_cast<unsigned char>(text[i]);
  return (all & 0x8080808080808080) == 0;
}

// Well-formed UTF-8: no overlong forms, no surrogates, nothing above U+10FFFF.
bool IsUtf8(std::string_view text) {
  for (size_t i = 0; i < text.size();) {
    auto byte = static_cast<unsigned char>(text[i]);
    if (byte < 0x80) {
      ++i;
      continue;
    }
    size_t more = byte >= 0xf0 ? 3 : byte >= 0xe0 ? 2 : 1;
    if (byte < 0xc2 || byte > 0xf4 || i + more >= text.size()) return false;
    uint32_t code = byte & (0x3fu >> more);
    for (size_t k = 1; k <= more; ++k) {
      auto next = static_cast<unsigned char>(text[i + k]);
      if ((next & 0xc0) != 0x80) return false;
      code = code << 6 | (next & 0x3f);
    }
    bool overlong = (more == 2 && code < 0x800) || (more == 3 && code < 0x10000);
    if (overlong || (code >= 0xd800 && code < 0xe000) || code > 0x10ffff) return false;
    i += more + 1;
  }
  return true;
}

void AppendUtf8(uint32_t code, std::string& out) {
  if (code < 0x80) {
    out += static_cast<char>(code);
  } else if (code < 0x800) {
    out += static_cast<char>(0xc0 | code >> 6);
    out += static_cast<char>(0x80 | (code & 0x3f));
  } else if (code < 0x10000) {
    out += static_cast<char>(0xe0 | code >> 12);
    out += static_cast<char>(0x80 | (code >> 6 & 0x3f));
    out += static_cast<char>(0x80 | (code & 0x3f));
  } else {
    out += static_cast<char>(0xf0 | code >> 18);
    out += static_cast<char>(0x80 | (code >> 12 & 0x3f));
    out += static_cast<char>(0x80 | (code >> 6 & 0x3f));
    out += static_cast<char>(0x80 | (code & 0x3f));
  }
}

}  // namespace

const Json* Json::Find(std::string_view name) const {
  if (kind_ != Kind::kObject) return nullptr;
  for (const Json& member : *this) {
    if (member.key_.size() == name.size() && std::memcmp(member.key_.data(), name.data(), name.size()) == 0)
      return member.IsNull() ? nullptr : &member;
  }
  return nullptr;
}

Result<const Json*> JsonParser::Parse(std::string_view text) {
  begin_ = at_ = text.data();
  end_ = begin_ + text.size();
  values_.clear();
  unescaped_.clear();
  if (!IsAscii(text) && !IsUtf8(text)) return InvalidArgument("the line is not UTF-8");
  bool good = ReadValue({}, 0);
  if (good) SkipBlanks();
  if (good && at_ != end_) good = Fail("nothing more is expected");
  if (good) return values_.data();
  return InvalidArgument("no JSON at byte " + std::to_string(at_ - begin_ + 1) + ": " + what_);
}

bool JsonParser::Fail(const char* what) {
  what_ = what;
  return false;
}

inline void JsonParser::SkipBlanks() {
  while (at_ < end_ && (*at_ == ' ' || *at_ == '\t' || *at_ == '\n' || *at_ == '\r')) ++at_;
}

bool JsonParser::ReadValue(std::string_view key, uint32_t depth) {
  SkipBlanks();
  if (at_ == end_) return Fail("a value is missing");
  size_t self = values_.size();
  Json& value = values_.emplace_back();
  value.key_ = key;
  switch (*at_) {
    case '"':
      value.kind_ = Json::Kind::kString;
      return ReadString(value.text_);
    case '{':
      value.kind_ = Json::Kind::kObject;
      return ReadObject(self, depth + 1);
    case '[':
      value.kind_ = Json::Kind::kArray;
      return ReadArray(self, depth + 1);
    case 't':
      value.kind_ = Json::Kind::kTrue;
      return ReadWord("true");
    case 'f':
      value.kind_ = Json::Kind::kFalse;
      return ReadWord("false");
    case 'n':
      return ReadWord("null");
    default:
      value.kind_ = Json::Kind::kNumber;
      return ReadNumber(value.text_);
  }
}

bool JsonParser::ReadObject(size_t self, uint32_t depth) {
  if (depth > kMaxDepth) return Fail("values are nested too deep");
  ++at_;
  SkipBlanks();
  uint32_t size = 0;
  if (at_ < end_ && *at_ == '}') {
    ++at_;
  } else {
    while (true) {
      SkipBlanks();
      if (at_ == end_ || *at_ != '"') return Fail("a name in quotes is missing");
      std::string_view key;
      if (!ReadString(key)) return false;
      SkipBlanks();
      if (at_ == end_ || *at_ != ':') return Fail("a colon is missing");
      ++at_;
      if (!ReadValue(key, depth)) return false;
      ++size;
      SkipBlanks();
      if (at_ == end_ || (*at_ != ',' && *at_ != '}')) return Fail("a comma or } is missing");
      if (*at_++ == '}') break;
    }
  }
  values_[self].size_ = size;
  values_[self].span_ = static_cast<uint32_t>(values_.size() - self);
  return true;
}

bool JsonParser::ReadArray(size_t self, uint32_t depth) {
  if (depth > kMaxDepth) return Fail("values are nested too deep");
  ++at_;
  SkipBlanks();
  uint32_t size = 0;
  if (at_ < end_ && *at_ == ']') {
    ++at_;
  } else {
    while (true) {
      if (!ReadValue({}, depth)) return false;
      ++size;
      SkipBlanks();
      if (at_ == end_ || (*at_ != ',' && *at_ != ']')) return Fail("a comma or ] is missing");
      if (*at_++ == ']') break;
    }
  }
  values_[self].size_ = size;
  values_[self].span_ = static_cast<uint32_t>(values_.size() - self);
  return true;
}

bool JsonParser::ReadString(std::string_view& out) {
  const char* start = ++at_;
  at_ = FindSpecial(at_, end_);
  if (at_ == end_) return Fail("a string does not end");
  if (*at_ == '"') {
    out = {start, static_cast<size_t>(at_ - start)};
    ++at_;
    return true;
  }
  return ReadEscaped(start, out);
}

bool JsonParser::ReadEscaped(const char* start, std::string_view& out) {
  // Text without escapes is never longer than with them.
  if (unescaped_.capacity() < static_cast<size_t>(end_ - begin_) || unescaped_.empty())
    unescaped_.reserve(static_cast<size_t>(end_ - begin_));
  size_t from = unescaped_.size();
  at_ = start;
  while (true) {
    const char* special = FindSpecial(at_, end_);
    unescaped_.append(at_, special);
    at_ = special;
    if (at_ == end_) return Fail("a string does not end");
    if (*at_ == '"') break;
    if (*at_ != '\\') return Fail("a control character in a string");
    if (++at_ == end_) return Fail("a string does not end");
    static constexpr std::string_view kCodes = "\"\\/bfnrt";
    static constexpr std::string_view kMeant = "\"\\/\b\f\n\r\t";
    char code = *at_++;
    if (size_t which = kCodes.find(code); which != std::string_view::npos) {
      unescaped_ += kMeant[which];
      continue;
    }
    if (code != 'u') return Fail("an unknown escape");
    uint32_t point = 0;
    if (!ReadHex4(point)) return false;
    if (point >= 0xd800 && point < 0xdc00) {
      if (end_ - at_ < 2 || at_[0] != '\\' || at_[1] != 'u') return Fail("half of a surrogate pair");
      at_ += 2;
      uint32_t low = 0;
      if (!ReadHex4(low)) return false;
      if (low < 0xdc00 || low > 0xdfff) return Fail("half of a surrogate pair");
      point = 0x10000 + ((point - 0xd800) << 10) + (low - 0xdc00);
    } else if (point >= 0xdc00 && point < 0xe000) {
      return Fail("half of a surrogate pair");
    }
    AppendUtf8(point, unescaped_);
  }
  ++at_;
  out = std::string_view(unescaped_).substr(from);
  return true;
}

bool JsonParser::ReadHex4(uint32_t& out) {
  out = 0;
  for (int i = 0; i < 4; ++i, ++at_) {
    if (at_ == end_) return Fail("four hexadecimal digits are missing");
    char c = *at_;
    uint32_t digit = IsDigit(c)             ? static_cast<uint32_t>(c - '0')
                     : c >= 'a' && c <= 'f' ? static_cast<uint32_t>(c - 'a' + 10)
                     : c >= 'A' && c <= 'F' ? static_cast<uint32_t>(c - 'A' + 10)
                                            : 16;
    if (digit == 16) return Fail("four hexadecimal digits are missing");
    out = out << 4 | digit;
  }
  return true;
}

bool JsonParser::ReadNumber(std::string_view& out) {
  const char* start = at_;
  auto digits = [this] {
    const char* first = at_;
    while (at_ < end_ && IsDigit(*at_)) ++at_;
    return at_ - first;
  };
  if (at_ < end_ && *at_ == '-') ++at_;
  const char* first = at_;
  auto whole = digits();
  if (whole == 0 || (whole > 1 && *first == '0')) return Fail("a value is missing");
  if (at_ < end_ && *at_ == '.') {
    ++at_;
    if (digits() == 0) return Fail("digits are missing");
  }
  if (at_ < end_ && (*at_ == 'e' || *at_ == 'E')) {
    ++at_;
    if (at_ < end_ && (*at_ == '+' || *at_ == '-')) ++at_;
    if (digits() == 0) return Fail("digits are missing");
  }
  out = {start, static_cast<size_t>(at_ - start)};
  return true;
}

bool JsonParser::ReadWord(std::string_view word) {
  if (static_cast<size_t>(end_ - at_) < word.size() || std::string_view(at_, word.size()) != word)
    return Fail("a value is missing");
  at_ += word.size();
  return true;
}

}  // namespace berth::scheduler::whatif
