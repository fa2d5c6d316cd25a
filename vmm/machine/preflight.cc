#include "vmm/machine/preflight.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>

#include "common/file.h"
#include "common/words.h"
#include "vmm/boot/bzimage.h"
#include "vmm/boot/elf_kernel.h"
#include "vmm/boot/firmware.h"
#include "vmm/boot/image_source.h"
#include "vmm/bus/unix_listener.h"
#include "vmm/config/hotplug_plan.h"
#include "vmm/config/resolved_machine.h"
#include "vmm/config/validate.h"
#include "vmm/config/validate_rules.h"
#include "vmm/cvm/host_check.h"
#include "vmm/machine/confidential_guest.h"
#include "vmm/memory/huge_pages.h"
#include "vmm/memory/prefault.h"
#include "vmm/memory/zone_file.h"
#include "vmm/vcpu/core_scheduling.h"
#include "vmm/virtio/disk_file.h"

namespace berth::vmm {
namespace {

using Severity = Finding::Severity;

class Looker {
 public:
  Looker(const VmConfig& config, Kvm* kvm, const std::string& root, const VfioSource& vfio)
      : config_(config), kvm_(kvm), root_(root), vfio_(vfio), zones_(EffectiveZones(config)) {}

  std::vector<Finding> Look() {
    LookAtKvm();
    LookAtImages();
    LookAtMemory();
    LookAtCpus();
    LookAtCoreScheduling();
    LookAtNodes();
    LookAtPlacement();
    LookAtDevices();
    return std::move(findings_);
  }

 private:
  using Message = std::initializer_list<std::string_view>;

  void Tell(const char* code, const std::string& option, Message message, const char* hint = "",
            Severity severity = Severity::kError) {
    findings_.push_back({severity, code, option, Concat(message), hint});
  }

  void Warn(const char* code, const std::string& option, Message message, const char* hint) {
    Tell(code, option, message, hint, Severity::kWarning);
  }

  // Of the last that was told.
  void About(std::string words) { findings_.back().about = std::move(words); }

  void Add(const char* code, const std::string& option, const Status& status) {
    Tell(code, option, {status.message()}, status.hint().c_str());
  }

  static std::string Text(uint64_t number) { return std::to_string(number); }

  void LookAtOutput(const std::string& option, const std::string& path, Output kind) {
    if (auto finding = CheckOutput(option, path, kind)) findings_.push_back(*std::move(finding));
  }

  void LookAtKvm() {
    if (kvm_ == nullptr) {
      Tell("KvmMissing", "", {"KVM cannot be used: no access to /dev/kvm"},
           "load the module for this processor, and allow this user to open the device");
      return About("open /dev/kvm");
    }
    Result<KvmCapabilities> capabilities = kvm_->Probe();
    if (!capabilities.has_value()) return Add("KvmTooOld", "", capabilities.error());
    if (MaxVcpus(config_.cpus) > capabilities->max_vcpus) {
      Tell("TooManyCpus", "cpus",
           {"needs ", Text(MaxVcpus(config_.cpus)), " vCPUs, KVM has ", Text(capabilities->max_vcpus)});
    }
    LookAtConfidential(*capabilities);
  }

  void LookAtConfidential(const KvmCapabilities& capabilities) {
    const ConfidentialKind kind = config_.platform.confidential;
    for (const HostLack& lack : MissingForConfidential(kind, capabilities, root_ == "/" ? "" : root_)) {
      Tell(lack.code.c_str(), "platform", {lack.message}, lack.hint.c_str());
    }
    if (kind == ConfidentialKind::kNone) return;
    if (Status status = ConfidentialBoot::Read(config_).status(); !status.ok()) {
      Add("LaunchImageUnusable", config_.igvm ? "igvm" : "firmware", status);
    }
    if (config_.platform.quote_socket && ::access(config_.platform.quote_socket->c_str(), R_OK | W_OK) != 0) {
      Warn("QuoteServiceMissing", "platform",
           {ErrnoStatus("quote socket " + *config_.platform.quote_socket, errno).message()},
           "start the quote generation service; without it the guest gets no quotes");
    }
  }

