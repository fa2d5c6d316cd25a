#pragma once

#include <string>
#include <string_view>

#include "vmm/acpi/acpi_tables.h"

// The single tables. Each returns complete bytes with length and checksum; nothing depends on where they lie
// except what is handed in.
namespace berth::vmm::acpi {

// Puts the 36-byte header of a system description table before `body` (ACPI 6.5, 5.2.6).
Bytes FinishTable(std::string_view signature, uint8_t revision, const Bytes& body);
// The value that makes the sum of the bytes zero.
uint8_t Checksum(std::span<const uint8_t> bytes);

using DomainMap = std::map<uint32_t, uint32_t>;  // guest_numa_id -> proximity domain

// The local APIC structure of one vCPU as the MADT has it (ACPI 6.5, 5.2.12.2 and 5.2.12.12).
Bytes LocalApic(size_t uid, uint32_t apic_id, uint32_t flags);
inline constexpr uint32_t kApicEnabled = 1 << 0;
inline constexpr uint32_t kApicOnlineCapable = 1 << 1;

// The devices of the hot-plug controllers that the machine has (hotplug_aml.cc), the objects of one vCPU and
// of one slot, and what the event device runs for them.
Bytes HotplugControllers(const AcpiInput& input, const DomainMap& domains);
Bytes HotplugEvents(const AcpiInput& input, const Bytes& bits);
Bytes HotplugVcpu(const AcpiInput& input, size_t uid);
Bytes HotplugSlots(const AcpiPciSegment& segment);
// "C0FE" for ("C%03X", 0xfe).
std::string NumberedName(const char* format, size_t number);

Bytes BuildDsdt(const AcpiInput& input, const DomainMap& domains);
Bytes BuildFadt(const AcpiInput& input, Gpa dsdt);
Bytes BuildMadt(const AcpiInput& input);
Bytes BuildMcfg(const AcpiInput& input);
Bytes BuildSrat(const AcpiInput& input, const DomainMap& domains);
Bytes BuildHmat(const AcpiInput& input, const DomainMap& domains);
Bytes BuildSlit(const AcpiInput& input, const DomainMap& domains);
Bytes BuildViot(const AcpiIommu& iommu);
Bytes BuildDmar(const AcpiVtd& vtd, uint32_t io_apic_id);
Bytes BuildXsdt(const std::vector<Gpa>& tables);
Bytes BuildRsdp(Gpa xsdt);

}  // namespace berth::vmm::acpi
