#pragma once

#include "vmm/acpi/acpi_tables.h"

namespace berth::vmm::acpi {

// One vCPU, one PCI segment, no NUMA.
inline AcpiInput SmallMachine() {
  AcpiInput input;
  input.vcpus = {{0, true, {}}};
  AcpiPciSegment segment;
  segment.io = {layout::kPciIoBase, layout::kPciIoSize};
  segment.mmio32 = {layout::kMmio32Base, layout::kMmio32Size};
  segment.mmio64 = {uint64_t{4} << 30, (uint64_t{1} << 39) - (uint64_t{4} << 30)};
  input.segments = {segment};
  input.ged_address = layout::PlatformAreaBase(46) + layout::kGedOffset;
  return input;
}

// Three nodes with sparse ids and asymmetric distances, six vCPUs out of order, one of them absent, an APIC
// id above 255, memory around the hole, and a second segment.
inline AcpiInput LargeMachine() {
  AcpiInput input = SmallMachine();
  input.nodes = {7, 0, 300};
  input.vcpus = {{0, true, 7}, {1, true, 0}, {2, true, 7}, {3, true, 0}, {4, false, 300}, {260, true, 300}};
  input.memory = {{0, 0xc0000000, 0},
                  {uint64_t{4} << 30, 0x40000000, 0},
                  {0x140000000, 0x80000000, 7},
                  {0x1c0000000, 0x80000000, 300, true}};
  input.distances = {{{0, 7}, 15}, {{0, 300}, 20}, {{7, 0}, 20}, {{7, 300}, 25}, {{300, 0}, 25}};
  input.overrides = {{layout::kCom1Irq, layout::kCom1Irq, 0}};
  input.segments[0].node = 0;
  input.segments[0].intx_gsis = {6, 7, 9, 10};
  AcpiPciSegment second;
  second.segment = 1;
  second.ecam_base = layout::kPciConfigBase + layout::kPciConfigSegmentSize;
  second.mmio64 = {uint64_t{1} << 40, uint64_t{1} << 30};
  second.node = 7;
  input.segments.push_back(second);
  return input;
}

// The same with a device that is a node, memory whose speed is known, and everything that can be plugged.
inline AcpiInput GrowingMachine() {
  AcpiInput input = LargeMachine();
  input.initiators = {{8, 1, 3}};
  input.nodes.push_back(8);
  input.performance = {{0, 90, 95, 80000, 70000}, {300, 250, 300, 20000, 15000}};
  const uint64_t platform = layout::PlatformAreaBase(46);
  input.hotplug = {platform + layout::kCpuHotplugOffset, platform + layout::kMemoryHotplugOffset, 7,
                   platform + layout::kPciHotplugOffset};
  input.iommu = AcpiIommu{0, 1, {{1, 0, 0xff}, {0, 0x18, 0x18}}};
  return input;
}

// Two segments, each with a remapping unit of VT-d.
inline AcpiInput RemappedMachine() {
  AcpiInput input = LargeMachine();
  input.vtd = AcpiVtd{46, 0xff00, {{0, layout::kVtdBase}, {1, layout::kVtdBase + 0x1000}}};
  return input;
}

}  // namespace berth::vmm::acpi
