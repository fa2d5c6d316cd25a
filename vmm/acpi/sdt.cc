#include "vmm/acpi/sdt.h"

#include <numeric>

namespace berth::vmm::acpi {
namespace {

constexpr std::string_view kOemId = "BERTH";
constexpr std::string_view kOemTableId = "BERTHVMM";
constexpr std::string_view kCreatorId = "BRTH";
constexpr uint32_t kOemRevision = 1;
constexpr size_t kHeaderSize = 36;
constexpr size_t kHeaderChecksum = 9;
constexpr uint8_t kAllProcessors = 0xff;

// Generic address structure (5.2.3.2) of a register in I/O space, or of none.
void AddRegister(ByteWriter& writer, uint16_t port, uint8_t bytes) {
  constexpr uint8_t kSystemIo = 1;
  uint8_t access = bytes == 4 ? 3 : 1;  // double word, byte
  writer.U8(kSystemIo).U8(uint64_t{8} * bytes).U8(0).U8(access).U64(port);
}
void AddNoRegister(ByteWriter& writer) {
  constexpr size_t kSize = 12;
  writer.Zeros(kSize);
}

}  // namespace

uint8_t Checksum(std::span<const uint8_t> bytes) {
  return static_cast<uint8_t>(-std::accumulate(bytes.begin(), bytes.end(), 0u));
}

Bytes FinishTable(std::string_view signature, uint8_t revision, const Bytes& body) {
  ByteWriter writer;
  writer.Text(signature, 4).U32(kHeaderSize + body.size()).U8(revision).U8(0);
  writer.Text(kOemId, 6).Text(kOemTableId, 8).U32(kOemRevision).Text(kCreatorId, 4).U32(1).Append(body);
  Bytes table = writer.Take();
  table[kHeaderChecksum] = Checksum(table);
  return table;
}

Bytes BuildFadt(const AcpiInput& input, Gpa dsdt) {
  constexpr uint8_t kRevision = 6;
  constexpr uint8_t kMinorRevision = 3;  // 6.3 brought the online-capable flag of the MADT
  constexpr uint32_t kWbinvd = 1 << 0;
  constexpr uint32_t kPowerButton = 1 << 4;  // no fixed one; a control method button is in the DSDT
  constexpr uint32_t kSleepButton = 1 << 5;
  constexpr uint32_t kTimerExtended = 1 << 8;
  constexpr uint32_t kResetRegister = 1 << 10;
  constexpr uint32_t kHardwareReduced = 1 << 20;
  constexpr uint16_t kLegacyDevices = 1 << 0;  // boot architecture: COM1; no 8042 keyboard controller
  constexpr uint16_t kNoVga = 1 << 2;
  constexpr uint8_t kTimerBytes = 4;
  uint32_t flags = kWbinvd | kPowerButton | kSleepButton | kResetRegister | kHardwareReduced;
  if (input.pm_timer) flags |= kTimerExtended;
  uint32_t low_dsdt = static_cast<uint32_t>(Raw(dsdt));  // the tables lie below 1 MiB

  ByteWriter fadt;
  fadt.U32(0).U32(low_dsdt).U8(0).U8(0).U16(0).U32(0);  // FACS, DSDT, reserved, profile, SCI, SMI
  fadt.Zeros(4).Zeros(5 * 4);                           // enable/disable, PM1 and PM2 blocks
  fadt.U32(input.pm_timer ? layout::kPmTimerPort : 0);  // PM_TMR_BLK
  fadt.Zeros(2 * 4).Zeros(3);                           // GPE blocks, PM1/PM2 lengths
  fadt.U8(input.pm_timer ? kTimerBytes : 0).Zeros(4);   // PM_TMR_LEN, GPE lengths, CST
  fadt.Zeros(4 * 2).Zeros(5);                           // latencies, flush, duty, alarms, century
  fadt.U16((input.com1 ? kLegacyDevices : 0) | kNoVga).U8(0).U32(flags);
  AddRegister(fadt, layout::kResetPort, 1);
  fadt.U8(layout::kResetValue).U16(0).U8(kMinorRevision).U64(0).U64(Raw(dsdt));
  for (int i = 0; i < 5; ++i) AddNoRegister(fadt);  // X_PM1a_EVT to X_PM2_CNT
  if (input.pm_timer) {
    AddRegister(fadt, layout::kPmTimerPort, kTimerBytes);
  } else {
    AddNoRegister(fadt);
  }
  AddNoRegister(fadt);  // X_GPE0
  AddNoRegister(fadt);  // X_GPE1
  AddRegister(fadt, layout::kSleepControlPort, 1);
  AddRegister(fadt, layout::kSleepStatusPort, 1);
  fadt.Text(kOemTableId, 8);  // hypervisor vendor identity
  return FinishTable("FACP", kRevision, fadt.bytes());
}

Bytes LocalApic(size_t uid, uint32_t apic_id, uint32_t flags) {
  constexpr uint32_t kFirstX2ApicId = 255;  // 5.2.12.12: lower ids use the older structure
  ByteWriter entry;
  if (apic_id < kFirstX2ApicId && uid < kAllProcessors) {
    entry.U8(0).U8(8).U8(uid).U8(apic_id).U32(flags);
  } else {
    entry.U8(9).U8(16).U16(0).U32(apic_id).U32(flags).U32(uid);
  }
  return entry.Take();
}

Bytes BuildMadt(const AcpiInput& input) {
  constexpr uint8_t kRevision = 5;
  constexpr uint8_t kLint1 = 1;
  ByteWriter madt;
  madt.U32(layout::kLapicBase).U32(0);  // no 8259 pair
  for (size_t uid = 0; uid < input.vcpus.size(); ++uid) {
    const AcpiVcpu& vcpu = input.vcpus[uid];
    madt.Append(LocalApic(uid, vcpu.apic_id, vcpu.present ? kApicEnabled : kApicOnlineCapable));
  }
  madt.U8(1).U8(12).U8(input.io_apic_id).U8(0).U32(layout::kIoApicBase).U32(0);
  for (const AcpiInterruptOverride& entry : input.overrides) {
    madt.U8(2).U8(10).U8(0).U8(entry.irq).U32(entry.gsi).U16(entry.flags);
  }
  madt.U8(4).U8(6).U8(kAllProcessors).U16(0).U8(kLint1);  // NMI
  return FinishTable("APIC", kRevision, madt.bytes());
}

Bytes BuildMcfg(const AcpiInput& input) {
  ByteWriter mcfg;
  mcfg.U64(0);
  for (const AcpiPciSegment& segment : input.segments) {
    mcfg.U64(segment.ecam_base).U16(segment.segment).U8(0).U8(0).U32(0);  // bus 0 only
  }
  return FinishTable("MCFG", 1, mcfg.bytes());
}

Bytes BuildXsdt(const std::vector<Gpa>& tables) {
  ByteWriter xsdt;
  for (Gpa table : tables) xsdt.U64(Raw(table));
  return FinishTable("XSDT", 1, xsdt.bytes());
}

Bytes BuildRsdp(Gpa xsdt) {
  constexpr size_t kFirstPart = 20;  // what the checksum of ACPI 1.0 covers
  constexpr size_t kSize = 36;
  constexpr size_t kChecksum = 8;
  constexpr size_t kExtendedChecksum = 32;
  ByteWriter writer;
  writer.Text("RSD PTR ", 8).U8(0).Text(kOemId, 6).U8(2).U32(0).U32(kSize).U64(Raw(xsdt)).U8(0).Zeros(3);
  Bytes rsdp = writer.Take();
  rsdp[kChecksum] = Checksum(std::span(rsdp).first(kFirstPart));
  rsdp[kExtendedChecksum] = Checksum(rsdp);
  return rsdp;
}

}  // namespace berth::vmm::acpi
