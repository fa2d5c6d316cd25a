#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/cpu_set.h"
#include "common/status.h"

// Parsers of what files of /sys and /proc hold. Pure; every one refuses text that is not exactly of its form
// (blanks and newlines around it are allowed) with kInvalidArgument or kOutOfRange, quoting a short,
// printable excerpt.
namespace berth::agent {

// Not longer than 40 characters, bytes that are not printable ASCII as "\xNN": safe in a message.
std::string Excerpt(std::string_view text);

Result<uint64_t> ParseUnsigned(std::string_view text, uint64_t max = UINT64_MAX);
// A NUMA node or a package: a number, or -1 (empty) for "unknown".
Result<std::optional<uint32_t>> ParseOptionalId(std::string_view text);
// "0x8086", of at most `digits` hexadecimal digits.
Result<uint32_t> ParseHexId(std::string_view text, size_t digits);

// "0-3,8".
Result<CpuSet> ParseCpuList(std::string_view text);
// 32-bit words in hexadecimal, the highest first: "0000000f,00ff00ff".
Result<CpuSet> ParseCpuMask(std::string_view text);

// Numbers separated by blanks, one a node: "10 21 21". At most 4096.
Result<std::vector<uint32_t>> ParseDistances(std::string_view text);

// Of /proc/meminfo or a node's meminfo, whose lines begin with "Node N ". Sizes in bytes, pools in pages.
struct Meminfo {
  std::optional<uint64_t> total_bytes;
  std::optional<uint64_t> free_bytes;
  std::optional<uint64_t> active_file_bytes;  // page cache, which the kernel gives back when memory is needed
  std::optional<uint64_t> inactive_file_bytes;
  std::optional<uint64_t> reclaimable_bytes;  // SReclaimable: likewise
  std::optional<uint64_t> huge_total;         // of the default huge page size
  std::optional<uint64_t> huge_free;
  std::optional<uint64_t> huge_size_bytes;  // only in /proc/meminfo
};
// kInvalidArgument when a known line has no number; unknown lines are skipped.
Result<Meminfo> ParseMeminfo(std::string_view text);
// Free memory, and what the kernel can take back from files; never more than there is.
uint64_t AvailableBytes(const Meminfo& info);

// /sys/kernel/tmm/memory_info of openEuler's virtCCA driver: a line "available: 2 numa nodes (0 1)", then
// four lines a node such as "numa node 0 size:      98304Mi" (also free, cvm used, meta_data used).
// kInvalidArgument: a line that is not of this form, a node without size, free or used beyond the size.
struct TmmNode {
  uint32_t id = 0;
  uint64_t total_bytes = 0;
  uint64_t free_bytes = 0;
  uint64_t guests_bytes = 0;
  uint64_t metadata_bytes = 0;
};
Result<std::vector<TmmNode>> ParseTmmMemoryInfo(std::string_view text);

// The number of the line TOTAL_ERR_FATAL of aer_dev_fatal. kInvalidArgument: there is none.
Result<uint64_t> ParseFatalErrors(std::string_view text);

// "hugepages-2048kB" -> bytes.
Result<uint64_t> ParseHugePagesName(std::string_view name);

// The value of `key` in KEY=value lines of os-release(5), quotes and backslashes resolved; empty if absent.
std::string OsReleaseValue(std::string_view text, std::string_view key);

// Text for people from a file: without the trailing newline, with control bytes replaced by blanks, at most
// 4096 bytes.
std::string CleanText(std::string_view text);

// A name such as "node12": the number after `prefix`, empty if it is none.
std::optional<uint32_t> NumberAfter(std::string_view name, std::string_view prefix);

}  // namespace berth::agent
