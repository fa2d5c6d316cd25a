#include "vmm/machine/private_account.h"

#include <charconv>
#include <optional>
#include <sstream>

#include "common/file.h"

namespace berth::vmm {
namespace {

std::optional<uint64_t> Number(std::string_view text) {
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

}  // namespace

Result<std::map<uint32_t, uint64_t>> UnevictableByNode(std::string_view numa_stat) {
  std::istringstream lines{std::string(numa_stat)};
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string word;
    if (!(words >> word) || word != "unevictable") continue;
    std::map<uint32_t, uint64_t> nodes;
    while (words >> word) {
      const size_t equals = word.find('=');
      if (word[0] != 'N' || equals == std::string::npos) continue;
      const auto node = Number(std::string_view(word).substr(1, equals - 1));
      const auto bytes = Number(std::string_view(word).substr(equals + 1));
      if (node && bytes && *bytes > 0) nodes[static_cast<uint32_t>(*node)] = *bytes;
    }
    return nodes;
  }
  return InvalidArgument("the cgroup's memory.numa_stat does not tell of unevictable memory");
}

Result<std::map<uint32_t, uint64_t>> UnevictableOfCgroup(const std::string& cgroups,
                                                         std::string_view membership, int pid) {
  constexpr std::string_view kVersion2 = "0::";
  std::string path;
  std::istringstream lines{std::string(membership)};
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with(kVersion2)) path = line.substr(kVersion2.size());
  }
  if (path.empty()) return FailedPrecondition("the process is in no cgroup of version 2");
  const std::string folder = cgroups + path;
  const Result<std::string> members = ReadFile(folder + "/cgroup.procs");
  if (!members.has_value()) return FailedPrecondition(members.error().message());
  if (*members != std::to_string(pid) + "\n") {
    return FailedPrecondition("the cgroup " + path + " is not the VMM's alone");
  }
  const Result<std::string> stat = ReadFile(folder + "/memory.numa_stat");
  if (!stat.has_value()) return FailedPrecondition(stat.error().message());
  return UnevictableByNode(*stat);
}

}  // namespace berth::vmm
