#include "vmm/acpi/sdt.h"

// VIOT, the table of virtual I/O translation (ACPI 6.5, 5.2.31).
namespace berth::vmm::acpi {

Bytes BuildViot(const AcpiIommu& iommu) {
  constexpr uint8_t kPciRange = 1;
  constexpr uint8_t kVirtioIommuPci = 3;
  constexpr uint16_t kFirstNode = 48;  // offset in the table, also that of the IOMMU's node
  ByteWriter viot;
  viot.U16(1 + iommu.endpoints.size()).U16(kFirstNode).U64(0);
  viot.U8(kVirtioIommuPci).U8(0).U16(16).U16(iommu.segment).U16(uint64_t{iommu.slot} << 3).U64(0);
  for (const AcpiIommu::Range& range : iommu.endpoints) {
    viot.U8(kPciRange).U8(0).U16(24);
    viot.U32(uint32_t{range.segment} << 16 | range.first);  // number of the first endpoint
    viot.U16(range.segment).U16(range.segment).U16(range.first).U16(range.last);
    viot.U16(kFirstNode).Zeros(6);
  }
  return FinishTable("VIOT", 0, viot.bytes());
}

}  // namespace berth::vmm::acpi
