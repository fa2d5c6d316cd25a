#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "common/status.h"
#include "vmm/acpi/bytes.h"
#include "vmm/bus/layout.h"
#include "vmm/memory/guest_memory.h"

// The ACPI tables of the machine: hardware-reduced, without FACS. Pure: the same input gives the same bytes.
namespace berth::vmm::acpi {

// A vCPU that the guest could ever have. Its position in AcpiInput::vcpus is its processor UID.
struct AcpiVcpu {
  uint32_t apic_id = 0;
  bool present = true;           // false: may be plugged later
  std::optional<uint32_t> node;  // guest_numa_id; required for all or for none
};

struct AcpiMemoryRange {
  uint64_t base = 0;
  uint64_t size = 0;
  uint32_t node = 0;  // guest_numa_id
  bool hotpluggable = false;
};

// A piece of the address space, [base, base + size).
struct AcpiWindow {
  uint64_t base = 0;
  uint64_t size = 0;
};

// A PCI segment: one host bridge with one bus.
struct AcpiPciSegment {
  uint16_t segment = 0;
  uint64_t ecam_base = layout::kPciConfigBase;
  std::optional<AcpiWindow> io;      // only segment 0 has I/O ports
  std::optional<AcpiWindow> mmio32;  // below 4 GiB
  std::optional<AcpiWindow> mmio64;
  std::optional<uint32_t> node;  // guest_numa_id for _PXM
  // GSIs of INTA to INTD, shared over the slots; empty when no device has a pin.
  std::vector<uint32_t> intx_gsis;
};

// A legacy interrupt whose GSI or mode differs from the ISA default (MADT type 2).
struct AcpiInterruptOverride {
  uint8_t irq = 0;
  uint32_t gsi = 0;
  uint16_t flags =
      0;  // MPS INTI flags: bits 0-1 polarity (1 high, 3 low), bits 2-3 trigger (1 edge, 3 level)
};

// A node that is a PCI device (SRAT type 5).
struct AcpiInitiator {
  uint32_t node = 0;  // guest_numa_id
  uint16_t segment = 0;
  uint8_t slot = 0;
};

// How fast a node's own processors reach its memory (HMAT). 0: not known.
struct AcpiMemoryPerformance {
  uint32_t node = 0;  // guest_numa_id
  uint32_t read_latency_ns = 0;
  uint32_t write_latency_ns = 0;
  uint32_t read_bandwidth_mbs = 0;
  uint32_t write_bandwidth_mbs = 0;
};

// Where the registers of the hot-plug controllers are. 0: the machine has no such controller.
struct AcpiHotplug {
  uint64_t cpu = 0;
  uint64_t memory = 0;
  std::optional<uint32_t> memory_node;  // guest_numa_id of what is added by ACPI
  uint64_t pci = 0;
};

// The virtual IOMMU, a PCI device, and who is behind it: functions [first, last] of a segment, by bus, slot
// and function. An endpoint's number is its segment << 16 | function.
struct AcpiIommu {
  struct Range {
    uint16_t segment = 0;
    uint16_t first = 0;
    uint16_t last = 0;
  };
  uint16_t segment = 0;
  uint8_t slot = 0;
  std::vector<Range> endpoints;
};

// Remapping units of Intel VT-d, each for all devices of a PCI segment; the first one is the IOAPIC's too.
struct AcpiVtd {
  struct Unit {
    uint16_t segment = 0;
    uint64_t registers = 0;
  };
  uint32_t address_bits = 46;   // of guest-physical addresses
  uint16_t io_apic_source = 0;  // bus, slot and function by which the IOAPIC's interrupts go
  std::vector<Unit> units;
};

struct AcpiInput {
  std::vector<AcpiVcpu> vcpus;
  // Guest nodes in any order, ids as sparse as the user wants. Empty: no SRAT, no SLIT, no _PXM.
  std::vector<uint32_t> nodes;
  std::vector<AcpiMemoryRange> memory;  // only used with nodes
  // (from, to) -> distance, by guest_numa_id. A missing pair is the way back, else 20; 10 to itself.
  std::map<std::pair<uint32_t, uint32_t>, uint8_t> distances;
  std::vector<AcpiPciSegment> segments;
  std::vector<AcpiInitiator> initiators;           // only used with nodes
  std::vector<AcpiMemoryPerformance> performance;  // empty: no HMAT
  AcpiHotplug hotplug;
  std::optional<AcpiIommu> iommu;  // none: no VIOT
  std::optional<AcpiVtd> vtd;      // none: no DMAR

  bool com1 = true;
  uint32_t io_apic_id = layout::kIoApicId;
  std::vector<AcpiInterruptOverride> overrides;
  // The GED notification register lies in the platform area, whose place depends on the address width.
  uint64_t ged_address = 0;
  uint32_t ged_gsi = layout::kGedIrq;
  bool pm_timer = true;  // the port layout::kPmTimerPort exists
};

// Where something is to be copied to in guest memory.
struct AcpiBlob {
  std::string signature;  // "RSD PTR ", "DSDT", ...
  Gpa gpa{};
  Bytes bytes;
};

struct AcpiTables {
  std::vector<AcpiBlob> blobs;
  Gpa rsdp{};  // for the zero page or the PVH start info
  Gpa end{};   // first byte behind the last table
};

// The RSDP stands at layout::kRsdp, the tables behind it, all below layout::kSmbios: an area that the e820
// map does not call RAM.
//
// Proximity domains: guest node ids may be sparse, while a SLIT is indexed by proximity domain and its size
// is the square of the highest one. The ids are therefore mapped to dense domains 0, 1, ... in ascending
// order, and SRAT lists its CPU entries by domain, so that Linux, which numbers nodes as it meets domains,
// counts the nodes with CPUs in the order of their guest ids. A node without CPUs comes after all nodes with
// CPUs.
//
// Errors: kInvalidArgument for an input that contradicts itself (unknown node, APIC id twice, a window that
// wraps), kResourceExhausted when the tables do not fit the area.
Result<AcpiTables> BuildAcpiTables(const AcpiInput& input);

// Guest node id -> proximity domain.
std::map<uint32_t, uint32_t> ProximityDomains(const std::vector<uint32_t>& nodes);

}  // namespace berth::vmm::acpi
