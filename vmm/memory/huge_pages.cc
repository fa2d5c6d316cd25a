#include "vmm/memory/huge_pages.h"

#include <sys/stat.h>

#include <algorithm>
#include <charconv>
#include <map>
#include <set>
#include <utility>

#include "common/byte_size.h"
#include "common/file.h"
#include "common/words.h"

namespace berth::vmm {
namespace {

constexpr uint64_t kBasePage = 4096;

// What a shared file has already, and no longer needs to be had.
uint64_t PresentBytes(const MemoryZoneConfig& zone) {
  struct stat info{};
  const bool file =
      zone.file && zone.shared && ::stat(zone.file->c_str(), &info) == 0 && S_ISREG(info.st_mode);
  return file ? static_cast<uint64_t>(info.st_blocks) * 512 : 0;
}

std::optional<uint64_t> ParseNumber(std::string_view text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.remove_suffix(1);
  uint64_t value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::optional<uint64_t> ReadNumber(const std::string& path) {
  Result<std::string> text = ReadFile(path);
  return text.has_value() ? ParseNumber(*text) : std::nullopt;
}

// The fields of a text like /proc/meminfo, whose lines may begin with "Node 0", together and in bytes;
// nullopt when one of them is missing.
std::optional<uint64_t> SumOfFields(std::string_view text, std::initializer_list<std::string_view> fields) {
  uint64_t kilobytes = 0;
  size_t found = 0;
  while (auto line = NextLine(text)) {
    auto key = NextWord(*line);
    if (key == "Node") {
      NextWord(*line);
      key = NextWord(*line);
    }
    if (!key || std::find(fields.begin(), fields.end(), *key) == fields.end()) continue;
    const auto number = ParseNumber(NextWord(*line).value_or(""));
    if (!number) return std::nullopt;
    kilobytes += *number;
    ++found;
  }
  return found == fields.size() ? std::optional(kilobytes << 10) : std::nullopt;
}

bool Exists(const std::string& file) {
  return ReadFile(file).has_value();
}

std::string NodeName(std::optional<uint32_t> node) {
  return node.has_value() ? "host NUMA node " + std::to_string(*node) : "the host";
}

// As the files of the hugetlb controller are named: "2MB", "1GB", "64KB".
std::string CgroupSizeName(uint64_t size) {
  if (size >= GiB(1).bytes()) return std::to_string(size >> 30) + "GB";
  if (size >= MiB(1).bytes()) return std::to_string(size >> 20) + "MB";
  return std::to_string(size >> 10) + "KB";
}

}  // namespace

Result<uint64_t> HugePages::DefaultSize() const {
  TRY_ASSIGN(std::string text, ReadFile(root_ + "/proc/meminfo"));
  for (std::string_view rest = text; auto line = NextLine(rest);) {
    const auto key = NextWord(*line), number = NextWord(*line), unit = NextWord(*line);
    if (!unit || *key != "Hugepagesize:" || *unit != "kB") continue;
    if (const auto kilobytes = ParseNumber(*number)) return *kilobytes << 10;
  }
  return FailedPrecondition("this host has no huge pages");
}

Result<uint64_t> HugePages::FreePages(uint64_t size, std::optional<uint32_t> node) const {
  const std::string pool = "hugepages-" + std::to_string(size >> 10) + "kB";
  const std::string all = root_ + "/sys/kernel/mm/hugepages/" + pool;
  if (!Exists(all + "/free_hugepages")) {
    return FailedPrecondition("this host has no huge pages of " + ByteSize(size).ToString(), "hugepage_size");
  }
  // Pages promised to mappings that have not touched them yet are still counted as free.
  uint64_t promised = ReadNumber(all + "/resv_hugepages").value_or(0);
  std::string directory = all;
  if (node.has_value()) {
    directory = root_ + "/sys/devices/system/node/node" + std::to_string(*node);
    if (!Exists(directory + "/meminfo")) {
      return NotFound("this host has no NUMA node " + std::to_string(*node), "host_numa_node");
    }
    directory += "/hugepages/" + pool;
  }
  uint64_t free = ReadNumber(directory + "/free_hugepages").value_or(0);
  uint64_t free_in_all = ReadNumber(all + "/free_hugepages").value_or(0);
  uint64_t available = free_in_all > promised ? free_in_all - promised : 0;
  return std::min(free, available);
}

std::optional<uint64_t> HugePages::CgroupRoom(const std::string& stem) const {
  Result<std::string> self = ReadFile(root_ + "/proc/self/cgroup");
  if (!self.has_value()) return std::nullopt;
  size_t at = self->rfind("0::/", 0) == 0 ? 0 : self->find("\n0::/");
  if (at == std::string::npos) return std::nullopt;
  at = self->find('/', at);
  std::string group = self->substr(at, self->find('\n', at) - at);
  std::optional<uint64_t> least;
  // Each ancestor has limits of its own.
  while (!group.empty() && group != "/") {
    std::string file = root_;
    file.append("/sys/fs/cgroup").append(group).append("/").append(stem);
    std::optional<uint64_t> limit = ReadNumber(file + ".max");
    if (limit.has_value()) {
      const uint64_t used = ReadNumber(file + ".current").value_or(0);
      const uint64_t room = *limit > used ? *limit - used : 0;
      least = std::min(least.value_or(room), room);
    }
    group.resize(group.rfind('/'));
  }
  return least;
}

std::optional<uint64_t> HugePages::CgroupPages(uint64_t size) const {
  std::optional<uint64_t> room = CgroupRoom("hugetlb." + CgroupSizeName(size));
  return room.has_value() ? std::optional(*room / size) : std::nullopt;
}

std::optional<uint64_t> HugePages::CgroupMemory() const {
  return CgroupRoom("memory");
}

std::optional<uint64_t> HugePages::NodeMemory(uint32_t node) const {
  Result<std::string> text =
      ReadFile(root_ + "/sys/devices/system/node/node" + std::to_string(node) + "/meminfo");
  if (!text.has_value()) return std::nullopt;
  // What drivers can give back as well, where the kernel tells (Linux 4.20).
  auto free = SumOfFields(*text, {"MemFree:", "Active(file):", "Inactive(file):", "KReclaimable:"});
  if (!free) free = SumOfFields(*text, {"MemFree:", "Active(file):", "Inactive(file):", "SReclaimable:"});
  if (!free) return std::nullopt;
  Result<std::string> all = ReadFile(root_ + "/proc/meminfo");
  const uint64_t swap = all.has_value() ? SumOfFields(*all, {"SwapFree:"}).value_or(0) : 0;
  return *free + std::min(swap, SumOfFields(*text, {"Active(anon):", "Inactive(anon):"}).value_or(0));
}

Result<uint64_t> HugePages::PageSize(const MemoryZoneConfig& zone) const {
  if (zone.hugepages && zone.hugepage_size) return zone.hugepage_size->bytes();
  if (zone.hugepages) return DefaultSize();
  return zone.file ? of_file_(*zone.file).value_or(kBasePage) : kBasePage;
}

std::vector<MemoryLack> HugePages::Missing(const std::vector<MemoryZoneConfig>& zones) const {
  struct Demand {
    uint64_t bytes = 0;
    std::vector<size_t> zones;
  };
  std::vector<MemoryLack> lacks;
  std::set<size_t> told;
  auto tell = [&](const Demand& demand, const Status& status) {
    for (size_t zone : demand.zones) {
      if (told.insert(zone).second) lacks.push_back({zone, status});
    }
  };
  auto names = [&](const Demand& demand) {
    std::string text = "memory zones";
    for (size_t zone : demand.zones) text += (zone == demand.zones[0] ? " " : ", ") + zones[zone].id;
    return text;
  };

  Demand ordinary;
  std::map<uint32_t, Demand> ordinary_of_node;
  std::map<std::pair<uint64_t, std::optional<uint32_t>>, Demand> demands;
  std::map<uint64_t, Demand> by_size;
  for (size_t i = 0; i < zones.size(); ++i) {
    const MemoryZoneConfig& zone = zones[i];
    const uint64_t need = zone.size.bytes() + zone.hotplugged_size.value_or(ByteSize()).bytes();
    auto add = [&](Demand& demand) {
      demand.bytes += need - std::min(need, PresentBytes(zone));
      demand.zones.push_back(i);
    };
    Result<uint64_t> size = PageSize(zone);
    if (!size.has_value()) {
      tell({0, {i}}, size.error());
    } else if (*size > kBasePage) {
      add(demands[{*size, zone.host_numa_node}]);
      add(by_size[*size]);
    } else if (zone.prefault) {
      add(ordinary);
      if (zone.host_numa_node) add(ordinary_of_node[*zone.host_numa_node]);
    }
  }

  const uint64_t room = CgroupMemory().value_or(ordinary.bytes);
  if (room < ordinary.bytes) {
    tell(ordinary, ResourceExhausted(names(ordinary) + " prefault " + ByteSize(ordinary.bytes).ToString() +
                                         ", the limit of this control group (memory) leaves " +
                                         ByteSize(room).ToHuman(),
                                     "memory", "raise memory.max, or use less memory"));
  }
  for (const auto& [node, demand] : ordinary_of_node) {
    const uint64_t have = NodeMemory(node).value_or(demand.bytes);
    if (have >= demand.bytes) continue;
    tell(demand, ResourceExhausted(names(demand) + " prefault " + ByteSize(demand.bytes).ToString() + ", " +
                                       NodeName(node) + " has " + ByteSize(have).ToHuman() +
                                       " free or to be reclaimed",
                                   "memory", "free memory of this node, bind to another, or use less"));
  }
  auto compare = [&](const Demand& demand, uint64_t size, const std::string& where,
                     const Result<uint64_t>& have) {
    const uint64_t need = demand.bytes / size;
    if (!have.has_value()) return tell(demand, have.error());
    if (*have >= need) return;
    tell(demand, ResourceExhausted(names(demand) + " need " + std::to_string(need) + " huge pages of " +
                                       ByteSize(size).ToString() + ", " + where + " has " +
                                       std::to_string(*have) + " free",
                                   "memory", "free or reserve more (nr_hugepages), or use less memory"));
  };
  for (const auto& [key, demand] : demands) {
    compare(demand, key.first, NodeName(key.second), FreePages(key.first, key.second));
  }
  for (const auto& [size, demand] : by_size) {
    compare(demand, size, "the host", FreePages(size, std::nullopt));
    compare(demand, size, "the limit of this control group (hugetlb)",
            CgroupPages(size).value_or(demand.bytes / size));
  }
  return lacks;
}

Status HugePages::Preflight(const std::vector<MemoryZoneConfig>& zones) const {
  const std::vector<MemoryLack> lacks = Missing(zones);
  return lacks.empty() ? OkStatus() : lacks[0].status;
}

}  // namespace berth::vmm
