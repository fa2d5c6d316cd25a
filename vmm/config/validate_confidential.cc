#include <algorithm>
#include <cctype>
#include <optional>
#include <string>

#include "vmm/config/validate.h"
#include "vmm/config/validate_rules.h"

namespace berth::vmm {
namespace {

using Kind = ConfidentialKind;

// The rules of one configuration.
class Rules {
 public:
  Rules(const VmConfig& config, ConfigErrors& errors)
      : config_(config),
        kind_(config.platform.confidential),
        name_(ConfidentialName(kind_)),
        errors_(errors) {}

  void Check() {
    CheckImages();
    CheckHostData();
    if (config_.platform.quote_socket && kind_ != Kind::kTdx) {
      Add("QuoteSocketUnused", "platform", "quote_socket", *config_.platform.quote_socket,
          "only TDX guests ask the VMM for quotes", "use it with confidential=tdx, or leave it out");
    }
    if (kind_ == Kind::kNone) return;
    if (kind_ == Kind::kVirtcca) {
      Add("ConfidentialPlatform", "platform", "confidential", name_,
          "virtCCA guests run on AArch64 hosts, this program is for x86-64",
          "use sw-protected, tdx or sev-snp");
    }
    CheckPolicy();
    CheckMemory();
    CheckDevices();
  }

 private:
  void Add(TextRef code, TextRef option, TextRef key, TextRef value, TextRef message, TextRef hint) {
    errors_.push_back({code, option, key, value, message, "", hint});
  }

  void CheckImages() {
    const bool by_firmware = kind_ == Kind::kTdx || kind_ == Kind::kSevSnp;
    if (!by_firmware) {
      const std::string why = kind_ == Kind::kNone ? "an ordinary guest boots a kernel directly"
                                                   : std::string(name_) + " guests boot a kernel directly";
      if (config_.firmware && kind_ != Kind::kNone)
        Add("FirmwareUnused", "firmware", "", *config_.firmware, why, "leave it out");
      if (config_.igvm) Add("FirmwareUnused", "igvm", "", *config_.igvm, why, "leave it out");
      return;
    }
    if (config_.initramfs) {
      Add("InitramfsUnused", "initramfs", "", *config_.initramfs,
          "the firmware of a confidential guest takes no initial RAM file system from the VMM",
          "put it into the kernel image");
    }
    if (kind_ == Kind::kTdx) {
      if (!config_.firmware) {
        Add("FirmwareMissing", "firmware", "", "", "a TDX guest starts in its firmware",
            "give a TDVF or td-shim image");
      }
      if (config_.igvm)
        Add("FirmwareUnused", "igvm", "", *config_.igvm, "TDX guests take --firmware", "leave it out");
      return;
    }
    if (config_.firmware.has_value() == config_.igvm.has_value()) {
      Add("FirmwareMissing", "igvm", "", config_.igvm.value_or(""),
          "an SEV-SNP guest starts from one of --igvm and --firmware", "give one of them");
    }
    if (!config_.kernel.empty()) {
      Add("KernelUnused", "kernel", "", config_.kernel,
          "the firmware of an SEV-SNP guest takes no kernel from this VMM, which has no fw_cfg device",
          "put the kernel into the IGVM file, or onto a disk");
    }
  }

  void CheckHostData() {
    if (!config_.host_data) return;
    const size_t digits = kind_ == Kind::kTdx ? 96 : kind_ == Kind::kSevSnp ? 64 : 0;
    const std::string& text = *config_.host_data;
    const bool hex =
        std::all_of(text.begin(), text.end(), [](unsigned char c) { return std::isxdigit(c) != 0; });
    if (digits != 0 && hex && text.size() == digits) return;
    errors_.push_back({"InvalidHostData", "host-data", "", text,
                       digits == 0 ? "only TDX and SEV-SNP guests have it in their reports" : "not host data",
                       digits == 0 ? "" : std::to_string(digits) + " hexadecimal digits", ""});
  }

  void CheckPolicy() {
    constexpr uint64_t kMustBeOne = 1 << 17;
    const uint64_t policy = config_.platform.snp_policy;
    if (kind_ != Kind::kSevSnp || (policy & kMustBeOne) != 0) return;
    Add("InvalidSnpPolicy", "platform", "snp_policy", std::to_string(policy),
        "bit 17 of the policy must be set", "196608 allows multi-threading, 131072 does not");
  }

  // The host's kernel may neither read nor move what is private, and gives it from nowhere but guest_memfd.
  void CheckMemory() {
    const std::string of = std::string(" of a confidential guest");
    auto check = [&](const std::string& option, bool mergeable, bool hugepages,
                     const std::optional<std::string>& file, const std::optional<ByteSize>& hotplug) {
      if (mergeable) {
        Add("ConfidentialMergeable", option, "mergeable", "on",
            "memory" + of + " cannot be merged with others' (KSM): the host cannot read it", "leave it out");
      }
      if (hugepages && kind_ != Kind::kSwProtected) {
        Add("ConfidentialHugePages", option, "hugepages", "on",
            "memory" + of + " starts private, and private pages are not taken from the huge page pool",
            "leave it out");
      }
      if (file) {
        Add("ConfidentialFile", option, "file", *file,
            "private memory" + of + " cannot lie in a file: it would leave the guest in it", "leave it out");
      }
      if (hotplug && config_.memory.hotplug_method != HotplugMethod::kVirtioMem) {
        Add("ConfidentialHotplug", option, "hotplug_size", hotplug->ToString(),
            "memory" + of + " grows by virtio-mem only, which says block by block what there is",
            "use --memory hotplug_method=virtio-mem");
      }
    };
    if (config_.memory_zones.empty()) {
      check("memory", config_.memory.mergeable, config_.memory.hugepages, std::nullopt,
            config_.memory.hotplug_size);
    }
    for (size_t i = 0; i < config_.memory_zones.size(); ++i) {
      const MemoryZoneConfig& zone = config_.memory_zones[i];
      check(Label("memory-zone", i), zone.mergeable, zone.hugepages, zone.file, zone.hotplug_size);
    }
  }

  void CheckDevices() {
    if (config_.balloon) {
      Add("ConfidentialBalloon", "balloon", "size", config_.balloon->size.ToString(),
          "a balloon gives back shared memory only, and a confidential guest's is private", "leave it out");
    }
    for (size_t i = 0; i < config_.devices.size(); ++i) {
      if (!config_.devices[i].iommu) continue;
      Add("ConfidentialDevice", Label("device", i), "iommu", "on",
          "a device of a confidential guest reaches what the guest shares, not what a virtual IOMMU maps",
          "leave it out");
    }
    if (!config_.sgx_epc.empty()) {
      Add("ConfidentialSgx", "sgx-epc", "", "", "a confidential guest has no SGX memory", "leave it out");
    }
    const bool starts_processors_itself = kind_ == Kind::kTdx || kind_ == Kind::kSevSnp;
    if (starts_processors_itself && MaxVcpus(config_.cpus) > config_.cpus.boot) {
      Add("ConfidentialCpuHotplug", "cpus", "max", std::to_string(config_.cpus.max),
          std::string(name_) + " guests start with all their vCPUs", "make max equal to boot");
    }
  }

  const VmConfig& config_;
  const Kind kind_;
  const char* const name_;
  ConfigErrors& errors_;
};

}  // namespace

void CheckConfidential(const VmConfig& config, ConfigErrors& errors) {
  Rules(config, errors).Check();
}

}  // namespace berth::vmm
