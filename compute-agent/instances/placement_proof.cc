#include "compute-agent/instances/placement_proof.h"

#include <dirent.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <memory>
#include <optional>

#include "common/byte_size.h"
#include "common/file.h"

namespace berth::agent {
namespace {

constexpr size_t kMaxNumaMaps = 64 << 20;

std::optional<uint64_t> Number(std::string_view text) {
  uint64_t value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

// Calls `use(part)` for each non-empty part of `text` between `separator`s.
template <class Use>
void Split(std::string_view text, char separator, Use use) {
  while (!text.empty()) {
    size_t end = text.find(separator);
    if (end != 0) use(text.substr(0, end));
    if (end == std::string_view::npos) return;
    text.remove_prefix(end + 1);
  }
}

// One line: "7f.. bind:0 anon=512 dirty=512 N0=512 kernelpagesize_kB=4".
void AddMapping(std::string_view line, std::map<placement::NumaNode, uint64_t>& bytes) {
  size_t column = 0;
  bool bound = false;
  uint64_t page_kib = 4;
  std::vector<std::pair<placement::NumaNode, uint64_t>> pages;
  Split(line, ' ', [&](std::string_view word) {
    if (++column == 2) bound = word.starts_with("bind");
    size_t equals = word.find('=');
    if (column < 3 || equals == std::string_view::npos) return;
    std::optional<uint64_t> value = Number(word.substr(equals + 1));
    if (!value.has_value()) return;
    if (word.starts_with("kernelpagesize_kB")) page_kib = *value;
    std::optional<uint64_t> node = word[0] == 'N' ? Number(word.substr(1, equals - 1)) : std::nullopt;
    if (node.has_value()) pages.emplace_back(static_cast<placement::NumaNode>(*node), *value);
  });
  if (!bound) return;
  for (auto [node, count] : pages) bytes[node] += count * page_kib * 1024;
}

Result<VcpuThread> ReadThread(const std::string& folder, pid_t tid) {
  TRY_ASSIGN(std::string name, ReadFile(folder + "/comm"));
  std::string_view text = name;
  while (text.ends_with('\n')) text.remove_suffix(1);
  if (!text.starts_with("vcpu")) return NotFound("not a vCPU thread");
  std::optional<uint64_t> vcpu = Number(text.substr(4));
  if (!vcpu.has_value()) return NotFound("not a vCPU thread");
  TRY_ASSIGN(std::string status, ReadFile(folder + "/status"));
  constexpr std::string_view kKey = "Cpus_allowed_list:";
  size_t at = status.find(kKey);
  if (at == std::string::npos) return NotFound("no Cpus_allowed_list in " + folder + "/status");
  size_t begin = at + kKey.size();
  std::string list = status.substr(begin, status.find('\n', begin) - begin);
  list.erase(0, list.find_first_not_of(" \t"));
  TRY_ASSIGN(CpuSet cpus, CpuSet::Parse(list));
  return VcpuThread{static_cast<uint32_t>(*vcpu), tid, std::move(cpus)};
}

void CompareVcpus(const std::map<uint32_t, CpuSet>& affinity, const ProcessPlacement& actual,
                  std::vector<std::string>& violations) {
  for (const auto& [vcpu, cpus] : affinity) {
    auto found = std::find_if(actual.vcpus.begin(), actual.vcpus.end(),
                              [id = vcpu](const VcpuThread& thread) { return thread.vcpu == id; });
    std::string name = "vCPU " + std::to_string(vcpu);
    if (found == actual.vcpus.end()) {
      violations.push_back(name + " has no thread");
    } else if (found->cpus_allowed != cpus) {
      violations.push_back(name + " may run on CPUs " + found->cpus_allowed.ToString() + ", claimed are " +
                           cpus.ToString());
    }
  }
}

void CompareMemory(const placement::Claim& claim, const ProcessPlacement& actual,
                   std::vector<std::string>& violations) {
  std::map<placement::NumaNode, uint64_t> claimed;
  for (const placement::CellBinding& cell : claim.cells) claimed[cell.host_cell] += cell.memory_bytes;
  if (claimed.empty()) return;
  for (const auto& [node, bytes] : claimed) {
    auto found = actual.guest_memory.find(node);
    uint64_t resident = found == actual.guest_memory.end() ? 0 : found->second;
    if (resident < bytes) {
      violations.push_back("node " + std::to_string(node) + " holds " + ByteSize(resident).ToHuman() +
                           " of guest memory, claimed are " + ByteSize(bytes).ToHuman());
    }
  }
  for (const auto& [node, bytes] : actual.guest_memory) {
    if (bytes > 0 && !claimed.contains(node)) {
      violations.push_back("node " + std::to_string(node) + " holds " + ByteSize(bytes).ToHuman() +
                           " of guest memory, none is claimed there");
    }
  }
}

}  // namespace

std::map<placement::NumaNode, uint64_t> BoundMemory(std::string_view numa_maps) {
  std::map<placement::NumaNode, uint64_t> bytes;
  Split(numa_maps, '\n', [&](std::string_view line) { AddMapping(line, bytes); });
  return bytes;
}

Result<std::vector<VcpuThread>> ReadVcpuThreads(pid_t pid, const std::string& proc) {
  std::string process = proc + "/" + std::to_string(pid);
  std::vector<VcpuThread> vcpus;
  std::unique_ptr<DIR, int (*)(DIR*)> tasks(::opendir((process + "/task").c_str()), ::closedir);
  if (tasks == nullptr) return ErrnoStatus(process + "/task", errno);
  while (const dirent* entry = ::readdir(tasks.get())) {
    std::optional<uint64_t> tid = Number(entry->d_name);
    if (!tid.has_value()) continue;
    Result<VcpuThread> thread = ReadThread(process + "/task/" + entry->d_name, static_cast<pid_t>(*tid));
    if (thread.has_value()) vcpus.push_back(*std::move(thread));
  }
  std::sort(vcpus.begin(), vcpus.end(),
            [](const VcpuThread& a, const VcpuThread& b) { return a.vcpu < b.vcpu; });
  return vcpus;
}

Result<ProcessPlacement> ReadProcessPlacement(pid_t pid, const std::string& proc) {
  ProcessPlacement placement;
  TRY_ASSIGN(placement.vcpus, ReadVcpuThreads(pid, proc));
  TRY_ASSIGN(std::string maps, ReadFile(proc + "/" + std::to_string(pid) + "/numa_maps", kMaxNumaMaps));
  placement.guest_memory = BoundMemory(maps);
  return placement;
}

Result<std::set<std::string>> OpenVfioNodes(pid_t pid, const std::string& proc) {
  const std::string folder = proc + "/" + std::to_string(pid) + "/fd";
  std::unique_ptr<DIR, int (*)(DIR*)> entries(::opendir(folder.c_str()), ::closedir);
  if (entries == nullptr) return ErrnoStatus(folder, errno);
  std::set<std::string> nodes;
  while (const dirent* entry = ::readdir(entries.get())) {
    char target[256];
    ssize_t length = ::readlink((folder + "/" + entry->d_name).c_str(), target, sizeof target);
    if (length <= 0) continue;
    std::string node(target, static_cast<size_t>(length));
    if (node.starts_with("/dev/vfio/")) nodes.insert(std::move(node));
  }
  return nodes;
}

std::vector<std::string> CompareDevices(const placement::Claim& claim, const std::string& root,
                                        const std::set<std::string>& open) {
  std::vector<std::string> violations;
  for (const placement::DeviceBinding& device : claim.devices) {
    if (device.leaving) continue;
    const std::string name = "device " + device.address.ToString();
    const std::filesystem::path folder =
        std::filesystem::path(root) / "sys/bus/pci/devices" / device.address.ToString();
    std::error_code error;
    if (!std::filesystem::exists(folder, error)) {
      violations.push_back(name + " is gone");
      continue;
    }
    std::string text = ReadFile(folder / "numa_node").value_or("");
    while (text.ends_with('\n')) text.pop_back();
    const std::optional<uint64_t> node = Number(text);
    if (device.numa_node.has_value() && node.has_value() && *node != *device.numa_node) {
      violations.push_back(name + " is on node " + text + ", claimed is node " +
                           std::to_string(*device.numa_node));
    }
    const std::string group = std::filesystem::read_symlink(folder / "iommu_group", error).filename();
    bool held = open.contains("/dev/vfio/" + group);
    for (const auto& entry : std::filesystem::directory_iterator(folder / "vfio-dev", error)) {
      held = held || open.contains("/dev/vfio/devices/" + entry.path().filename().string());
    }
    if (!held) violations.push_back(name + " is not open in the VMM");
  }
  return violations;
}

std::vector<std::string> CompareGuestNodes(const placement::Claim& claim,
                                           const std::vector<GuestNode>& nodes) {
  std::vector<std::string> violations;
  if (claim.cells.empty()) return violations;
  for (const placement::CellBinding& cell : claim.cells) {
    const std::string name = "guest node " + std::to_string(cell.guest_cell);
    auto node =
        std::find_if(nodes.begin(), nodes.end(), [&](const GuestNode& n) { return n.id == cell.guest_cell; });
    if (node == nodes.end()) {
      violations.push_back("the guest has no node " + std::to_string(cell.guest_cell));
      continue;
    }
    if (node->cpus != cell.vcpus) {
      violations.push_back(name + " has CPUs " + node->cpus.ToString() + ", claimed are " +
                           cell.vcpus.ToString());
    }
    if (node->memory_bytes != cell.memory_bytes) {
      violations.push_back(name + " has " + ByteSize(node->memory_bytes).ToHuman() + ", claimed are " +
                           ByteSize(cell.memory_bytes).ToHuman());
    }
    if (node->host_nodes != std::set<uint32_t>{cell.host_cell}) {
      std::string bound;
      for (uint32_t host : node->host_nodes) bound += (bound.empty() ? "" : ",") + std::to_string(host);
      violations.push_back(name + " is bound to " + (bound.empty() ? "no host node" : "host node " + bound) +
                           ", claimed is " + std::to_string(cell.host_cell));
    }
  }
  for (const GuestNode& node : nodes) {
    auto of_node = [&](const placement::CellBinding& cell) { return cell.guest_cell == node.id; };
    if (std::none_of(claim.cells.begin(), claim.cells.end(), of_node)) {
      violations.push_back("guest node " + std::to_string(node.id) + " is not claimed");
    }
  }
  return violations;
}

std::vector<std::string> ComparePlacement(const placement::Claim& claim,
                                          const std::map<uint32_t, CpuSet>& affinity,
                                          const ProcessPlacement& actual) {
  std::vector<std::string> violations;
  CompareVcpus(affinity, actual, violations);
  CompareMemory(claim, actual, violations);
  return violations;
}

}  // namespace berth::agent