  void LookAtImages() {
    if (config_.firmware && config_.platform.confidential == ConfidentialKind::kNone) {
      Result<std::unique_ptr<ImageSource>> firmware = OpenImageFile(*config_.firmware);
      const Status usable = firmware.has_value() ? CheckFirmware(**firmware) : firmware.error();
      if (!usable.ok()) Add("FirmwareUnusable", "firmware", usable);
      return;
    }
    if (config_.kernel.empty()) return;  // the firmware finds its own
    Result<std::unique_ptr<ImageSource>> kernel = OpenImageFile(config_.kernel);
    if (!kernel.has_value()) {
      Add("KernelUnreadable", "kernel", kernel.error());
    } else {
      const Status bootable =
          IsElf(**kernel) ? ParseElfKernel(**kernel).status() : ParseBzImage(**kernel).status();
      if (!bootable.ok()) Add("KernelNotBootable", "kernel", bootable);
    }
    if (!config_.initramfs) return;
    Result<std::unique_ptr<ImageSource>> initramfs = OpenImageFile(*config_.initramfs);
    if (!initramfs.has_value()) Add("InitramfsUnreadable", "initramfs", initramfs.error());
  }

  bool NodeExists(uint32_t node) const {
    return ReadFile(root_ + "/sys/devices/system/node/node" + std::to_string(node) + "/meminfo").has_value();
  }

  std::string ZoneOption(size_t zone) const {
    return config_.memory_zones.empty() ? "memory" : Label("memory-zone", zone);
  }

  void LookAtMemory() {
    const HugePages pages(root_);
    for (const MemoryLack& lack : pages.Missing(zones_)) {
      Add("MemoryMissing", ZoneOption(lack.zone), lack.status);
    }
    for (size_t i = 0; i < zones_.size(); ++i) {
      const MemoryZoneConfig& zone = zones_[i];
      if (zone.host_numa_node && !NodeExists(*zone.host_numa_node)) {
        Tell("HostNodeMissing", ZoneOption(i),
             {"zone ", zone.id, " is to be bound to host NUMA node ", Text(*zone.host_numa_node),
              ", which this host does not have"});
        About("bind to host NUMA node " + Text(*zone.host_numa_node));
      }
      if (Result<uint64_t> page = pages.PageSize(zone); page.has_value()) LookAtAlignment(i, *page);
      if (zone.file) LookAtZoneFile(i);
    }
    if (Status sgx = CheckSgx(config_, root_); !sgx.ok()) Add("SgxMissing", "sgx-epc", sgx);
  }

  // Against the page that the host has where the configuration names none.
  void LookAtAlignment(size_t i, uint64_t page) {
    const MemoryZoneConfig& zone = zones_[i];
    auto check = [&](const char* key, ByteSize size, uint64_t unit) {
      if (size.bytes() % unit == 0) return;
      Tell("MisalignedMemorySize", ZoneOption(i),
           {key, "=", size.ToString(), " of zone ", zone.id, " is not a multiple of ",
            ByteSize(unit).ToString(), ", as pages of ", ByteSize(page).ToString(), " need on this host"},
           "round it, or give another hugepage_size");
    };
    check("size", zone.size, page);
    const uint64_t block = HotplugBlock(config_.memory.hotplug_method, page);
    check("hotplug_size", zone.hotplug_size.value_or(ByteSize()), block);
    check("hotplugged_size", zone.hotplugged_size.value_or(ByteSize()), block);
  }

  void LookAtZoneFile(size_t i) {
    const MemoryZoneConfig& zone = zones_[i];
    for (const Status& error : ZoneFileErrors(zone)) Add("MemoryFileUnusable", ZoneOption(i), error);
    struct stat info{};
    const bool there = ::stat(zone.file->c_str(), &info) == 0;
    if (there && S_ISDIR(info.st_mode)) return LookAtOutput(ZoneOption(i), *zone.file + "/", Output::kFile);
    LookAtOutput(ZoneOption(i), *zone.file, Output::kFile);
    const auto key = there ? std::to_string(info.st_dev) + ":" + std::to_string(info.st_ino) : *zone.file;
    if (const auto [other, fresh] = zone_of_file_.try_emplace(key, i); !fresh) {
      Tell("DuplicateDevicePath", ZoneOption(i),
           {*zone.file, " is the file of ", ZoneOption(other->second), " already"},
           "each zone needs a file of its own");
    } else if (!there && !zone.restored) {
      Warn("MemoryFileMade", ZoneOption(i),
           {*zone.file, " does not exist and will be made, with ", ByteSize(ZoneFileSize(zone)).ToString()},
           "");
    }
  }

