#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <string>

namespace berth::agent {

// What libhwloc 2.x makes of the same tree, an independent reader to compare discovery with.
struct HwlocView {
  std::map<uint32_t, uint64_t> memory_of_node;  // node -> bytes
  std::set<uint32_t> cpus;                      // of PUs
  std::map<std::string, std::string> pci;       // "dddd:bb:ss.f" -> "vendor:product:class16"
};

// Empty when hwloc cannot read it. Sets environment variables of the process: one test at a time.
std::optional<HwlocView> ReadWithHwloc(const std::filesystem::path& root);

}  // namespace berth::agent
