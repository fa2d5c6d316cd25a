#include "cli/text.h"

#include <algorithm>

#include "common/byte_size.h"

namespace berth::cli {

std::string Join(const std::vector<std::string>& parts, std::string_view separator) {
  std::string text;
  for (const std::string& part : parts) {
    if (!text.empty()) text += separator;
    text += part;
  }
  return text;
}

std::string OneLine(std::string_view text) {
  std::string line;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    std::string_view part = text.substr(begin, end - begin);
    while (part.ends_with('\r') || part.ends_with(' ')) part.remove_suffix(1);
    if (!part.empty()) line += (line.empty() ? "" : " | ") + std::string(part);
    begin = end + 1;
  }
  return line;
}

std::string Count(uint64_t n, std::string_view noun) {
  return std::to_string(n) + " " + std::string(noun) + (n == 1 ? "" : "s");
}

std::string Numbers(std::string_view noun, const CpuSet& numbers) {
  return std::string(noun) + (numbers.Count() == 1 ? " " : "s ") + numbers.ToString();
}

std::string PageSizeText(uint64_t bytes) {
  for (auto [unit, name] : {std::pair{30, " GiB"}, std::pair{20, " MiB"}, std::pair{10, " KiB"}}) {
    if (bytes >= uint64_t{1} << unit && bytes % (uint64_t{1} << unit) == 0) {
      return std::to_string(bytes >> unit) + name;
    }
  }
  return std::to_string(bytes) + " B";
}

std::string BytesText(uint64_t bytes) {
  if (bytes == 0) return "0";
  std::string exact = PageSizeText(bytes);
  return exact.size() <= 8 && !exact.ends_with("KiB") ? exact : ByteSize(bytes).ToHuman();
}

std::string CoresText(const std::vector<CpuSet>& cores) {
  constexpr size_t kShown = 12;
  CpuSet all;
  std::vector<std::string> parts;
  for (size_t i = 0; i < cores.size(); ++i) {
    all |= cores[i];
    if (cores.size() > kShown && i >= kShown / 2 && i + 2 < cores.size()) {
      if (i == kShown / 2) parts.emplace_back("…");
      continue;
    }
    std::string core;
    for (uint32_t cpu : cores[i].ToVector()) core += (core.empty() ? "" : "+") + std::to_string(cpu);
    parts.push_back(core);
  }
  return all.Count() == cores.size() ? all.ToString() : Join(parts, " ");
}

std::string AddressRangeText(const PciAddress& first, const PciAddress& last) {
  std::string begin = first.ToString();
  if (first == last) return begin;
  // Without the domain, and without the bus where it is the same.
  bool same_bus = first.domain == last.domain && first.bus == last.bus;
  return begin + " … " + last.ToString().substr(same_bus ? 8 : 5);
}

}  // namespace berth::cli