  CpuSet OnlineCpus() const {
    Result<std::string> text = ReadFile(root_ + "/sys/devices/system/cpu/online");
    return text.has_value() ? CpuSet::Parse(*text).value_or(CpuSet()) : CpuSet();
  }

  void LookAtCpus() {
    const CpuSet online = OnlineCpus();
    if (online.empty()) return;
    for (const auto& [vcpu, cpus] : config_.cpus.affinity) {
      const CpuSet missing = cpus - online;
      if (missing.empty()) continue;
      Tell("HostCpuMissing", "cpus",
           {"vCPU ", Text(vcpu), " is to run on host CPUs ", missing.ToString(),
            ", which are offline or absent; online are ", online.ToString()});
      About("vCPU " + Text(vcpu) + ": run on host CPUs " + cpus.ToString());
    }
  }

  void LookAtCoreScheduling() {
    const CoreScheduling mode = config_.cpus.core_scheduling;
    if (mode == CoreScheduling::kOff) return;
    const Status status = ProbeCoreScheduling();
    if (status.ok()) return;
    Tell("NoCoreScheduling", "cpus", {status.message()}, status.hint().c_str(),
         mode == CoreScheduling::kVm ? Severity::kWarning : Severity::kError);
  }

  // Linux shows no node that has nothing at boot.
  void LookAtNodes() {
    const std::map<std::string, uint32_t> owners = NodesOfZones(config_);
    for (size_t i = 0; i < config_.numa.size(); ++i) {
      const NumaConfig& node = config_.numa[i];
      const bool memory = std::any_of(owners.begin(), owners.end(),
                                      [&](const auto& owner) { return owner.second == node.guest_numa_id; });
      if (memory || node.device_id || !CpusOfNode(config_, node).empty()) continue;
      Warn("EmptyNumaNode", Label("numa", i),
           {"guest node ", Text(node.guest_numa_id),
            " has neither CPUs nor memory: the guest does not see it"},
           "give cpus, memory_zones or device_id");
    }
  }

  // A node of the guest whose CPUs and memory lie on different nodes of the host is no node.
  void LookAtPlacement() {
    std::map<std::string, std::optional<uint32_t>> host_node;
    for (const MemoryZoneConfig& zone : zones_) host_node[zone.id] = zone.host_numa_node;
    for (size_t i = 0; i < config_.numa.size(); ++i) {
      const NumaConfig& node = config_.numa[i];
      const std::string option = Label("numa", i);
      std::optional<uint32_t> memory;
      for (const std::string& zone : node.memory_zones) {
        if (!host_node[zone]) continue;
        if (memory && *memory != *host_node[zone]) {
          Warn("NodeOnSeveralHostNodes", option,
               {"memory of guest node ", Text(node.guest_numa_id), " lies on host nodes ", Text(*memory),
                " and ", Text(*host_node[zone])},
               "bind the zones of a guest node to one host node");
        }
        memory = host_node[zone];
      }
      if (!memory) continue;
      const CpuSet near = CpusOfHostNode(*memory, root_);
      CpuSet far;
      for (uint32_t vcpu : CpusOfNode(config_, node).ToVector()) {
        auto affinity = config_.cpus.affinity.find(vcpu);
        if (affinity != config_.cpus.affinity.end() && !near.Contains(affinity->second)) far.Add(vcpu);
      }
      if (far.empty() || near.empty()) continue;
      Warn("VcpuFarFromMemory", option,
           {"vCPUs ", far.ToString(), " of guest node ", Text(node.guest_numa_id),
            " may run outside of host node ", Text(*memory), ", where the node's memory lies (CPUs ",
            near.ToString(), ")"},
           "give them an affinity to CPUs of that host node");
    }
  }

