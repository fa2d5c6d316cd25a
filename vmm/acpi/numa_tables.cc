#include <algorithm>

#include "vmm/acpi/sdt.h"

// SRAT (ACPI 6.5, 5.2.16) and SLIT (5.2.17).
namespace berth::vmm::acpi {
namespace {

constexpr uint8_t kLocalDistance = 10;
constexpr uint8_t kRemoteDistance = 20;

uint8_t Distance(const AcpiInput& input, uint32_t from, uint32_t to) {
  if (from == to) return kLocalDistance;
  if (auto given = input.distances.find({from, to}); given != input.distances.end()) return given->second;
  if (auto back = input.distances.find({to, from}); back != input.distances.end()) return back->second;
  return kRemoteDistance;
}

void AddCpu(ByteWriter& srat, const AcpiVcpu& vcpu, uint32_t domain) {
  constexpr uint32_t kFirstX2ApicId = 255;
  constexpr uint32_t kEnabled = 1;
  if (vcpu.apic_id < kFirstX2ApicId) {
    srat.U8(0).U8(16).U8(domain).U8(vcpu.apic_id).U32(kEnabled).U8(0);
    srat.U8(domain >> 8).U16(domain >> 16).U32(0);
  } else {
    srat.U8(2).U8(24).U16(0).U32(domain).U32(vcpu.apic_id).U32(kEnabled).U32(0).U32(0);
  }
}

void AddMemory(ByteWriter& srat, const AcpiMemoryRange& range, uint32_t domain) {
  constexpr uint32_t kEnabled = 1 << 0;
  constexpr uint32_t kHotpluggable = 1 << 1;
  srat.U8(1).U8(40).U32(domain).U16(0).U64(range.base).U64(range.size).U32(0);
  srat.U32(kEnabled | (range.hotpluggable ? kHotpluggable : 0)).U64(0);
}

}  // namespace

std::map<uint32_t, uint32_t> ProximityDomains(const std::vector<uint32_t>& nodes) {
  std::vector<uint32_t> sorted = nodes;
  std::sort(sorted.begin(), sorted.end());
  DomainMap domains;
  for (uint32_t node : sorted) domains.emplace(node, static_cast<uint32_t>(domains.size()));
  return domains;
}

Bytes BuildSrat(const AcpiInput& input, const DomainMap& domains) {
  constexpr uint8_t kRevision = 3;
  ByteWriter srat;
  srat.U32(1).U64(0);
  for (auto [node, domain] : domains) {
    for (const AcpiVcpu& vcpu : input.vcpus) {
      if (vcpu.node == node) AddCpu(srat, vcpu, domain);
    }
  }
  for (auto [node, domain] : domains) {
    for (const AcpiMemoryRange& range : input.memory) {
      if (range.node == node) AddMemory(srat, range, domain);
    }
  }
  return FinishTable("SRAT", kRevision, srat.bytes());
}

Bytes BuildSlit(const AcpiInput& input, const DomainMap& domains) {
  ByteWriter slit;
  slit.U64(domains.size());
  for (auto [from, row] : domains) {
    for (auto [to, column] : domains) slit.U8(Distance(input, from, to));
  }
  return FinishTable("SLIT", 1, slit.bytes());
}

}  // namespace berth::vmm::acpi
