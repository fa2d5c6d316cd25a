#include "compute-agent/inventory/facts_reader.h"

#include <fcntl.h>
#include <sys/utsname.h>

#include <algorithm>

#include "compute-agent/inventory/sysfs_values.h"

namespace berth::agent {
namespace {

// Empty without the file.
std::string ReadText(const Root& root, const std::string& path, Warnings& warnings) {
  Result<std::string> text = root.Read(path);
  if (text.has_value()) return CleanText(*text);
  warnings.AddUnlessMissing(text.error());
  return {};
}

void ReadOs(const Root& root, HostFacts& facts, Warnings& warnings) {
  Result<std::string> text = NotFound("no os-release");
  // os-release(5): the second is the fallback of the first.
  for (const char* path : {"etc/os-release", "usr/lib/os-release"}) {
    text = root.Read(path);
    if (text.has_value()) break;
    warnings.AddUnlessMissing(text.error());
  }
  if (!text.has_value()) return;
  facts.os_name = OsReleaseValue(*text, "PRETTY_NAME");
  facts.os_id = OsReleaseValue(*text, "ID");
  facts.os_version = OsReleaseValue(*text, "VERSION_ID");
  if (facts.os_name.empty()) facts.os_name = OsReleaseValue(*text, "NAME");
}

// /proc/sys/kernel/osrelease; recorded trees often have only /proc/version: "Linux version 6.1.0-18 (...".
std::string ReadKernelRelease(const Root& root, Warnings& warnings) {
  std::string release = ReadText(root, "proc/sys/kernel/osrelease", warnings);
  if (!release.empty()) return release;
  constexpr std::string_view kPrefix = "Linux version ";
  std::string version = ReadText(root, "proc/version", warnings);
  if (version.starts_with(kPrefix)) {
    return version.substr(kPrefix.size(), version.find(' ', kPrefix.size()) - kPrefix.size());
  }
  utsname names{};
  if (root.is_live() && ::uname(&names) == 0) return names.release;
  return {};
}

KvmState ReadKvm(const Root& root, Warnings& warnings) {
  KvmState kvm;
  kvm.present = root.Has("dev/kvm");
  if (root.is_live() && kvm.present) {
    kvm.usable = UniqueFd(::open("/dev/kvm", O_RDWR | O_CLOEXEC)).valid();
  }
  for (const char* module : {"kvm_intel", "kvm_amd"}) {
    std::string folder = std::string("sys/module/") + module;
    if (!root.Has(folder)) continue;
    kvm.module = module;
    std::string nested = ReadText(root, folder + "/parameters/nested", warnings);
    if (nested == "Y" || nested == "1") kvm.nested = true;
    if (nested == "N" || nested == "0") kvm.nested = false;
  }
  return kvm;
}

std::vector<std::string> ListOptional(const Root& root, const std::string& path, Warnings& warnings) {
  Result<Folder> folder = root.OpenFolder(path);
  if (!folder.has_value()) {
    warnings.AddUnlessMissing(folder.error());
    return {};
  }
  Result<std::vector<std::string>> names = folder->List();
  if (!names.has_value()) {
    warnings.Add(names.error().message());
    return {};
  }
  std::sort(names->begin(), names->end());
  return *std::move(names);
}

SmtState ReadSmt(const Root& root, Warnings& warnings) {
  SmtState smt;
  smt.control = ReadText(root, "sys/devices/system/cpu/smt/control", warnings);
  std::string active = ReadText(root, "sys/devices/system/cpu/smt/active", warnings);
  if (active == "1") smt.active = true;
  if (active == "0") smt.active = false;
  if (!active.empty() && !smt.active.has_value()) {
    warnings.Add("/sys/devices/system/cpu/smt/active: \"" + Excerpt(active) + "\" is neither 0 nor 1");
  }
  return smt;
}

void ReadMemoryFacts(const Root& root, HostFacts& facts, Warnings& warnings) {
  // That it cannot be read is told by the reader of the nodes.
  if (Result<std::string> text = root.Read("proc/meminfo"); text.has_value()) {
    if (Result<Meminfo> info = ParseMeminfo(*text); info.has_value()) {
      facts.memory_bytes = info->total_bytes.value_or(0);
    }
  }
  std::string overcommit = ReadText(root, "proc/sys/vm/overcommit_memory", warnings);
  if (overcommit.empty()) return;
  Result<uint64_t> value = ParseUnsigned(overcommit, 2);
  if (!value.has_value()) return warnings.AddBadContent("/proc/sys/vm/overcommit_memory", value.error());
  facts.overcommit_memory = static_cast<uint32_t>(*value);
}

}  // namespace

HostFacts ReadFacts(const Root& root, Warnings& warnings) {
  HostFacts facts;
  facts.hostname = ReadText(root, "proc/sys/kernel/hostname", warnings);
  facts.machine_id = ReadText(root, "etc/machine-id", warnings);
  ReadOs(root, facts, warnings);
  facts.kernel_release = ReadKernelRelease(root, warnings);
  facts.kernel_command_line = ReadText(root, "proc/cmdline", warnings);
  ReadMemoryFacts(root, facts, warnings);
  facts.smt = ReadSmt(root, warnings);
  facts.kvm = ReadKvm(root, warnings);
  facts.vfio.container = root.Has("dev/vfio/vfio");
  facts.vfio.iommufd = root.Has("dev/iommu");
  facts.vfio.pci_driver = root.Has("sys/bus/pci/drivers/vfio-pci");
  facts.iommu.units = ListOptional(root, "sys/class/iommu", warnings);
  facts.iommu.groups = static_cast<uint32_t>(ListOptional(root, "sys/kernel/iommu_groups", warnings).size());
  return facts;
}

}  // namespace berth::agent