  void LookAtDevices() {
    for (const DiskConfig& disk : config_.disks) {
      if (disk.vhost_user) {
        LookAtSocket(*disk.vhost_socket, "disk " + disk.id);
        continue;
      }
      Result<DiskFile> file = DiskFile::Open(disk.path, disk.readonly, disk.direct);
      if (!file.has_value()) Add("DiskUnusable", "disk " + disk.id, file.error());
    }
    if (!config_.rng.empty() && ::access(config_.rng.c_str(), R_OK) != 0) {
      Add("RngUnreadable", "rng", ErrnoStatus("entropy source " + config_.rng, errno));
    }
    bool with_tap = false;
    for (const NetConfig& net : config_.nets) {
      if (net.vhost_user) LookAtSocket(*net.vhost_socket, "net " + net.id);
      with_tap = with_tap || !net.tap.empty();
    }
    if (with_tap && ::access((root_ + "/dev/net/tun").c_str(), R_OK | W_OK) != 0) {
      Add("TunMissing", "net", ErrnoStatus("/dev/net/tun", errno));
    }
    LookAtPort("serial", config_.serial);
    LookAtPort("console", config_.console);
    if (config_.vsock) LookAtOutput("vsock", config_.vsock->socket, Output::kSocket);
    LookAtAssigned();
  }

  void LookAtPort(const std::string& option, const SerialConfig& port) {
    if (port.mode == SerialConfig::Mode::kFile) LookAtOutput(option, port.path, Output::kFile);
    if (port.mode == SerialConfig::Mode::kSocket) LookAtOutput(option, port.path, Output::kSocket);
  }

  // Each by itself, then what they cannot have together.
  void LookAtAssigned() {
    if (config_.devices.empty()) return;
    VmConfig alone = config_;
    for (size_t i = 0; i < alone.memory_zones.size(); ++i) {
      const Status status = AssignedDevices::CheckZone(zones_[i]);
      if (!status.ok()) Add("DeviceUnusable", ZoneOption(i), status);
      alone.memory_zones[i].shared = true;  // for the rest
    }
    const Status together = AssignedDevices::Check(alone, vfio_);
    if (together.ok()) return;
    std::vector<Status> told;
    for (const DeviceConfig& device : config_.devices) {
      alone.devices = {device};
      const Status status = AssignedDevices::Check(alone, vfio_);
      if (status.ok() || std::find(told.begin(), told.end(), status) != told.end()) continue;
      Add("DeviceUnusable", "device " + device.id, status);
      told.push_back(status);
    }
    if (std::find(told.begin(), told.end(), together) == told.end()) {
      Add("DeviceUnusable", "device", together);
    }
  }

  // Whether somebody listens, without a word to them.
  void LookAtSocket(const std::string& path, const std::string& option) {
    Result<UniqueFd> socket = ConnectUnix(path);
    if (!socket.has_value()) Add("VhostUserBackendMissing", option, socket.error());
  }

