#include "compute-agent/inventory/sysfs_values.h"

#include <algorithm>
#include <charconv>

namespace berth::agent {
namespace {

constexpr std::string_view kBlank{" \t\r\n\v\f\0", 7};
constexpr size_t kMaxNodes = 4096;

std::string_view Strip(std::string_view text) {
  size_t first = text.find_first_not_of(kBlank);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kBlank) - first + 1);
}

template <class T>
bool ToNumber(std::string_view text, T& value, int base = 10) {
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  return error == std::errc() && !text.empty() && end == text.data() + text.size();
}

Status NotA(std::string_view what, std::string_view text) {
  return InvalidArgument("\"" + Excerpt(text) + "\" is not " + std::string(what));
}

// Takes the first line off `text`.
std::string_view NextLine(std::string_view& text) {
  size_t end = text.find('\n');
  std::string_view line = text.substr(0, end);
  text = end == std::string_view::npos ? std::string_view() : text.substr(end + 1);
  return line;
}

// "  16384 kB" -> bytes, "12" -> 12.
Result<uint64_t> ParseMeminfoNumber(std::string_view text) {
  std::string_view digits = Strip(text);
  uint64_t unit = 1;
  if (digits.ends_with(" kB")) {
    unit = 1024;
    digits = Strip(digits.substr(0, digits.size() - 3));
  }
  TRY_ASSIGN(uint64_t number, ParseUnsigned(digits, UINT64_MAX / unit));
  return number * unit;
}

}  // namespace

std::string Excerpt(std::string_view text) {
  constexpr std::string_view kHex = "0123456789abcdef";
  std::string out;
  for (char c : Strip(text)) {
    if (out.size() >= 40) return out + "...";
    if (c >= ' ' && c <= '~') {
      out += c;
    } else {
      out += "\\x";
      out += kHex[static_cast<uint8_t>(c) >> 4];
      out += kHex[static_cast<uint8_t>(c) & 15];
    }
  }
  return out;
}

Result<uint64_t> ParseUnsigned(std::string_view text, uint64_t max) {
  uint64_t value = 0;
  if (!ToNumber(Strip(text), value)) return NotA("a number", text);
  if (value > max) return OutOfRange(Excerpt(text) + " is above " + std::to_string(max));
  return value;
}

Result<std::optional<uint32_t>> ParseOptionalId(std::string_view text) {
  if (Strip(text) == "-1") return std::optional<uint32_t>();
  TRY_ASSIGN(uint64_t id, ParseUnsigned(text, INT32_MAX));
  return std::optional<uint32_t>(static_cast<uint32_t>(id));
}

Result<uint32_t> ParseHexId(std::string_view text, size_t digits) {
  std::string_view id = Strip(text);
  uint32_t value = 0;
  if (!id.starts_with("0x") || id.size() > digits + 2 || !ToNumber(id.substr(2), value, 16)) {
    return NotA("0x and at most " + std::to_string(digits) + " hexadecimal digits", text);
  }
  return value;
}

Result<CpuSet> ParseCpuList(std::string_view text) {
  Result<CpuSet> set = CpuSet::Parse(Strip(text));
  if (!set.has_value()) return Status(set.error().code(), "\"" + Excerpt(text) + "\" is not a CPU list");
  return set;
}

Result<CpuSet> ParseCpuMask(std::string_view text) {
  std::string_view rest = Strip(text);
  if (rest.empty()) return NotA("a CPU mask", text);
  CpuSet set;
  uint32_t base = 0;
  while (true) {
    size_t comma = rest.rfind(',');
    std::string_view word_text = comma == std::string_view::npos ? rest : rest.substr(comma + 1);
    uint32_t word = 0;
    if (word_text.size() > 8 || !ToNumber(word_text, word, 16)) return NotA("a CPU mask", text);
    if (base > CpuSet::kMaxCpu) return OutOfRange("CPU mask is too long");
    for (uint32_t bit = 0; bit < 32; ++bit) {
      if ((word >> bit & 1) != 0) set.Add(base + bit);
    }
    if (comma == std::string_view::npos) return set;
    rest = rest.substr(0, comma);
    base += 32;
  }
}

