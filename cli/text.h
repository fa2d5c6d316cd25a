#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "common/cpu_set.h"
#include "common/pci_address.h"

// Short texts that several pictures and tables share.
namespace berth::cli {

std::string Join(const std::vector<std::string>& parts, std::string_view separator);
// What a guest, a driver or a VMM said, in one line: a table's row, an item of a tree.
std::string OneLine(std::string_view text);
// "1 CPU", "4 CPUs".
std::string Count(uint64_t n, std::string_view noun);
// "CPU 3", "CPUs 0-3,8": a noun with a list of numbers.
std::string Numbers(std::string_view noun, const CpuSet& numbers);
// "2 MiB", "1 GiB": page sizes, exact.
std::string PageSizeText(uint64_t bytes);
// "64.0 GiB", without decimals where they are zero: "64 GiB".
std::string BytesText(uint64_t bytes);

// The cores of a node: "0+16 1+17 2+18 3+19", shortened in the middle above 12 cores; the CPU list alone
// where every core has one thread.
std::string CoresText(const std::vector<CpuSet>& cores);

// A run of addresses of one bus and domain: "0000:41:02.0 … 02.7".
std::string AddressRangeText(const PciAddress& first, const PciAddress& last);

}  // namespace berth::cli