  const VmConfig& config_;
  Kvm* const kvm_;
  const std::string root_;
  const VfioSource& vfio_;
  const std::vector<MemoryZoneConfig> zones_;
  std::map<std::string, size_t> zone_of_file_;  // by device and inode, or by path
  std::vector<Finding> findings_;
};

// Whether the words stand in the text, and do not only begin longer ones: "/tmp/a" is not in "/tmp/ab".
bool Mentions(std::string_view text, std::string_view words) {
  if (words.empty()) return false;
  for (size_t at = text.find(words); at != text.npos; at = text.find(words, at + 1)) {
    const std::string_view rest = text.substr(at + words.size());
    if (rest.empty() || rest[0] == ':' || rest[0] == ' ' || rest[0] == ',') return true;
  }
  return false;
}

const char* Name(Finding::Severity severity) {
  return severity == Severity::kError ? "error" : "warning";
}

}  // namespace

Status CheckSgx(const VmConfig& config, const std::string& root) {
  if (config.sgx_epc.empty()) return OkStatus();
  const bool present = ::access((root + "/dev/sgx_vepc").c_str(), F_OK) == 0;
  return FailedPrecondition(present ? "SGX sections cannot be given to guests by this version"
                                    : "this host has no SGX EPC: there is no /dev/sgx_vepc",
                            "sgx-epc", "leave out --sgx-epc");
}

std::optional<Finding> CheckOutput(const std::string& option, const std::string& path, Output kind) {
  struct stat info{};
  const std::string folder = FolderOfPath(path);  // of a path that ends in a slash: itself
  const bool there = !path.ends_with('/') && ::stat(path.c_str(), &info) == 0;
  Status status;
  if (there && kind == Output::kSocket && !S_ISSOCK(info.st_mode)) {
    status = AlreadyExists(path + " exists and is no socket");
  } else if (there && S_ISDIR(info.st_mode)) {
    status = AlreadyExists(path + " is a directory");
  } else if (there && kind == Output::kFile) {
    if (::access(path.c_str(), W_OK) != 0) status = ErrnoStatus("write " + path, errno);
  } else if (::access(folder.c_str(), W_OK | X_OK) != 0) {
    status = ErrnoStatus("make " + path + " in " + folder, errno);
  }
  if (status.ok()) return std::nullopt;
  return Finding{Finding::Severity::kError, "PathUnusable", option, status.message(), "", path};
}

std::vector<Finding> Preflight(const VmConfig& config, Kvm* kvm, const std::string& root,
                               const VfioSource& vfio) {
  return Looker(config, kvm, root, vfio).Look();
}

std::vector<Finding> Preflight(const CommandLine& line, Kvm* kvm) {
  VmConfig config = line.config;
  if (line.restore) {  // what it is started from is in the memory of the saved guest
    config.kernel.clear();
    config.initramfs.reset();
    config.firmware.reset();
  }
  std::vector<Finding> findings = Preflight(config, kvm);
  auto look = [&](const char* option, const std::optional<std::string>& path, Output kind) {
    if (!path) return;
    if (auto finding = CheckOutput(option, *path, kind)) findings.push_back(*std::move(finding));
  };
  look("api-socket", line.api_socket, Output::kSocket);
  look("event-monitor", line.event_path, Output::kFile);
  look("log-file", line.log_file, Output::kFile);
  return findings;
}

std::vector<Finding> ExplainFailure(const CommandLine& line, Kvm* kvm, const Status& failure) {
  std::vector<Finding> findings = Preflight(line, kvm);
  std::erase_if(findings, [](const Finding& finding) { return finding.severity != Severity::kError; });
  const std::string& text = failure.message();
  const bool told = std::any_of(findings.begin(), findings.end(), [&](const Finding& finding) {
    return text.find(finding.message) != text.npos || finding.message.find(text) != text.npos ||
           Mentions(text, finding.about);
  });
  if (!told) {
    findings.push_back({Severity::kError, std::string(StatusCodeName(failure.code())), failure.field(), text,
                        failure.hint()});
  }
  return findings;
}

std::string ToText(const std::vector<Finding>& findings) {
  std::string text;
  for (const Finding& finding : findings) {
    text += std::string(Name(finding.severity)) + " " + finding.code +
            (finding.option.empty() ? "" : " " + finding.option) + ": " + finding.message +
            (finding.hint.empty() ? "" : " (" + finding.hint + ")") + "\n";
  }
  return text;
}

std::string ToJson(const std::vector<Finding>& findings) {
  using Json = nlohmann::ordered_json;
  Json list = Json::array();
  for (const Finding& finding : findings) {
    list.push_back({{"severity", Name(finding.severity)},
                    {"code", finding.code},
                    {"option", finding.option},
                    {"message", finding.message},
                    {"hint", finding.hint}});
  }
  return list.dump(-1, ' ', false, Json::error_handler_t::replace);
}

bool HasErrors(const std::vector<Finding>& findings) {
  return std::any_of(findings.begin(), findings.end(),
                     [](const Finding& finding) { return finding.severity == Severity::kError; });
}

}  // namespace berth::vmm
