#include <algorithm>
#include <set>

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

void AddInitiator(ByteWriter& srat, const AcpiInitiator& initiator, const DomainMap& domains) {
  constexpr uint8_t kPciHandle = 1;
  constexpr uint32_t kEnabled = 1 << 0;
  srat.U8(5).U8(32).U8(0).U8(kPciHandle).U32(domains.at(initiator.node));
  srat.U16(initiator.segment).U16(uint64_t{initiator.slot} << 3).Zeros(12).U32(kEnabled).U32(0);
}

// System Locality Latency and Bandwidth structure (5.2.27.4): one row for each node with processors, one
// column for each node with memory. Only a node's own figures are known; 0 means that there is none.
void AddLocality(ByteWriter& hmat, uint8_t data_type, uint64_t base_unit, const std::vector<uint32_t>& rows,
                 const std::vector<uint32_t>& columns, const std::map<uint32_t, uint32_t>& values) {
  const size_t size = 32 + 4 * rows.size() + 4 * columns.size() + 2 * rows.size() * columns.size();
  hmat.U16(1).U16(0).U32(size).U8(0).U8(data_type).U8(0).U8(0);
  hmat.U32(rows.size()).U32(columns.size()).U32(0).U64(base_unit);
  for (uint32_t row : rows) hmat.U32(row);
  for (uint32_t column : columns) hmat.U32(column);
  for (uint32_t row : rows) {
    for (uint32_t column : columns) {
      auto value = row == column ? values.find(row) : values.end();
      constexpr uint32_t kLargest = 0xfffe;
      hmat.U16(value == values.end() ? 0 : std::min(value->second, kLargest));
    }
  }
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
  for (const AcpiInitiator& initiator : input.initiators) AddInitiator(srat, initiator, domains);
  return FinishTable("SRAT", kRevision, srat.bytes());
}

Bytes BuildHmat(const AcpiInput& input, const DomainMap& domains) {
  constexpr uint8_t kRevision = 2;
  constexpr uint16_t kInitiatorValid = 1 << 0;
  constexpr uint64_t kPicosecondsInNanosecond = 1000;
  constexpr uint64_t kMegabytes = 1;
  enum : uint8_t { kReadLatency = 1, kWriteLatency = 2, kReadBandwidth = 4, kWriteBandwidth = 5 };
  std::set<uint32_t> with_cpus, with_memory;
  for (const AcpiVcpu& vcpu : input.vcpus) {
    if (vcpu.node) with_cpus.insert(domains.at(*vcpu.node));
  }
  for (const AcpiMemoryRange& range : input.memory) with_memory.insert(domains.at(range.node));

  ByteWriter hmat;
  hmat.U32(0);
  for (uint32_t domain : with_memory) {
    const bool own_cpus = with_cpus.contains(domain);
    hmat.U16(0).U16(0).U32(40).U16(own_cpus ? kInitiatorValid : 0).U16(0);
    hmat.U32(own_cpus ? domain : 0).U32(domain).U32(0).U64(0).U64(0);
  }
  const std::vector<uint32_t> rows(with_cpus.begin(), with_cpus.end());
  const std::vector<uint32_t> columns(with_memory.begin(), with_memory.end());
  struct Kind {
    uint8_t data_type;
    uint64_t base_unit;
    uint32_t AcpiMemoryPerformance::* value;
  };
  constexpr Kind kKinds[] = {
      {kReadLatency, kPicosecondsInNanosecond, &AcpiMemoryPerformance::read_latency_ns},
      {kWriteLatency, kPicosecondsInNanosecond, &AcpiMemoryPerformance::write_latency_ns},
      {kReadBandwidth, kMegabytes, &AcpiMemoryPerformance::read_bandwidth_mbs},
      {kWriteBandwidth, kMegabytes, &AcpiMemoryPerformance::write_bandwidth_mbs},
  };
  for (const Kind& kind : kKinds) {
    std::map<uint32_t, uint32_t> values;
    uint32_t largest = 0;
    for (const AcpiMemoryPerformance& node : input.performance) {
      values[domains.at(node.node)] = node.*kind.value;
      largest = std::max(largest, node.*kind.value);
    }
    if (largest == 0) continue;
    // Values have 16 bits: a coarser unit where they would not fit.
    uint64_t scale = 1;
    while (largest / scale > 0xfffe) scale *= 10;
    for (auto& [domain, value] : values) value = static_cast<uint32_t>(value / scale);
    AddLocality(hmat, kind.data_type, kind.base_unit * scale, rows, columns, values);
  }
  return FinishTable("HMAT", kRevision, hmat.bytes());
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
