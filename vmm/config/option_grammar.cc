#include "vmm/config/option_grammar.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <optional>

#include "common/byte_size.h"

namespace berth::vmm {
namespace {

// A part of a text between separators, with the column of its first character (from 1).
struct Part {
  std::string_view text;
  size_t column;
};

std::string_view Trim(std::string_view text) {
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.front()))) text.remove_prefix(1);
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.back()))) text.remove_suffix(1);
  return text;
}

Status Syntax(const std::string& what, size_t column) {
  return InvalidArgument("syntax error: " + what + " at column " + std::to_string(column));
}

// Splits at commas outside quotes and brackets.
Result<std::vector<Part>> SplitCommas(std::string_view text) {
  std::vector<Part> parts;
  bool quoted = false;
  size_t quote = 0;
  std::vector<size_t> open;
  size_t begin = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    if (c == '"') {
      quoted = !quoted;
      quote = i;
    } else if (quoted) {
      continue;
    } else if (c == '[') {
      open.push_back(i);
    } else if (c == ']') {
      if (open.empty()) return Syntax("']' without '['", i + 1);
      open.pop_back();
    } else if (c == ',' && open.empty()) {
      parts.push_back({text.substr(begin, i - begin), begin + 1});
      begin = i + 1;
    }
  }
  if (quoted) return Syntax("quotation mark never closed", quote + 1);
  if (!open.empty()) return Syntax("'[' never closed", open.back() + 1);
  parts.push_back({text.substr(begin), begin + 1});
  return parts;
}

// The first `wanted` outside quotes and brackets.
size_t FindOutside(std::string_view text, char wanted) {
  bool quoted = false;
  int depth = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    if (c == '"') quoted = !quoted;
    if (quoted) continue;
    if (c == wanted && depth == 0) return i;
    if (c == '[') ++depth;
    if (c == ']') --depth;
  }
  return std::string_view::npos;
}

// The items of "[a,b]", or the text itself when it has no brackets. No item may be empty.
Result<std::vector<std::string_view>> ListItems(std::string_view text) {
  text = Trim(text);
  if (text.empty()) return InvalidArgument("a list may not be empty");
  std::vector<std::string_view> items;
  if (text.front() != '[') {
    TRY_ASSIGN(std::vector<Part> parts, SplitCommas(text));
    if (parts.size() > 1) return InvalidArgument("a list of several values needs '[' and ']'");
    items.push_back(text);
    return items;
  }
  if (text.back() != ']' || text.size() < 2) return InvalidArgument("text after the list's ']'");
  TRY_ASSIGN(std::vector<Part> parts, SplitCommas(text.substr(1, text.size() - 2)));
  for (const Part& part : parts) {
    std::string_view item = Trim(part.text);
    if (item.empty())
      return InvalidArgument(parts.size() == 1 ? "a list may not be empty" : "empty item in the list");
    items.push_back(item);
  }
  return items;
}

Result<uint64_t> ParseInteger(std::string_view text, uint64_t max) {
  std::string plain = Unquote(Trim(text));
  uint64_t value = 0;
  auto [end, error] = std::from_chars(plain.data(), plain.data() + plain.size(), value);
  if (error == std::errc::result_out_of_range && end == plain.data() + plain.size())
    return OutOfRange("'" + plain + "' is above " + std::to_string(max));
  if (error != std::errc() || end != plain.data() + plain.size())
    return InvalidArgument("'" + plain + "' is not a decimal number");
  if (value > max) return OutOfRange("'" + plain + "' is above " + std::to_string(max));
  return value;
}

Result<CpuSet> ParseIntegerList(std::string_view text) {
  TRY_ASSIGN(std::vector<std::string_view> items, ListItems(text));
  CpuSet set;
  for (std::string_view item : items) {
    size_t dash = item.find('-');
    TRY_ASSIGN(uint64_t first, ParseInteger(item.substr(0, dash), CpuSet::kMaxCpu));
    uint64_t last = first;
    if (dash != std::string_view::npos) {
      TRY_ASSIGN(last, ParseInteger(item.substr(dash + 1), CpuSet::kMaxCpu));
    }
    if (last < first) return InvalidArgument("range '" + std::string(item) + "' ends below its start");
    set |= CpuSet::Range(static_cast<uint32_t>(first), static_cast<uint32_t>(last));
  }
  return set;
}

// Splits "k@v"; k is an unsigned integer of 32 bits.
Result<std::pair<uint32_t, std::string_view>> SplitTuple(std::string_view item) {
  size_t at = FindOutside(item, '@');
  if (at == std::string_view::npos)
    return InvalidArgument("'" + std::string(item) + "' is not of the form a@b");
  TRY_ASSIGN(uint64_t left, ParseInteger(item.substr(0, at), UINT32_MAX));
  return std::pair(static_cast<uint32_t>(left), item.substr(at + 1));
}

Result<TupleList> ParseTupleList(std::string_view text, uint64_t max) {
  TRY_ASSIGN(std::vector<std::string_view> items, ListItems(text));
  TupleList list;
  for (std::string_view item : items) {
    TRY_ASSIGN(auto tuple, SplitTuple(item));
    TRY_ASSIGN(uint64_t right, ParseInteger(tuple.second, max));
    list.emplace_back(tuple.first, static_cast<uint32_t>(right));
  }
  return list;
}

