#include "vmm/acpi/acpi_tables.h"

#include <set>

#include "vmm/acpi/sdt.h"

namespace berth::vmm::acpi {
namespace {

constexpr size_t kEndpointsMax = 0xffff - 1;  // nodes are counted by 16 bits

constexpr uint64_t kAlignment = 16;
constexpr size_t kRsdpSize = 36;
constexpr uint64_t kTableArea = layout::kRsdp + (kRsdpSize + kAlignment - 1) / kAlignment * kAlignment;

Status CheckWindow(const std::optional<AcpiWindow>& window, uint64_t limit, const std::string& field) {
  if (!window) return OkStatus();
  if (window->size == 0 || window->base > limit || window->size - 1 > limit - window->base)
    return InvalidArgument("empty, or beyond its address space", field);
  return OkStatus();
}

Status CheckVcpus(const AcpiInput& input, const DomainMap& domains) {
  constexpr size_t kMaxNames = 0x1000;  // "C000" to "CFFF"
  if (input.vcpus.empty() || input.vcpus.size() > kMaxNames)
    return InvalidArgument("number of vCPUs", "vcpus");
  std::set<uint32_t> apic_ids;
  for (const AcpiVcpu& vcpu : input.vcpus) {
    if (!apic_ids.insert(vcpu.apic_id).second)
      return InvalidArgument("APIC id " + std::to_string(vcpu.apic_id) + " given twice", "vcpus");
    if (vcpu.node.has_value() == domains.empty())
      return InvalidArgument("vCPU with a node in only a part", "vcpus");
    if (vcpu.node && !domains.contains(*vcpu.node))
      return InvalidArgument("unknown node " + std::to_string(*vcpu.node), "vcpus");
  }
  return OkStatus();
}

Status CheckInput(const AcpiInput& input, const DomainMap& domains) {
  if (domains.size() != input.nodes.size()) return InvalidArgument("a node given twice", "nodes");
  TRY(CheckVcpus(input, domains));
  for (const AcpiMemoryRange& range : input.memory) {
    TRY(CheckWindow(AcpiWindow{range.base, range.size}, UINT64_MAX, "memory"));
    if (!domains.empty() && !domains.contains(range.node))
      return InvalidArgument("unknown node " + std::to_string(range.node), "memory");
  }
  if (domains.empty() != input.initiators.empty() && domains.empty())
    return InvalidArgument("a device that is a node, without nodes", "initiators");
  for (const AcpiInitiator& initiator : input.initiators) {
    if (!domains.contains(initiator.node) || initiator.slot >= layout::kPciSlotsPerSegment)
      return InvalidArgument("unknown node, or no PCI slot", "initiators");
  }
  for (const AcpiMemoryPerformance& node : input.performance) {
    if (!domains.contains(node.node))
      return InvalidArgument("unknown node " + std::to_string(node.node), "performance");
  }
  if (input.hotplug.memory_node && !domains.contains(*input.hotplug.memory_node))
    return InvalidArgument("unknown node " + std::to_string(*input.hotplug.memory_node), "hotplug");
  if (input.iommu &&
      (input.iommu->slot >= layout::kPciSlotsPerSegment || input.iommu->endpoints.size() > kEndpointsMax))
    return InvalidArgument("no PCI slot, or too many devices behind it", "iommu");
  if (input.vtd && (input.vtd->units.empty() || input.vtd->units.size() > layout::kPciSegmentsMax ||
                    input.vtd->units.front().segment != 0 || input.vtd->address_bits == 0))
    return InvalidArgument("the first unit must be that of segment 0", "vtd");
  std::set<uint16_t> segments;
  for (const AcpiPciSegment& segment : input.segments) {
    if (segment.segment >= layout::kPciSegmentsMax || !segments.insert(segment.segment).second)
      return InvalidArgument("segment " + std::to_string(segment.segment) + " twice or too high", "segments");
    TRY(CheckWindow(AcpiWindow{segment.ecam_base, layout::kPciConfigSegmentSize}, UINT64_MAX,
                    "segments.ecam_base"));
    TRY(CheckWindow(segment.io, UINT16_MAX, "segments.io"));
    TRY(CheckWindow(segment.mmio32, UINT32_MAX, "segments.mmio32"));
    TRY(CheckWindow(segment.mmio64, UINT64_MAX - 1, "segments.mmio64"));
    if (segment.node && !domains.contains(*segment.node))
      return InvalidArgument("unknown node " + std::to_string(*segment.node), "segments");
  }
  return OkStatus();
}

// Hands out addresses one behind the other.
class Placer {
 public:
  Gpa Place(std::string signature, Bytes bytes) {
    Gpa gpa{next_};
    next_ = (next_ + bytes.size() + kAlignment - 1) / kAlignment * kAlignment;
    blobs_.push_back({std::move(signature), gpa, std::move(bytes)});
    return gpa;
  }
  uint64_t end() const { return next_; }
  std::vector<AcpiBlob> Take() { return std::move(blobs_); }

 private:
  uint64_t next_ = kTableArea;
  std::vector<AcpiBlob> blobs_;
};

}  // namespace

Result<AcpiTables> BuildAcpiTables(const AcpiInput& input) {
  DomainMap domains = ProximityDomains(input.nodes);
  TRY(CheckInput(input, domains));
  Placer placer;
  Gpa dsdt = placer.Place("DSDT", BuildDsdt(input, domains));
  std::vector<Gpa> tables;
  tables.push_back(placer.Place("FACP", BuildFadt(input, dsdt)));
  tables.push_back(placer.Place("APIC", BuildMadt(input)));
  if (!input.segments.empty()) tables.push_back(placer.Place("MCFG", BuildMcfg(input)));
  if (!domains.empty()) {
    tables.push_back(placer.Place("SRAT", BuildSrat(input, domains)));
    tables.push_back(placer.Place("SLIT", BuildSlit(input, domains)));
    if (!input.performance.empty()) tables.push_back(placer.Place("HMAT", BuildHmat(input, domains)));
  }
  if (input.iommu) tables.push_back(placer.Place("VIOT", BuildViot(*input.iommu)));
  if (input.vtd) tables.push_back(placer.Place("DMAR", BuildDmar(*input.vtd, input.io_apic_id)));
  Gpa xsdt = placer.Place("XSDT", BuildXsdt(tables));
  if (placer.end() > layout::kSmbios) {
    return ResourceExhausted("the ACPI tables end at " + std::to_string(placer.end()) + ", their area at " +
                             std::to_string(layout::kSmbios));
  }
  AcpiTables result;
  result.rsdp = Gpa{layout::kRsdp};
  result.end = Gpa{placer.end()};
  result.blobs = placer.Take();
  result.blobs.insert(result.blobs.begin(), {"RSD PTR ", result.rsdp, BuildRsdp(xsdt)});
  return result;
}

}  // namespace berth::vmm::acpi
