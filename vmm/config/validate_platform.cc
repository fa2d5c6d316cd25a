#include <map>
#include <set>

#include "vmm/bus/layout.h"
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
