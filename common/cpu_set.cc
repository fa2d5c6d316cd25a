#include "common/cpu_set.h"

#include <algorithm>
#include <bit>
#include <charconv>

namespace berth {
namespace {

std::string_view Strip(std::string_view text) {
  constexpr std::string_view kBlank = " \t\r\n";
  size_t first = text.find_first_not_of(kBlank);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kBlank) - first + 1);
}

Result<uint32_t> ParseCpu(std::string_view text, std::string_view whole) {
  uint64_t value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error == std::errc::result_out_of_range) value = UINT64_MAX;
  if (text.empty() || end != text.data() + text.size() || (error != std::errc() && value != UINT64_MAX)) {
    return InvalidArgument(
        "\"" + std::string(text) + "\" in CPU list \"" + std::string(whole) + "\" is not a number", {},
        "expected a list such as 0-3,8");
  }
  if (value > CpuSet::kMaxCpu) {
    return OutOfRange("CPU " + std::string(text) + " in \"" + std::string(whole) + "\" is out of range", {},
                      "allowed: 0.." + std::to_string(CpuSet::kMaxCpu));
  }
  return static_cast<uint32_t>(value);
}

}  // namespace

CpuSet::CpuSet(std::initializer_list<uint32_t> cpus) {
  for (uint32_t cpu : cpus) Add(cpu);
}

CpuSet CpuSet::Range(uint32_t first, uint32_t last) {
  CpuSet set;
  if (first <= last) set.words_.resize(std::min(last, kMaxCpu) / 64 + 1);
  for (uint32_t cpu = first; cpu <= last; ++cpu) set.Add(cpu);
  return set;
}

Result<CpuSet> CpuSet::Parse(std::string_view text) {
  CpuSet set;
  std::string_view rest = Strip(text);
  if (rest.empty()) return set;
  while (true) {
    size_t comma = rest.find(',');
    std::string_view part = Strip(rest.substr(0, comma));
    size_t dash = part.find('-');
    TRY_ASSIGN(uint32_t first, ParseCpu(Strip(part.substr(0, dash)), text));
    uint32_t last = first;
    if (dash != std::string_view::npos) {
      TRY_ASSIGN(last, ParseCpu(Strip(part.substr(dash + 1)), text));
      if (last < first) {
        return InvalidArgument("range \"" + std::string(part) + "\" ends before it starts");
      }
    }
    for (uint32_t cpu = first; cpu <= last; ++cpu) set.Add(cpu);
    if (comma == std::string_view::npos) return set;
    rest = rest.substr(comma + 1);
  }
}

void CpuSet::Add(uint32_t cpu) {
  CHECK(cpu <= kMaxCpu);
  if (words_.size() <= cpu / 64) words_.resize(cpu / 64 + 1);
  words_[cpu / 64] |= uint64_t{1} << (cpu % 64);
}

void CpuSet::Remove(uint32_t cpu) {
  if (cpu / 64 >= words_.size()) return;
  words_[cpu / 64] &= ~(uint64_t{1} << (cpu % 64));
  Trim();
}

bool CpuSet::Contains(uint32_t cpu) const {
  return cpu / 64 < words_.size() && (words_[cpu / 64] >> (cpu % 64) & 1) != 0;
}

bool CpuSet::Contains(const CpuSet& other) const {
  if (other.words_.size() > words_.size()) return false;
  for (size_t i = 0; i < other.words_.size(); ++i) {
    if ((other.words_[i] & ~words_[i]) != 0) return false;
  }
  return true;
}

bool CpuSet::Intersects(const CpuSet& other) const {
  size_t common = std::min(words_.size(), other.words_.size());
  for (size_t i = 0; i < common; ++i) {
    if ((words_[i] & other.words_[i]) != 0) return true;
  }
  return false;
}

uint32_t CpuSet::CountCommon(const CpuSet& other) const {
  // One at a time: one side mostly is a core, and without the instruction a population count costs more.
  uint32_t count = 0;
  const uint64_t* a = words_.data();
  const uint64_t* b = other.words_.data();
  for (size_t left = std::min(words_.size(), other.words_.size()); left > 0; --left) {
    for (uint64_t common = *a++ & *b++; common != 0; common &= common - 1) ++count;
  }
  return count;
}

uint32_t CpuSet::Count() const {
  uint32_t count = 0;
  for (uint64_t word : words_) count += static_cast<uint32_t>(std::popcount(word));
  return count;
}

uint32_t CpuSet::First() const {
  for (size_t i = 0; i < words_.size(); ++i) {
    if (words_[i] != 0)
      return static_cast<uint32_t>(i * 64) + static_cast<uint32_t>(std::countr_zero(words_[i]));
  }
  return kNone;
}

uint32_t CpuSet::NextAfter(uint32_t cpu) const {
  if (cpu >= kMaxCpu) return kNone;
  size_t index = (cpu + 1) / 64;
  if (index >= words_.size()) return kNone;
  uint64_t word = words_[index] & (~uint64_t{0} << ((cpu + 1) % 64));
  while (word == 0) {
    if (++index >= words_.size()) return kNone;
    word = words_[index];
  }
  return static_cast<uint32_t>(index * 64) + static_cast<uint32_t>(std::countr_zero(word));
}

CpuSet& CpuSet::operator|=(const CpuSet& other) {
  if (words_.size() < other.words_.size()) words_.resize(other.words_.size());
  for (size_t i = 0; i < other.words_.size(); ++i) words_[i] |= other.words_[i];
  return *this;
}

CpuSet& CpuSet::operator&=(const CpuSet& other) {
  if (words_.size() > other.words_.size()) words_.resize(other.words_.size());
  for (size_t i = 0; i < words_.size(); ++i) words_[i] &= other.words_[i];
  Trim();
  return *this;
}

CpuSet& CpuSet::operator-=(const CpuSet& other) {
  size_t common = std::min(words_.size(), other.words_.size());
  for (size_t i = 0; i < common; ++i) words_[i] &= ~other.words_[i];
  Trim();
  return *this;
}

void CpuSet::Trim() {
  while (!words_.empty() && words_.back() == 0) words_.pop_back();
}

std::vector<uint32_t> CpuSet::ToVector() const {
  std::vector<uint32_t> cpus;
  cpus.reserve(Count());
  for (uint32_t cpu = First(); cpu != kNone; cpu = NextAfter(cpu)) cpus.push_back(cpu);
  return cpus;
}

std::string CpuSet::ToString() const {
  std::string text;
  for (uint32_t first = First(); first != kNone;) {
    uint32_t last = first;
    uint32_t next = NextAfter(last);
    while (next == last + 1) {
      last = next;
      next = NextAfter(last);
    }
    if (!text.empty()) text += ',';
    text += std::to_string(first);
    if (last != first) text += '-' + std::to_string(last);
    first = next;
  }
  return text;
}

}  // namespace berth
