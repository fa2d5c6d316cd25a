#include <map>
#include <set>
#include <string>

#include "vmm/bus/layout.h"
#include "vmm/config/resolved_machine.h"
#include "vmm/config/validate.h"
#include "vmm/config/validate_rules.h"

// PCI segments, what sits in them, and SGX sections.
namespace berth::vmm {
namespace {

void CheckSegments(const VmConfig& config, ConfigErrors& errors) {
  const uint32_t count = config.platform.num_pci_segments;
  if (count == 0 || count > layout::kPciSegmentsMax) {
    errors.push_back({"InvalidNumPciSegments", "platform", "num_pci_segments", std::to_string(count),
                      "number of PCI segments out of range",
                      "1 to " + std::to_string(layout::kPciSegmentsMax), ""});
  }
  std::map<uint32_t, size_t> first;
  for (size_t i = 0; i < config.pci_segments.size(); ++i) {
    const PciSegmentConfig& segment = config.pci_segments[i];
    const std::string label = Label("pci-segment", i);
    const std::string number = std::to_string(segment.segment);
    CheckPciSegment(config, segment.segment, label, errors);
    if (auto [known, fresh] = first.try_emplace(segment.segment, i); !fresh) {
      errors.push_back({"DuplicatePciSegment", label, "pci_segment", number,
                        "described by " + Label("pci-segment", known->second) + " already", "", ""});
    }
    for (auto [key, weight] : {std::pair("mmio32_aperture_weight", segment.mmio32_weight),
                               std::pair("mmio64_aperture_weight", segment.mmio64_weight)}) {
      if (weight >= 1 && weight <= kMaxApertureWeight) continue;
      errors.push_back({"InvalidPciSegmentApertureWeight", label, key, std::to_string(weight),
                        "a segment needs a share of the address space",
                        "1 to " + std::to_string(kMaxApertureWeight), ""});
    }
  }
}

void CheckSgx(const VmConfig& config, ConfigErrors& errors) {
  for (size_t i = 0; i < config.sgx_epc.size(); ++i) {
    const SgxEpcConfig& section = config.sgx_epc[i];
    if (section.size != ByteSize() && section.size.IsMultipleOf(KiB(4))) continue;
    errors.push_back({"InvalidSgxEpcSize", Label("sgx-epc", i), "size", section.size.ToString(),
                      "not a size of enclave memory", "multiples of 4K above 0", ""});
  }
}

// A device that is on a segment of the virtual IOMMU, and is said not to be behind it.
void CheckBehind(const VmConfig& config, uint32_t segment, bool iommu, const std::string& label,
                 ConfigErrors& errors) {
  if (iommu || !config.platform.iommu_segments.Contains(segment)) return;
  errors.push_back({"OnIommuSegment", label, "pci_segment", std::to_string(segment),
                    "all devices of this PCI segment are behind the virtual IOMMU", "",
                    "give iommu=on, or another segment"});
}

// Units of VT-d have all devices of their segment behind them: the guest's kernel gives each one the
// addresses that it maps for it, and the interrupts of each are remapped.
void CheckIntelIommu(const VmConfig& config, ConfigErrors& errors) {
  if (!config.platform.iommu_segments.empty()) {
    errors.push_back(
        {"InvalidPciSegment", "platform", "iommu_segments", config.platform.iommu_segments.ToString(),
         "with iommu_model=intel the devices of all PCI segments are behind the IOMMU", "", "leave it out"});
  }
  for (size_t i = 0; i < config.devices.size(); ++i) {
    if (config.devices[i].iommu) continue;
    errors.push_back({"NotBehindIommu", Label("device", i), "iommu", "off",
                      "with iommu_model=intel every device of the host is behind the IOMMU", "on",
                      "give iommu=on, or another iommu_model"});
  }
  if (config.platform.confidential != ConfidentialKind::kNone) {
    errors.push_back(
        {"ConfidentialIommu", "platform", "iommu_model", "intel",
         "the tables of a confidential guest's IOMMU would lie in memory that nobody else can read", "",
         "leave it out"});
  }
}

void CheckIommu(const VmConfig& config, ConfigErrors& errors) {
  const PlatformConfig& platform = config.platform;
  const uint32_t count = platform.num_pci_segments;
  // A number of segments that is wrong itself is no measure.
  const bool known = count >= 1 && count <= layout::kPciSegmentsMax;
  for (uint32_t segment : platform.iommu_segments.ToVector()) {
    if (segment > 0 && (segment < count || !known)) continue;
    errors.push_back(
        {"InvalidPciSegment", "platform", "iommu_segments", std::to_string(segment),
         segment == 0 ? "the virtual IOMMU itself is on segment 0, with what needs none"
                      : "a PCI segment that the machine does not have",
         count == 1 ? "none" : "1 to " + std::to_string((known ? count : layout::kPciSegmentsMax) - 1),
         segment == 0 ? "" : "raise --platform num_pci_segments"});
  }
  const uint32_t width = platform.iommu_address_width.value_or(48);
  const bool intel = platform.iommu_model == IommuModel::kIntel;
  if (intel ? width != 39 && width != 48 : width < 32 || width > 64) {
    errors.push_back({"InvalidIommuAddressWidthBits", "platform", "iommu_address_width",
                      std::to_string(width), "width of addresses out of range",
                      intel ? "39 or 48 with iommu_model=intel" : "32 to 64", ""});
  }
  if (platform.iommu_model == IommuModel::kSmmuv3) {
    errors.push_back({"UnsupportedIommuModel", "platform", "iommu_model", "smmuv3",
                      "an SMMUv3 is a part of AArch64 machines, and this one is x86-64", "virtio or intel",
                      ""});
  }
  if (intel) CheckIntelIommu(config, errors);
  for (size_t i = 0; i < config.disks.size(); ++i)
    CheckBehind(config, config.disks[i].pci_segment, config.disks[i].iommu, Label("disk", i), errors);
  for (size_t i = 0; i < config.nets.size(); ++i)
    CheckBehind(config, config.nets[i].pci_segment, config.nets[i].iommu, Label("net", i), errors);
  for (size_t i = 0; i < config.devices.size(); ++i)
    CheckBehind(config, config.devices[i].pci_segment, config.devices[i].iommu, Label("device", i), errors);
  if (config.vsock) CheckBehind(config, config.vsock->pci_segment, config.vsock->iommu, "vsock", errors);
}

}  // namespace

void CheckPciSegment(const VmConfig& config, uint32_t segment, const std::string& label,
                     ConfigErrors& errors) {
  const uint32_t count = config.platform.num_pci_segments;
  if (segment < count || count == 0 || count > layout::kPciSegmentsMax) return;
  errors.push_back({"InvalidPciSegment", label, "pci_segment", std::to_string(segment),
                    "a PCI segment that the machine does not have",
                    count == 1 ? "0" : "0 to " + std::to_string(count - 1),
                    "raise --platform num_pci_segments"});
}

void CheckPlatform(const VmConfig& config, ConfigErrors& errors) {
  CheckSegments(config, errors);
  CheckIommu(config, errors);
  CheckSgx(config, errors);
  std::map<uint32_t, size_t> used;
  used[0] = 1;  // the host bridge
  auto count = [&](uint32_t segment, const std::string& label) {
    CheckPciSegment(config, segment, label, errors);
    ++used[segment];
  };
  for (size_t i = 0; i < config.disks.size(); ++i) count(config.disks[i].pci_segment, Label("disk", i));
  for (size_t i = 0; i < config.nets.size(); ++i) count(config.nets[i].pci_segment, Label("net", i));
  for (size_t i = 0; i < config.devices.size(); ++i) count(config.devices[i].pci_segment, Label("device", i));
  if (config.vsock) count(config.vsock->pci_segment, "vsock");
  used[0] += config.rng.empty() ? 0 : 1;
  used[0] += HasIommu(config) && config.platform.iommu_model == IommuModel::kVirtio ? 1 : 0;
  used[0] += config.balloon ? 1 : 0;
  used[0] += config.pvpanic ? 1 : 0;
  used[0] += config.console.mode == SerialConfig::Mode::kOff ? 0 : 1;
  if (config.memory.hotplug_method == HotplugMethod::kVirtioMem) {
    for (const MemoryZoneConfig& zone : EffectiveZones(config)) used[0] += zone.hotplug_size ? 1 : 0;
  }
  for (auto [segment, slots] : used) {
    if (slots <= layout::kPciSlotsPerSegment) continue;
    errors.push_back({"TooManyDevices", "platform", "num_pci_segments",
                      std::to_string(slots) + " in segment " + std::to_string(segment),
                      "more devices than a PCI segment has slots",
                      "up to " + std::to_string(layout::kPciSlotsPerSegment) +
                          " in a segment; the host bridge takes one of segment 0",
                      "put devices on other segments by pci_segment"});
  }
}

}  // namespace berth::vmm
