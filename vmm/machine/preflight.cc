#include "vmm/machine/preflight.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>

#include "common/file.h"
#include "vmm/boot/bzimage.h"
#include "vmm/boot/elf_kernel.h"
#include "vmm/boot/firmware.h"
#include "vmm/boot/image_source.h"
#include "vmm/bus/unix_listener.h"
#include "vmm/config/resolved_machine.h"
#include "vmm/config/validate.h"
#include "vmm/cvm/host_check.h"
#include "vmm/machine/confidential_guest.h"
#include "vmm/memory/huge_pages.h"
#include "vmm/memory/prefault.h"
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
    LookAtNodes();
    LookAtPlacement();
    LookAtDevices();
    return std::move(findings_);
  }

 private:
  void Add(std::string code, std::string option, const Status& status) {
    findings_.push_back(
        {Severity::kError, std::move(code), std::move(option), status.message(), status.hint()});
  }

  void LookAtKvm() {
    if (kvm_ == nullptr) {
      findings_.push_back({Severity::kError, "KvmMissing", "", "KVM cannot be used: no access to /dev/kvm",
                           "load the module for this processor, and allow this user to open the device"});
      return;
    }
    Result<KvmCapabilities> capabilities = kvm_->Probe();
    if (!capabilities.has_value()) return Add("KvmTooOld", "", capabilities.error());
    if (MaxVcpus(config_.cpus) > capabilities->max_vcpus) {
      findings_.push_back({Severity::kError, "TooManyCpus", "cpus",
                           "needs " + std::to_string(MaxVcpus(config_.cpus)) + " vCPUs, KVM has " +
                               std::to_string(capabilities->max_vcpus),
                           ""});
    }
    LookAtConfidential(*capabilities);
  }

  void LookAtConfidential(const KvmCapabilities& capabilities) {
    const ConfidentialKind kind = config_.platform.confidential;
    for (HostLack& lack : MissingForConfidential(kind, capabilities, root_ == "/" ? "" : root_)) {
      findings_.push_back({Severity::kError, std::move(lack.code), "platform", std::move(lack.message),
                           std::move(lack.hint)});
    }
    if (kind == ConfidentialKind::kNone) return;
    if (Status status = ConfidentialBoot::Read(config_).status(); !status.ok()) {
      Add("LaunchImageUnusable", config_.igvm ? "igvm" : "firmware", status);
    }
    if (config_.platform.quote_socket && ::access(config_.platform.quote_socket->c_str(), R_OK | W_OK) != 0) {
      findings_.push_back({Severity::kWarning, "QuoteServiceMissing", "platform",
                           ErrnoStatus("quote socket " + *config_.platform.quote_socket, errno).message(),
                           "start the quote generation service; without it the guest gets no quotes"});
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

  void LookAtMemory() {
    Status status = HugePages(root_).Preflight(zones_);
    if (!status.ok()) Add("MemoryMissing", "memory", status);
    for (size_t i = 0; i < config_.memory_zones.size(); ++i) {
      const MemoryZoneConfig& zone = config_.memory_zones[i];
      const std::string option = "memory-zone[" + std::to_string(i) + "]";
      if (zone.host_numa_node && !NodeExists(*zone.host_numa_node)) {
        findings_.push_back({Severity::kError, "HostNodeMissing", option,
                             "zone " + zone.id + " is to be bound to host NUMA node " +
                                 std::to_string(*zone.host_numa_node) + ", which this host does not have",
                             ""});
      }
      if (zone.file && ::access(zone.file->c_str(), F_OK) == 0 &&
          ::access(zone.file->c_str(), R_OK | W_OK) != 0) {
        findings_.push_back({Severity::kError, "FileNotWritable", option,
                             "zone " + zone.id + ": no permission to read and write " + *zone.file, ""});
      }
    }
    if (Status sgx = CheckSgx(config_, root_); !sgx.ok()) Add("SgxMissing", "sgx-epc", sgx);
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
      findings_.push_back({Severity::kError, "HostCpuMissing", "cpus",
                           "vCPU " + std::to_string(vcpu) + " is to run on host CPUs " + missing.ToString() +
                               ", which are offline or absent; online are " + online.ToString(),
                           ""});
    }
  }

  // Linux shows no node that has nothing at boot.
  void LookAtNodes() {
    const std::map<std::string, uint32_t> owners = NodesOfZones(config_);
    for (size_t i = 0; i < config_.numa.size(); ++i) {
      const NumaConfig& node = config_.numa[i];
      const bool memory = std::any_of(owners.begin(), owners.end(),
                                      [&](const auto& owner) { return owner.second == node.guest_numa_id; });
      if (memory || node.device_id || !CpusOfNode(config_, node).empty()) continue;
      findings_.push_back({Severity::kWarning, "EmptyNumaNode", "numa[" + std::to_string(i) + "]",
                           "guest node " + std::to_string(node.guest_numa_id) +
                               " has neither CPUs nor memory: the guest does not see it",
                           "give cpus, memory_zones or device_id"});
    }
  }

  // A node of the guest whose CPUs and memory lie on different nodes of the host is no node.
  void LookAtPlacement() {
    std::map<std::string, std::optional<uint32_t>> host_node;
    for (const MemoryZoneConfig& zone : zones_) host_node[zone.id] = zone.host_numa_node;
    for (size_t i = 0; i < config_.numa.size(); ++i) {
      const NumaConfig& node = config_.numa[i];
      const std::string option = "numa[" + std::to_string(i) + "]";
      std::optional<uint32_t> memory;
      for (const std::string& zone : node.memory_zones) {
        if (!host_node[zone]) continue;
        if (memory && *memory != *host_node[zone]) {
          findings_.push_back({Severity::kWarning, "NodeOnSeveralHostNodes", option,
                               "memory of guest node " + std::to_string(node.guest_numa_id) +
                                   " lies on host nodes " + std::to_string(*memory) + " and " +
                                   std::to_string(*host_node[zone]),
                               "bind the zones of a guest node to one host node"});
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
      findings_.push_back({Severity::kWarning, "VcpuFarFromMemory", option,
                           "vCPUs " + far.ToString() + " of guest node " +
                               std::to_string(node.guest_numa_id) + " may run outside of host node " +
                               std::to_string(*memory) + ", where the node's memory lies (CPUs " +
                               near.ToString() + ")",
                           "give them an affinity to CPUs of that host node"});
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
    if (Status status = AssignedDevices::Check(config_, vfio_); !status.ok()) {
      Add("DeviceUnusable", "device", status);
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
  std::vector<Finding> findings_;
};

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

std::vector<Finding> Preflight(const VmConfig& config, Kvm* kvm, const std::string& root,
                               const VfioSource& vfio) {
  return Looker(config, kvm, root, vfio).Look();
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
