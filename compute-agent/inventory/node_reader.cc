#include "compute-agent/inventory/node_reader.h"

#include <unistd.h>

#include <algorithm>
#include <set>
#include <string>

#include "compute-agent/inventory/sysfs_values.h"

namespace berth::agent {
namespace {

constexpr uint64_t kUsualPageBytes = 4096;

// Files do not tell the base page size; a recorded tree is taken for one with the usual size.
uint64_t BasePageBytes(const Root& root) {
  if (!root.is_live()) return kUsualPageBytes;
  long size = ::sysconf(_SC_PAGESIZE);
  return size > 0 ? static_cast<uint64_t>(size) : kUsualPageBytes;
}

std::optional<Meminfo> ReadMeminfoText(const Result<std::string>& text, const std::string& path,
                                       Warnings& warnings) {
  if (!text.has_value()) {
    warnings.Add(text.error().message());
    return std::nullopt;
  }
  Result<Meminfo> info = ParseMeminfo(*text);
  if (!info.has_value()) {
    warnings.AddBadContent(path, info.error());
    return std::nullopt;
  }
  if (!info->total_bytes.has_value()) warnings.Add(path + ": no line MemTotal");
  return *std::move(info);
}

std::optional<uint64_t> ReadCount(const Folder& folder, std::string_view name, Warnings& warnings) {
  Result<std::string> text = folder.Read(name);
  if (!text.has_value()) {
    warnings.Add(text.error().message());
    return std::nullopt;
  }
  Result<uint64_t> count = ParseUnsigned(*text);
  if (!count.has_value()) {
    warnings.AddBadContent(folder.PathOf(name), count.error());
    return std::nullopt;
  }
  return *count;
}

// The pools below a `hugepages` folder.
std::vector<PageCount> ReadPools(const Folder& folder, Warnings& warnings) {
  std::vector<PageCount> pools;
  Result<std::vector<std::string>> names = folder.List();
  if (!names.has_value()) {
    warnings.Add(names.error().message());
    return pools;
  }
  for (const std::string& name : *names) {
    Result<uint64_t> size = ParseHugePagesName(name);
    if (!size.has_value()) {
      warnings.AddBadContent(folder.PathOf(Excerpt(name)), size.error());
      continue;
    }
    Result<Folder> pool = folder.Open(name);
    if (!pool.has_value()) {
      warnings.Add(pool.error().message());
      continue;
    }
    std::optional<uint64_t> total = ReadCount(*pool, "nr_hugepages", warnings);
    std::optional<uint64_t> free = ReadCount(*pool, "free_hugepages", warnings);
    if (total.has_value()) pools.push_back({*size, *total, std::min(free.value_or(0), *total)});
  }
  return pools;
}

// Kernels before 2.6.32 tell one pool, of the default size, in meminfo.
void AddPoolOfMeminfo(const Meminfo& info, std::optional<uint64_t> size, std::vector<PageCount>& pools) {
  if (!pools.empty() || !size.has_value() || *size == 0 || !info.huge_total.has_value()) return;
  pools.push_back({*size, *info.huge_total, std::min(info.huge_free.value_or(0), *info.huge_total)});
}

// Puts the pool of base pages before the huge ones: what of the node's memory is not in huge pages.
void FinishPages(NumaNodeInfo& node, std::vector<PageCount> pools, uint64_t page_bytes,
                 const std::string& path, Warnings& warnings) {
  std::sort(pools.begin(), pools.end(),
            [](const PageCount& a, const PageCount& b) { return a.size_bytes < b.size_bytes; });
  std::erase_if(pools, [&](const PageCount& pool) { return pool.size_bytes <= page_bytes; });
  uint64_t left = node.memory_bytes;
  for (PageCount& pool : pools) {
    if (pool.total > left / pool.size_bytes) {
      warnings.Add(path + ": " + std::to_string(pool.total) + " huge pages of " +
                   std::to_string(pool.size_bytes) + " bytes are more than the memory; ignored");
      pool.total = pool.free = 0;
    }
    left -= pool.total * pool.size_bytes;
  }
  uint64_t total = left / page_bytes;
  node.pages = {{page_bytes, total, std::min(node.memory_free_bytes / page_bytes, total)}};
  node.pages.insert(node.pages.end(), pools.begin(), pools.end());
}

void FinishCpus(NumaNodeInfo& node, const CpuTopology& cpus, Warnings& warnings) {
  node.siblings = cpus.CoresOf(node.cpus);
  std::set<uint32_t> sockets;
  for (uint32_t cpu : node.cpus.ToVector()) {
    if (auto found = cpus.socket.find(cpu); found != cpus.socket.end()) sockets.insert(found->second);
  }
  if (sockets.empty()) return;
  node.socket = *sockets.begin();
  if (sockets.size() > 1) {
    warnings.Add("node " + std::to_string(node.id) + " has CPUs of " + std::to_string(sockets.size()) +
                 " sockets; taken for socket " + std::to_string(*node.socket));
  }
}

// All CPUs that the kernel counts to the node, the offline ones too.
CpuSet ReadNodeCpus(const Folder& folder, Warnings& warnings) {
  // The list form came with Linux 2.6.26.
  for (const char* name : {"cpulist", "cpumap"}) {
    Result<std::string> text = folder.Read(name);
    if (!text.has_value()) {
      if (text.error().code() == StatusCode::kNotFound && std::string_view(name) == "cpulist") continue;
      warnings.Add(text.error().message());
      continue;
    }
    Result<CpuSet> set = std::string_view(name) == "cpulist" ? ParseCpuList(*text) : ParseCpuMask(*text);
    if (set.has_value()) return *std::move(set);
    warnings.AddBadContent(folder.PathOf(name), set.error());
  }
  return {};
}

NumaNodeInfo ReadNode(const Folder& folder, uint32_t id, std::optional<uint64_t> default_huge_bytes,
                      uint64_t page_bytes, Warnings& warnings) {
  NumaNodeInfo node;
  node.id = id;
  node.cpus = ReadNodeCpus(folder, warnings);
  std::string path = folder.PathOf("meminfo");
  std::vector<PageCount> pools;
  if (Result<Folder> huge = folder.Open("hugepages"); huge.has_value()) {
    pools = ReadPools(*huge, warnings);
  } else {
    warnings.AddUnlessMissing(huge.error());
  }
  if (std::optional<Meminfo> info = ReadMeminfoText(folder.Read("meminfo"), path, warnings)) {
    node.memory_bytes = info->total_bytes.value_or(0);
    node.memory_free_bytes = std::min(info->free_bytes.value_or(0), node.memory_bytes);
    node.memory_available_bytes = AvailableBytes(*info);
    AddPoolOfMeminfo(*info, default_huge_bytes, pools);
  }
  FinishPages(node, std::move(pools), page_bytes, folder.path(), warnings);
  Result<std::string> text = folder.Read("distance");
  if (!text.has_value()) {
    warnings.AddUnlessMissing(text.error());
    return node;
  }
  Result<std::vector<uint32_t>> distances = ParseDistances(*text);
  if (!distances.has_value()) {
    warnings.AddBadContent(folder.PathOf("distance"), distances.error());
    return node;
  }
  node.distances = *std::move(distances);
  return node;
}

// The machine as one node, for kernels without NUMA support.
NumaNodeInfo ImplicitNode(const Root& root, const CpuTopology& cpus, const std::optional<Meminfo>& machine,
                          Warnings& warnings) {
  NumaNodeInfo node;
  node.cpus = cpus.online;
  node.distances = {10};
  std::vector<PageCount> pools;
  if (Result<Folder> huge = root.OpenFolder("sys/kernel/mm/hugepages"); huge.has_value()) {
    pools = ReadPools(*huge, warnings);
  } else {
    warnings.AddUnlessMissing(huge.error());
  }
  if (machine.has_value()) {
    node.memory_bytes = machine->total_bytes.value_or(0);
    node.memory_free_bytes = std::min(machine->free_bytes.value_or(0), node.memory_bytes);
    node.memory_available_bytes = AvailableBytes(*machine);
    AddPoolOfMeminfo(*machine, machine->huge_size_bytes, pools);
  }
  FinishPages(node, std::move(pools), BasePageBytes(root), "/proc/meminfo", warnings);
  FinishCpus(node, cpus, warnings);
  return node;
}

std::optional<Meminfo> ReadMachineMeminfo(const Root& root, bool needed, Warnings& warnings) {
  Result<std::string> text = root.Read("proc/meminfo");
  if (!needed && !text.has_value() && text.error().code() == StatusCode::kNotFound) return std::nullopt;
  return ReadMeminfoText(text, "/proc/meminfo", warnings);
}

// The numbers of the nodeN directories, ascending.
std::set<uint32_t> NodeIds(const Result<Folder>& folder, Warnings& warnings) {
  std::set<uint32_t> ids;
  if (!folder.has_value()) {
    warnings.AddUnlessMissing(folder.error());
    return ids;
  }
  Result<std::vector<std::string>> names = folder->List();
  if (!names.has_value()) {
    warnings.Add(names.error().message());
    return ids;
  }
  for (const std::string& name : *names) {
    if (std::optional<uint32_t> id = NumberAfter(name, "node")) ids.insert(*id);
  }
  return ids;
}

// A distance file has one column a node that the kernel has online, in ascending order, so columns of nodes
// that were left out must go.
void AlignDistances(NumaNodeInfo& node, const std::set<uint32_t>& listed, const std::set<uint32_t>& kept,
                    const std::string& folder, Warnings& warnings) {
  if (node.distances.empty()) return;
  if (node.distances.size() != listed.size()) {
    warnings.Add(folder + "/node" + std::to_string(node.id) +
                 "/distance: " + std::to_string(node.distances.size()) + " distances for " +
                 std::to_string(listed.size()) + " nodes; ignored");
    node.distances.clear();
    return;
  }
  std::vector<uint32_t> aligned;
  size_t column = 0;
  for (uint32_t id : listed) {
    if (kept.contains(id)) aligned.push_back(node.distances[column]);
    ++column;
  }
  node.distances = std::move(aligned);
}

}  // namespace

std::vector<NumaNodeInfo> ReadNodes(const Root& root, const CpuTopology& cpus, Warnings& warnings) {
  Result<Folder> folder = root.OpenFolder("sys/devices/system/node");
  std::set<uint32_t> listed = NodeIds(folder, warnings);
  std::optional<Meminfo> machine = ReadMachineMeminfo(root, listed.empty(), warnings);
  if (listed.empty()) return {ImplicitNode(root, cpus, machine, warnings)};

  std::optional<uint64_t> default_huge_bytes = machine.has_value() ? machine->huge_size_bytes : std::nullopt;
  std::vector<NumaNodeInfo> nodes;
  std::set<uint32_t> kept;
  CpuSet taken;
  for (uint32_t id : listed) {
    Result<Folder> one = folder->Open("node" + std::to_string(id));
    if (!one.has_value()) {
      warnings.Add(one.error().message());
      continue;
    }
    NumaNodeInfo node = ReadNode(*one, id, default_huge_bytes, BasePageBytes(root), warnings);
    if (node.cpus.Intersects(taken)) {
      warnings.Add(one->path() + ": node ignored, its CPUs " + (node.cpus & taken).ToString() +
                   " are already those of another node");
      continue;
    }
    taken |= node.cpus;
    node.cpus &= cpus.online;
    FinishCpus(node, cpus, warnings);
    kept.insert(id);
    nodes.push_back(std::move(node));
  }
  for (NumaNodeInfo& node : nodes) AlignDistances(node, listed, kept, folder->path(), warnings);
  return nodes;
}

}  // namespace berth::agent