Result<AffinityList> ParseAffinityList(std::string_view text) {
  TRY_ASSIGN(std::vector<std::string_view> items, ListItems(text));
  AffinityList list;
  for (std::string_view item : items) {
    TRY_ASSIGN(auto tuple, SplitTuple(item));
    TRY_ASSIGN(CpuSet cpus, ParseIntegerList(tuple.second));
    list.emplace_back(tuple.first, std::move(cpus));
  }
  return list;
}

Result<DescriptorLists> ParseDescriptorLists(std::string_view text) {
  TRY_ASSIGN(std::vector<std::string_view> items, ListItems(text));
  DescriptorLists lists;
  for (std::string_view item : items) {
    const size_t at = FindOutside(item, '@');
    std::string name = Unquote(Trim(item.substr(0, at)));
    if (at == std::string_view::npos || name.empty())
      return InvalidArgument("'" + std::string(item) + "' is not of the form name@[n,...]");
    TRY_ASSIGN(CpuSet fds, ParseIntegerList(item.substr(at + 1)));
    lists.emplace_back(std::move(name), std::move(fds));
  }
  return lists;
}

Result<std::vector<std::string>> ParseStringList(std::string_view text) {
  TRY_ASSIGN(std::vector<std::string_view> items, ListItems(text));
  std::vector<std::string> list;
  for (std::string_view item : items) {
    std::string plain = Unquote(item);
    if (plain.empty()) return InvalidArgument("empty item in the list");
    list.push_back(std::move(plain));
  }
  return list;
}

Result<bool> ParseToggle(std::string_view text) {
  std::string plain = Unquote(Trim(text));
  std::string lower = plain;
  std::transform(lower.begin(), lower.end(), lower.begin(), [](unsigned char c) { return std::tolower(c); });
  if (lower == "on" || lower == "true") return true;
  if (lower == "off" || lower == "false") return false;
  return InvalidArgument("'" + plain + "' is neither on nor off");
}

template <class T>
Result<OptionValue> Wrap(Result<T> result) {
  if (!result.has_value()) return result.error();
  return OptionValue(*std::move(result));
}

Result<OptionValue> ParseTyped(ValueType type, uint64_t max, std::string_view text) {
  switch (type) {
    case ValueType::kToggle:
      return Wrap(ParseToggle(text));
    case ValueType::kBytes: {
      TRY_ASSIGN(ByteSize size, ByteSize::Parse(Unquote(text)));
      return OptionValue(size.bytes());
    }
    case ValueType::kInteger:
      return Wrap(ParseInteger(text, max));
    case ValueType::kString:
      return OptionValue(Unquote(text));
    case ValueType::kIntegerList:
      return Wrap(ParseIntegerList(text));
    case ValueType::kTupleList:
      return Wrap(ParseTupleList(text, max));
    case ValueType::kAffinityList:
      return Wrap(ParseAffinityList(text));
    case ValueType::kStringList:
      return Wrap(ParseStringList(text));
    case ValueType::kDescriptorLists:
      return Wrap(ParseDescriptorLists(text));
  }
  CHECK(false);
}

}  // namespace

std::string Unquote(std::string_view text) {
  std::string plain(text);
  std::erase(plain, '"');
  return plain;
}

std::vector<KeyValue> SplitKeyValues(std::string_view text, std::vector<Status>& wrong) {
  std::vector<KeyValue> pairs;
  Result<std::vector<Part>> parts = SplitCommas(text);
  if (!parts.has_value()) {
    wrong.push_back(parts.error());
    return pairs;
  }
  for (const Part& part : *parts) {
    const size_t equals = FindOutside(part.text, '=');
    std::string key(Trim(part.text.substr(0, equals)));
    if (Trim(part.text).empty()) {
      wrong.push_back(Syntax("empty part where key=value should be", part.column));
    } else if (equals == std::string_view::npos) {
      wrong.push_back(Syntax("'" + key + "' is not of the form key=value", part.column).WithField(key));
    } else if (key.empty()) {
      wrong.push_back(Syntax("no key before '='", part.column));
    } else {
      const size_t column = part.column + part.text.find_first_of(key);
      pairs.push_back({std::move(key), std::string(Trim(part.text.substr(equals + 1))), column});
    }
  }
  return pairs;
}

Result<OptionValue> ParseValue(ValueType type, uint64_t max, std::string_view text) {
  Result<OptionValue> value = ParseTyped(type, max, text);
  if (!value.has_value()) return Status(value.error()).WithHint(AllowedValues(type, max));
  return value;
}

std::string AllowedValues(ValueType type, uint64_t max) {
  std::string top = std::to_string(max);
  switch (type) {
    case ValueType::kToggle:
      return "on, off, true or false";
    case ValueType::kBytes:
      return "a decimal number with at most one suffix of K, M, G, T";
    case ValueType::kInteger:
      return "0 to " + top;
    case ValueType::kString:
      return "text";
    case ValueType::kIntegerList:
      return "n, a-b or [a-b,n,...] with numbers up to " + std::to_string(CpuSet::kMaxCpu);
    case ValueType::kTupleList:
      return "a@b or [a@b,...] with b up to " + top;
    case ValueType::kAffinityList:
      return "[a@[b,c-d],...] with CPU numbers up to " + std::to_string(CpuSet::kMaxCpu);
    case ValueType::kStringList:
      return "x or [x,y,...]";
    case ValueType::kDescriptorLists:
      return "[name@[n,...],...] with descriptors from 3 to " + std::to_string(CpuSet::kMaxCpu);
  }
  CHECK(false);
}

}  // namespace berth::vmm
