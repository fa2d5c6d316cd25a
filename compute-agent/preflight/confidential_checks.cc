// Seed 000's constraints, K1 to K11, and what each technique needs beside them.
#include <algorithm>
#include <cstdio>
#include <map>
#include <set>

#include "common/byte_size.h"
#include "compute-agent/preflight/checks.h"

namespace berth::agent {
namespace {

using placement::NumaNode;

constexpr uint32_t kNetworkClass = 0x02;

void Add(PreflightReport& report, const char* id, bool bad, Severity severity, std::string found,
         std::string needed, std::string repair) {
  AddFinding(report, Scope::kConfidential, id, bad, severity, std::move(found), std::move(needed),
             std::move(repair));
}

std::string Human(uint64_t bytes) {
  return ByteSize(bytes).ToHuman();
}

std::string Percent(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f %%", value);
  return text;
}

// Memory that is plugged into each node with CPUs: on virtCCA hosts the kernel does not see the secure part.
std::map<NumaNode, uint64_t> PluggedMemory(const HostInventory& inventory) {
  std::map<NumaNode, uint64_t> memory;
  for (const NumaNodeInfo& node : inventory.numa_nodes) {
    if (!node.cpus.empty()) memory[node.id] = node.memory_bytes;
  }
  for (const SecureNode& node : inventory.confidential.secure_nodes) {
    if (memory.contains(node.id)) memory[node.id] += node.total_bytes;
  }
  return memory;
}

// What of a node's ordinary memory is left beside the host's reserve and set-aside secure memory.
uint64_t Ordinary(const PreflightInput& input, const PreflightReport& report, const NumaNodeInfo& node) {
  uint64_t taken = 0;
  if (auto reserve = input.reserved_memory.find(node.id); reserve != input.reserved_memory.end())
    taken += reserve->second;
  if (auto secure = report.secure.bytes.find(node.id);
      report.secure.from_ordinary && secure != report.secure.bytes.end())
    taken += secure->second;
  return node.memory_bytes - std::min(node.memory_bytes, taken);
}

void CheckTechnique(const PreflightInput& input, PreflightReport& report) {
  const ConfidentialState& state = input.inventory.confidential;
  switch (report.kind) {
    case ConfidentialKind::kVirtcca:
      Add(report, "technique", state.virtcca != true || state.secure_nodes.empty(), Severity::kHard,
          !state.virtcca.has_value()   ? "no /sys/kernel/tmm"
          : state.virtcca != true      ? "virtCCA is switched off"
          : state.secure_nodes.empty() ? "/sys/kernel/tmm/memory_info tells no secure memory"
                                       : "virtCCA is enabled",
          "virtCCA enabled, with secure memory",
          "BIOS: Advanced > MISC Config > Support TrustZone Secure Memory: Enabled; kernel command line: "
          "virtcca_cvm_host=1; modprobe tmm_driver; reboot");
      return;
    case ConfidentialKind::kTdx:
      Add(report, "technique", state.tdx != true, Severity::kHard,
          state.tdx == true ? "kvm_intel runs with TDX" : "kvm_intel runs without TDX",
          "kvm_intel with tdx=Y",
          "BIOS: enable Memory Encryption (TME), TME-MT and TDX, with at least one key for TDX; kernel "
          "command "
          "line: kvm_intel.tdx=1 nohibernate; reboot");
      return;
    case ConfidentialKind::kSevSnp:
      Add(report, "technique", state.sev_snp != true || !state.sev_device, Severity::kHard,
          state.sev_snp != true ? "kvm_amd runs without SEV-SNP"
          : state.sev_device    ? "kvm_amd runs with SEV-SNP"
                                : "kvm_amd runs with SEV-SNP, but there is no /dev/sev",
          "kvm_amd with sev_snp=Y and /dev/sev",
          "BIOS: enable SMEE, SEV-ES ASID space and SNP Memory (RMP Table) Coverage; modprobe ccp; kernel "
          "command "
          "line: kvm_amd.sev_snp=1; reboot");
      return;
    case ConfidentialKind::kSwProtected:
      Add(report, "technique", true, Severity::kInfo, "software-protected guests are configured",
          "a kernel with CONFIG_KVM_SW_PROTECTED_VM; for tests, it does not keep the host out", "");
      return;
    case ConfidentialKind::kNone:
      return;
  }
}

void CheckGuestLimit(const PreflightInput& input, PreflightReport& report) {
  const char* key = report.kind == ConfidentialKind::kTdx      ? "tdx"
                    : report.kind == ConfidentialKind::kSevSnp ? "sev_es"
                                                               : nullptr;
  if (key == nullptr) return;
  auto limit = input.inventory.confidential.guests.find(key);
  bool known = limit != input.inventory.confidential.guests.end();
  Add(report, "guest_limit", !known || limit->second == 0, known ? Severity::kHard : Severity::kInfo,
      known ? "keys for " + std::to_string(limit->second) + " guests" : "the number of keys is not told",
      "at least one key", "BIOS: give more keys to TDX (TME-MT/TDX key split) or SEV-ES (minimum SEV ASID)");
}

void CheckSymmetry(const PreflightInput& input, PreflightReport& report) {
  std::map<NumaNode, uint64_t> memory = PluggedMemory(input.inventory);
  if (memory.empty()) return;
  auto less = [](const auto& a, const auto& b) { return a.second < b.second; };
  auto [least, most] = std::minmax_element(memory.begin(), memory.end(), less);
  double difference = most->second == 0 ? 0
                                        : 100.0 * static_cast<double>(most->second - least->second) /
                                              static_cast<double>(most->second);
  Add(report, "K1", difference > input.confidential.symmetry_percent,
      report.kind == ConfidentialKind::kVirtcca ? Severity::kHard : Severity::kWarning,
      "node " + std::to_string(least->first) + " has " + Human(least->second) + ", node " +
          std::to_string(most->first) + " has " + Human(most->second) + " (" + Percent(difference) +
          " apart)",
      "the same memory in each NUMA node, within " + Percent(input.confidential.symmetry_percent),
      "plug the same DIMMs into the same slots of each node");
}

// Huawei's boards name their slots DIMM<socket><channel><slot>; others cannot be counted.
void CheckInterleaving(const PreflightInput& input, PreflightReport& report) {
  if (report.kind != ConfidentialKind::kVirtcca) return;
  const std::string needed = "three-channel interleaving disabled";
  const std::string repair = "BIOS: Advanced > Memory Config > Channel Interleaving 3Way: Disabled";
  std::map<char, std::set<char>> channels;  // by socket
  for (const DimmSlot& slot : input.settings.dimms) {
    bool named = slot.locator.starts_with("DIMM") && slot.locator.size() >= 7 &&
                 slot.locator.find_first_not_of("0123456789", 4) >= 7;
    if (slot.filled && named) channels[slot.locator[4]].insert(slot.locator[5]);
  }
  if (channels.empty()) {
    Add(report, "K2", true, Severity::kInfo, "the memory slots cannot be read or have other names", needed,
        repair);
    return;
  }
  for (const auto& [socket, filled] : channels) {
    if (filled.size() % 3 != 0) continue;
    Add(report, "K2", true, Severity::kWarning,
        "socket " + std::string(1, socket) + " has " + std::to_string(filled.size()) +
            " channels with memory, a multiple of three: the firmware may interleave over three",
        needed, repair);
    return;
  }
  Add(report, "K2", false, Severity::kOk, "no socket has a multiple of three channels with memory", needed,
      "");
}

void CheckOs(const PreflightInput& input, PreflightReport& report) {
  const std::string& wanted = input.confidential.required_os;
  if (report.kind != ConfidentialKind::kVirtcca || wanted.empty()) return;
  const std::string& name = input.inventory.facts.os_name;
  Add(report, "K3", name != wanted, Severity::kHard, name.empty() ? "the operating system is not told" : name,
      wanted + " on the host and in the guests",
      "install " + wanted + "; for another tested release set confidential.required_os");
}

void CheckSecureSizes(const PreflightInput& input, PreflightReport& report) {
  std::string found;
  for (const auto& [node, bytes] : report.secure.bytes) {
    found += (found.empty() ? "" : ", ") + std::string("node ") + std::to_string(node) + ": " + Human(bytes);
  }
  bool firmware = report.kind == ConfidentialKind::kVirtcca;
  Add(report, "K6", report.secure.bytes.empty(), Severity::kHard, found.empty() ? "no secure memory" : found,
      "secure memory of at least 1 GiB on a node, handed out in steps of 2 MiB",
      firmware ? "BIOS: Advanced > MISC Config > Secure Memory Size: Auto, or at least 1 GiB for each node"
               : "agent.yaml: confidential: {secure_memory: [{node: 0, size: 64G}]}");
  for (const std::string& warning : report.secure.warnings) {
    Add(report, "K6", true, Severity::kWarning, warning, "at least 1 GiB on the node", "see above");
  }
  for (const auto& [id, bytes] : report.secure.bytes) {
    auto node = std::find_if(input.inventory.numa_nodes.begin(), input.inventory.numa_nodes.end(),
                             [wanted = id](const NumaNodeInfo& n) { return n.id == wanted; });
    if (node == input.inventory.numa_nodes.end() || node->cpus.empty()) {
      Add(report, "K7", true, Severity::kWarning,
          "node " + std::to_string(id) + " has secure memory but no CPUs: it is not offered",
          "the NUMA nodes of a guest's CPUs and of its secure memory are the same", "");
    }
  }
}

void CheckHeadroom(const PreflightInput& input, PreflightReport& report) {
  for (const NumaNodeInfo& node : input.inventory.numa_nodes) {
    auto secure = report.secure.bytes.find(node.id);
    if (secure == report.secure.bytes.end()) continue;
    uint64_t ordinary = Ordinary(input, report, node);
    uint64_t least = input.confidential.nonsecure_headroom_bytes;
    // A guest's bounce buffer is 6 % of its memory where the kernel sizes it, and never below 64 MiB.
    uint64_t good = std::max(least, secure->second / 100 * 6);
    std::string found = "node " + std::to_string(node.id) + ": " + Human(ordinary) +
                        " of ordinary memory beside " + Human(secure->second) + " of secure memory";
    bool hard = ordinary < least;
    Add(report, "K5", ordinary < good, hard ? Severity::kHard : Severity::kWarning, found,
        "at least " + Human(hard ? least : good) +
            " for bounce buffers and VMMs, or the kernel ends them (Out of memory: Killed process)",
        report.kind == ConfidentialKind::kVirtcca
            ? "BIOS: give less memory to the secure side; or lower reserved_memory in agent.yaml"
            : "lower confidential.secure_memory or reserved_memory in agent.yaml");
  }
}

void CheckNicNodes(const PreflightInput& input, PreflightReport& report) {
  std::set<NumaNode> with_nic;
  for (const PciDeviceInfo& device : input.inventory.pci_devices) {
    if ((device.class_code >> 16) == kNetworkClass && device.numa_node.has_value())
      with_nic.insert(*device.numa_node);
  }
  std::string without;
  for (const auto& [node, bytes] : report.secure.bytes) {
    if (!with_nic.contains(node)) without += (without.empty() ? "" : ", ") + std::to_string(node);
  }
  Add(report, "K7", !without.empty(), Severity::kWarning,
      without.empty() ? "each node with secure memory has a network device"
                      : "nodes with secure memory but without a network device: " + without,
      "the NUMA nodes of a guest's CPUs and of its NIC are the same (cat "
      "/sys/class/net/NAME/device/numa_node)",
      "move NICs to slots of these nodes, or let guests with NICs use the others "
      "(hw:pci_numa_affinity_policy=required)");
}

void CheckOvercommit(const PreflightInput& input, PreflightReport& report) {
  uint64_t ordinary = 0;
  for (const NumaNodeInfo& node : input.inventory.numa_nodes) ordinary += Ordinary(input, report, node);
  uint64_t largest = 0;
  for (const auto& [node, bytes] : report.secure.bytes) largest += bytes;
  const std::optional<uint32_t>& value = input.inventory.facts.overcommit_memory;
  bool needed = largest > ordinary;
  Add(report, "K8", value != 1, needed ? Severity::kHard : Severity::kWarning,
      "vm.overcommit_memory is " + (value.has_value() ? std::to_string(*value) : std::string("not told")) +
          "; " + Human(largest) + " of secure, " + Human(ordinary) + " of ordinary memory",
      "1: a guest may be larger than the ordinary memory, its mapping would fail",
      "sysctl -w vm.overcommit_memory=1; to keep it: echo vm.overcommit_memory=1 > "
      "/etc/sysctl.d/90-berth.conf");
}

void CheckSmt(const PreflightInput& input, PreflightReport& report) {
  const std::optional<bool>& active = input.inventory.facts.smt.active;
  Add(report, "K9", active != false, active == true ? Severity::kWarning : Severity::kInfo,
      active == true    ? "SMT is active"
      : active == false ? "SMT is off"
                        : "whether SMT is active is not told",
      "SMT off: threads of one core can watch each other",
      report.kind == ConfidentialKind::kVirtcca
          ? "BIOS: Advanced > Power And Performance Configuration > CPU PM Control > SMT2: Disabled"
          : "BIOS: disable SMT or Hyper-Threading; or echo off > /sys/devices/system/cpu/smt/control; or "
            "kernel "
            "command line: nosmt");
}

void CheckRatios(const PreflightInput& input, PreflightReport& report) {
  bool bad = input.cpu_allocation_ratio != 1.0 || input.ram_allocation_ratio != 1.0;
  char found[96];
  std::snprintf(found, sizeof found, "cpu_allocation_ratio %g, ram_allocation_ratio %g",
                input.cpu_allocation_ratio, input.ram_allocation_ratio);
  Add(report, "K10", bad, Severity::kHard, found, "1.0 each: CPU or memory overcommitment is not supported",
      "agent.yaml: take cpu_allocation_ratio and ram_allocation_ratio out, or set confidential: {type: "
      "none}");
}

void CheckKernelOptions(const PreflightInput& input, PreflightReport& report) {
  if (report.kind != ConfidentialKind::kVirtcca || !input.devices_configured) return;
  std::string line = " " + input.inventory.facts.kernel_command_line + " ";
  std::string missing;
  for (const char* word : {"arm_smmu_v3.disable_ecmdq=1", "vfio_pci.disable_idle_d3=1"}) {
    if (line.find(std::string(" ") + word + " ") == std::string::npos)
      missing += (missing.empty() ? "" : " ") + std::string(word);
  }
  Add(report, "kernel_options", !missing.empty(), Severity::kWarning,
      missing.empty() ? "the options for secure devices are set" : "missing: " + missing,
      "arm_smmu_v3.disable_ecmdq=1 vfio_pci.disable_idle_d3=1 for devices of confidential guests",
      "kernel command line: " + missing + "; reboot");
}

}  // namespace

void CheckConfidential(const PreflightInput& input, PreflightReport& report) {
  CheckTechnique(input, report);
  CheckGuestLimit(input, report);
  CheckKernelOptions(input, report);
  CheckSymmetry(input, report);
  CheckInterleaving(input, report);
  CheckOs(input, report);
  CheckHeadroom(input, report);
  CheckSecureSizes(input, report);
  CheckNicNodes(input, report);
  CheckOvercommit(input, report);
  CheckSmt(input, report);
  CheckRatios(input, report);
  // K4 and K11 are the agent's own doing: see docs/confidential-hosts.md.
  Add(report, "K4", false, Severity::kOk, "the agent composes swiotlb=x,force for each confidential guest",
      "a bounce buffer that is a multiple of 64 MiB", "");
  Add(report, "K11", false, Severity::kOk, "the agent watches the consoles of the guests",
      "\"swiotlb buffer is full\" is noticed", "");
}

}  // namespace berth::agent
