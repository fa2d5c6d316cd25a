#include "vmm/cvm/host_check.h"

#include <linux/kvm_para.h>
#include <unistd.h>

#include <cerrno>

#include "common/file.h"
#include "vmm/cvm/command_error.h"
#include "vmm/kvm/confidential_abi.h"

namespace berth::vmm {
namespace {

class Check {
 public:
  Check(const KvmCapabilities& kvm, const std::string& root) : kvm_(kvm), root_(root) {}

  std::vector<HostLack> Of(ConfidentialKind kind) {
    switch (kind) {
      case ConfidentialKind::kNone:
        break;
      case ConfidentialKind::kSwProtected:
        NeedType(VmType::kSwProtected, "software-protected VMs",
                 "a kernel with CONFIG_EXPERT and CONFIG_KVM_SW_PROTECTED_VM, Linux 6.8 or later");
        NeedPrivateMemory();
        break;
      case ConfidentialKind::kTdx:
        NeedType(VmType::kTdx, "TDX VMs",
                 "Linux 6.16 or later with CONFIG_KVM_INTEL_TDX, and kvm_intel.tdx=1");
        NeedParameter("kvm_intel", "tdx", "kvm_intel.tdx=1 on the kernel command line");
        NeedFlag("tdx_host_platform", "TDX",
                 "enable TDX and memory encryption (TME-MT) in the firmware's setup");
        NeedPrivateMemory();
        break;
      case ConfidentialKind::kSevSnp:
        NeedType(VmType::kSevSnp, "SEV-SNP VMs", "Linux 6.11 or later with CONFIG_KVM_AMD_SEV");
        NeedParameter("kvm_amd", "sev_snp", "kvm_amd.sev_snp=1 on the kernel command line");
        NeedFlag("sev_snp", "SEV-SNP",
                 "enable SEV-SNP and its memory coverage (RMP) in the firmware's setup");
        NeedDevice("/dev/sev", "load ccp, with the platform's SEV firmware initialised");
        NeedPrivateMemory();
        break;
      case ConfidentialKind::kVirtcca:
        Add("Architecture", "virtCCA guests run on AArch64 hosts, this program is for x86-64",
            "a Kunpeng host with openEuler 24.03 and its own VMM");
        NeedFile("/sys/kernel/tmm/memory_info",
                 "virtcca_cvm_host=1 on the kernel command line, and modprobe tmm_driver");
        break;
    }
    return std::move(lacks_);
  }

 private:
  void Add(std::string code, std::string message, std::string hint) {
    lacks_.push_back({std::move(code), std::move(message), std::move(hint)});
  }

  void NeedType(VmType type, const char* what, const char* hint) {
    const auto number = static_cast<uint64_t>(type);
    if ((kvm_.vm_types >> number & 1) != 0) return;
    Add("KvmVmType",
        std::string("KVM makes no ") + what + ": KVM_CAP_VM_TYPES (capability 235) is " +
            HexNumber(kvm_.vm_types) + ", bit " + std::to_string(number) + " is needed",
        hint);
  }

  void NeedPrivateMemory() {
    struct Need {
      bool there;
      const char* code;
      const char* what;
    };
    const Need needs[] = {
        {kvm_.user_memory2, "KvmUserMemory2", "KVM_CAP_USER_MEMORY2 (capability 231)"},
        {kvm_.memory_fault_exits, "KvmMemoryFault", "KVM_CAP_MEMORY_FAULT_INFO (capability 232)"},
        {(kvm_.memory_attributes & abi::kAttributePrivate) != 0, "KvmMemoryAttributes",
         "KVM_MEMORY_ATTRIBUTE_PRIVATE of KVM_CAP_MEMORY_ATTRIBUTES (capability 233)"},
        {kvm_.guest_memfd, "KvmGuestMemfd", "KVM_CAP_GUEST_MEMFD (capability 234)"},
        {(kvm_.exit_hypercalls >> KVM_HC_MAP_GPA_RANGE & 1) != 0, "KvmExitHypercall",
         "KVM_HC_MAP_GPA_RANGE (bit 12) of KVM_CAP_EXIT_HYPERCALL (capability 201)"},
    };
    for (const Need& need : needs) {
      if (need.there) continue;
      Add(need.code, std::string("KVM lacks ") + need.what,
          "Linux 6.8 or later with a private memory backend");
    }
  }

  void NeedParameter(const char* module, const char* parameter, const char* hint) {
    const std::string path =
        root_ + "/sys/module/" + std::string(module) + "/parameters/" + std::string(parameter);
    Result<std::string> text = ReadFile(path);
    if (text.has_value() && (text->starts_with('Y') || text->starts_with('1'))) return;
    const std::string found =
        !text.has_value() ? "does not exist" : "is " + text->substr(0, text->find('\n'));
    Add("KvmParameter",
        std::string("parameter ") + parameter + " of module " + module + " " + found + ", must be Y", hint);
  }

  void NeedFlag(const std::string& flag, const char* what, const char* hint) {
    const std::string text = ReadFile(root_ + "/proc/cpuinfo", 16 << 20).value_or("");
    const size_t flags = text.find("\nflags");
    const std::string line =
        flags == std::string::npos ? "" : text.substr(flags, text.find('\n', flags + 1) - flags);
    if ((line + " ").find(" " + flag + " ") != std::string::npos) return;
    Add("ProcessorFeature",
        std::string("the processor or its firmware has no ") + what + ": /proc/cpuinfo does not list " + flag,
        hint);
  }

  void NeedDevice(const char* path, const char* hint) {
    if (::access((root_ + path).c_str(), R_OK | W_OK) == 0) return;
    Add("DeviceMissing", ErrnoStatus(path, errno).message(), hint);
  }

  void NeedFile(const char* path, const char* hint) {
    if (::access((root_ + path).c_str(), R_OK) == 0) return;
    Add("FileMissing", ErrnoStatus(path, errno).message(), hint);
  }

  const KvmCapabilities& kvm_;
  const std::string root_;
  std::vector<HostLack> lacks_;
};

}  // namespace

std::vector<HostLack> MissingForConfidential(ConfidentialKind kind, const KvmCapabilities& kvm,
                                             const std::string& root) {
  return Check(kvm, root).Of(kind);
}

}  // namespace berth::vmm
