#pragma once

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

Bytes BuildDsdt(const AcpiInput& input, const DomainMap& domains);
Bytes BuildFadt(const AcpiInput& input, Gpa dsdt);
Bytes BuildMadt(const AcpiInput& input);
Bytes BuildMcfg(const AcpiInput& input);
Bytes BuildSrat(const AcpiInput& input, const DomainMap& domains);
Bytes BuildSlit(const AcpiInput& input, const DomainMap& domains);
Bytes BuildXsdt(const std::vector<Gpa>& tables);
Bytes BuildRsdp(Gpa xsdt);

}  // namespace berth::vmm::acpi
