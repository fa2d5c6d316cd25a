#include "vmm/acpi/sdt.h"

// DMAR, the table of Intel's remapping units (VT-d specification, chapter 8).
namespace berth::vmm::acpi {

Bytes BuildDmar(const AcpiVtd& vtd, uint32_t io_apic_id) {
  constexpr uint8_t kInterruptRemapping = 1 << 0;
  constexpr uint16_t kUnit = 0, kRootPorts = 2;  // DRHD, ATSR
  constexpr uint8_t kAllDevices = 1 << 0;        // of the unit's segment
  constexpr uint8_t kAllPorts = 1 << 0;
  constexpr uint8_t kIoApicScope = 3;
  constexpr uint16_t kUnitSize = 16, kScopeSize = 8, kRootPortsSize = 8;
  ByteWriter dmar;
  dmar.U8(vtd.address_bits - 1).U8(kInterruptRemapping).Zeros(10);
  for (size_t i = 0; i < vtd.units.size(); ++i) {
    const AcpiVtd::Unit& unit = vtd.units[i];
    dmar.U16(kUnit).U16(kUnitSize + (i == 0 ? kScopeSize : 0)).U8(kAllDevices).U8(0);
    dmar.U16(unit.segment).U64(unit.registers);
    if (i > 0) continue;
    const uint32_t source = vtd.io_apic_source;
    dmar.U8(kIoApicScope).U8(kScopeSize).U16(0).U8(io_apic_id).U8(source >> 8);
    dmar.U8(source >> 3 & 0x1f).U8(source & 7);
  }
  // Devices may keep translations of their own.
  for (const AcpiVtd::Unit& unit : vtd.units) {
    dmar.U16(kRootPorts).U16(kRootPortsSize).U8(kAllPorts).U8(0).U16(unit.segment);
  }
  return FinishTable("DMAR", 1, dmar.bytes());
}

}  // namespace berth::vmm::acpi
