#include "compute-agent/inventory/cpu_reader.h"

#include <string>

#include "compute-agent/inventory/sysfs_values.h"

namespace berth::agent {
namespace {

// The CPUs that have a directory: those that are present.
CpuSet PresentCpus(const std::vector<std::string>& names, const Folder& folder, Warnings& warnings) {
  CpuSet present;
  for (const std::string& name : names) {
    std::optional<uint32_t> cpu = NumberAfter(name, "cpu");
    if (!cpu.has_value()) continue;
    if (*cpu > CpuSet::kMaxCpu) {
      warnings.Add(folder.PathOf(name) + ": CPU ignored, its number is above " +
                   std::to_string(CpuSet::kMaxCpu));
      continue;
    }
    present.Add(*cpu);
  }
  return present;
}

// Of the present CPUs, those that run. The file `online` of the folder tells; kernels before 2.6.26 have only
// `online` of each CPU that can be switched off.
CpuSet OnlineCpus(const Folder& folder, const CpuSet& present, Warnings& warnings) {
  Result<std::string> list = folder.Read("online");
  if (list.has_value()) {
    Result<CpuSet> online = ParseCpuList(*list);
    if (online.has_value()) return *std::move(online);
    warnings.AddBadContent(folder.PathOf("online"), online.error());
  } else {
    warnings.AddUnlessMissing(list.error());
  }
  CpuSet online;
  for (uint32_t cpu : present.ToVector()) {
    Result<Folder> one = folder.Open("cpu" + std::to_string(cpu));
    if (!one.has_value()) {
      warnings.Add(one.error().message());
      continue;
    }
    Result<std::string> flag = one->Read("online");
    if (!flag.has_value()) {
      warnings.AddUnlessMissing(flag.error());
      online.Add(cpu);  // cannot be switched off
      continue;
    }
    Result<uint64_t> value = ParseUnsigned(*flag, 1);
    if (!value.has_value()) warnings.AddBadContent(one->PathOf("online"), value.error());
    if (!value.has_value() || *value == 1) online.Add(cpu);
  }
  return online;
}

void ReadSocket(const Folder& folder, uint32_t cpu, CpuTopology& topology, Warnings& warnings) {
  Result<std::string> text = folder.Read("physical_package_id");
  if (!text.has_value()) return warnings.AddUnlessMissing(text.error());
  Result<std::optional<uint32_t>> socket = ParseOptionalId(*text);
  if (!socket.has_value()) {
    return warnings.AddBadContent(folder.PathOf("physical_package_id"), socket.error());
  }
  if (socket->has_value()) topology.socket[cpu] = **socket;
}

void ReadSiblings(const Folder& folder, uint32_t cpu, CpuTopology& topology, Warnings& warnings) {
  // The list form came with Linux 2.6.26; the mask form is older.
  for (const char* name : {"thread_siblings_list", "thread_siblings"}) {
    Result<std::string> text = folder.Read(name);
    if (!text.has_value()) {
      warnings.AddUnlessMissing(text.error());
      continue;
    }
    bool is_list = std::string_view(name) == "thread_siblings_list";
    Result<CpuSet> set = is_list ? ParseCpuList(*text) : ParseCpuMask(*text);
    if (!set.has_value()) {
      warnings.AddBadContent(folder.PathOf(name), set.error());
      continue;
    }
    topology.siblings[cpu] = *std::move(set);
    return;
  }
}

}  // namespace

std::vector<CpuSet> CpuTopology::CoresOf(const CpuSet& cpus) const {
  std::vector<CpuSet> cores;
  CpuSet left = cpus;
  for (uint32_t cpu : cpus.ToVector()) {
    if (!left.Contains(cpu)) continue;
    CpuSet core;
    if (auto found = siblings.find(cpu); found != siblings.end()) core = found->second & left;
    core.Add(cpu);
    left -= core;
    cores.push_back(std::move(core));
  }
  return cores;
}

CpuTopology ReadCpus(const Root& root, Warnings& warnings) {
  CpuTopology topology;
  Result<Folder> folder = root.OpenFolder("sys/devices/system/cpu");
  if (!folder.has_value()) {
    warnings.Add(folder.error().message());
    return topology;
  }
  Result<std::vector<std::string>> names = folder->List();
  if (!names.has_value()) {
    warnings.Add(names.error().message());
    return topology;
  }
  CpuSet present = PresentCpus(*names, *folder, warnings);
  topology.online = OnlineCpus(*folder, present, warnings);
  topology.offline = present - topology.online;
  for (uint32_t cpu : topology.online.ToVector()) {
    Result<Folder> one = folder->Open("cpu" + std::to_string(cpu));
    Result<Folder> files = one.has_value() ? one->Open("topology") : std::move(one);
    if (!files.has_value()) {
      warnings.Add(files.error().message());
      continue;
    }
    ReadSocket(*files, cpu, topology, warnings);
    ReadSiblings(*files, cpu, topology, warnings);
  }
  return topology;
}

}  // namespace berth::agent