Result<std::vector<uint32_t>> ParseDistances(std::string_view text) {
  std::vector<uint32_t> distances;
  std::string_view rest = Strip(text);
  while (!rest.empty()) {
    size_t end = rest.find_first_of(kBlank);
    TRY_ASSIGN(uint64_t distance, ParseUnsigned(rest.substr(0, end), UINT32_MAX));
    if (distances.size() == kMaxNodes) return OutOfRange("more than 4096 distances");
    distances.push_back(static_cast<uint32_t>(distance));
    rest = end == std::string_view::npos ? std::string_view() : Strip(rest.substr(end));
  }
  return distances;
}

Result<Meminfo> ParseMeminfo(std::string_view text) {
  Meminfo info;
  const std::pair<std::string_view, std::optional<uint64_t>*> known[] = {
      {"MemTotal", &info.total_bytes},
      {"MemFree", &info.free_bytes},
      {"HugePages_Total", &info.huge_total},
      {"HugePages_Free", &info.huge_free},
      {"Hugepagesize", &info.huge_size_bytes},
      {"Active(file)", &info.active_file_bytes},
      {"Inactive(file)", &info.inactive_file_bytes},
      {"SReclaimable", &info.reclaimable_bytes},
  };
  while (!text.empty()) {
    std::string_view line = Strip(NextLine(text));
    size_t colon = line.find(':');
    if (colon == std::string_view::npos) continue;
    std::string_view key = line.substr(0, colon);
    if (size_t blank = key.rfind(' '); key.starts_with("Node ") && blank != std::string_view::npos) {
      key = key.substr(blank + 1);
    }
    for (const auto& [name, value] : known) {
      if (key != name) continue;
      Result<uint64_t> number = ParseMeminfoNumber(line.substr(colon + 1));
      if (!number.has_value()) return std::move(number).error().WithContext(name);
      *value = *number;
    }
  }
  return info;
}

uint64_t AvailableBytes(const Meminfo& info) {
  const uint64_t total = info.total_bytes.value_or(0);
  uint64_t available = 0;
  for (const auto& part :
       {info.free_bytes, info.active_file_bytes, info.inactive_file_bytes, info.reclaimable_bytes})
    available += std::min(part.value_or(0), total - available);
  return available;
}

Result<uint64_t> ParseFatalErrors(std::string_view text) {
  constexpr std::string_view kKey = "TOTAL_ERR_FATAL";
  const std::string_view whole = text;
  while (!text.empty()) {
    std::string_view line = Strip(NextLine(text));
    if (line.starts_with(kKey)) return ParseUnsigned(line.substr(kKey.size()));
  }
  return NotA("a list of fatal errors with their total", whole);
}

Result<uint64_t> ParseHugePagesName(std::string_view name) {
  constexpr std::string_view kPrefix = "hugepages-";
  constexpr std::string_view kSuffix = "kB";
  if (!name.starts_with(kPrefix) || !name.ends_with(kSuffix)) return NotA("hugepages-<n>kB", name);
  std::string_view digits = name.substr(kPrefix.size());
  TRY_ASSIGN(uint64_t kib, ParseUnsigned(digits.substr(0, digits.size() - kSuffix.size()), UINT64_MAX >> 10));
  if (kib == 0) return NotA("hugepages-<n>kB", name);
  return kib << 10;
}

std::string OsReleaseValue(std::string_view text, std::string_view key) {
  while (!text.empty()) {
    std::string_view line = Strip(NextLine(text));
    if (!line.starts_with(key) || line.size() <= key.size() || line[key.size()] != '=') continue;
    std::string_view value = line.substr(key.size() + 1);
    if (value.size() >= 2 && (value.front() == '"' || value.front() == '\'') &&
        value.back() == value.front()) {
      value = value.substr(1, value.size() - 2);
    }
    std::string plain;
    for (size_t i = 0; i < value.size(); ++i) {
      if (value[i] == '\\' && i + 1 < value.size()) ++i;
      plain += value[i];
    }
    return CleanText(plain);
  }
  return {};
}

std::string CleanText(std::string_view text) {
  std::string clean(Strip(text.substr(0, 4096)));
  std::replace_if(
      clean.begin(), clean.end(), [](char c) { return static_cast<uint8_t>(c) < ' ' || c == 127; }, ' ');
  return clean;
}

std::optional<uint32_t> NumberAfter(std::string_view name, std::string_view prefix) {
  uint32_t number = 0;
  if (!name.starts_with(prefix) || !ToNumber(name.substr(prefix.size()), number)) return std::nullopt;
  return number;
}

}  // namespace berth::agent
