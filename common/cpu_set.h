#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "common/cpu_words.h"
#include "common/status.h"

namespace berth {

// A set of CPU numbers (host CPUs, or a guest's vCPUs). Any number from 0 to kMaxCpu, so hosts with hundreds
// of CPUs and sparse numbering are held exactly. A value type; thread-compatible.
class CpuSet {
 public:
  static constexpr uint32_t kMaxCpu = 65535;

  CpuSet() = default;
  CpuSet(std::initializer_list<uint32_t> cpus);
  // The CPUs first..last, both included; empty if last < first.
  static CpuSet Range(uint32_t first, uint32_t last);
  // The kernel's list syntax: "0-3,8", blanks around commas and a trailing newline allowed, "" is the empty
  // set. Errors: kInvalidArgument with the offending part; numbers above kMaxCpu are kOutOfRange.
  static Result<CpuSet> Parse(std::string_view text);

  // Adding a CPU above kMaxCpu aborts: callers check outside input first (Parse does).
  void Add(uint32_t cpu);
  void Remove(uint32_t cpu);
  bool Contains(uint32_t cpu) const;
  bool Contains(const CpuSet& other) const;  // superset
  bool Intersects(const CpuSet& other) const;
  bool empty() const { return words_.empty(); }
  uint32_t Count() const;
  // Of the members that both have.
  uint32_t CountCommon(const CpuSet& other) const;
  // The smallest member, and the smallest member above `cpu`; kNone when there is none.
  static constexpr uint32_t kNone = UINT32_MAX;
  uint32_t First() const;
  uint32_t NextAfter(uint32_t cpu) const;

  CpuSet& operator|=(const CpuSet& other);
  CpuSet& operator&=(const CpuSet& other);
  CpuSet& operator-=(const CpuSet& other);
  friend CpuSet operator|(CpuSet a, const CpuSet& b) { return a |= b; }
  friend CpuSet operator&(CpuSet a, const CpuSet& b) { return a &= b; }
  friend CpuSet operator-(CpuSet a, const CpuSet& b) { return a -= b; }
  friend bool operator==(const CpuSet&, const CpuSet&) = default;
  // A stable total order (by the words), for maps and sorting.
  friend auto operator<=>(const CpuSet&, const CpuSet&) = default;

  std::vector<uint32_t> ToVector() const;
  // List syntax, shortest form: "0-3,8".
  std::string ToString() const;

 private:
  void Trim();

  CpuWords words_;  // no trailing zero words, so that == is set equality
};

}  // namespace berth
