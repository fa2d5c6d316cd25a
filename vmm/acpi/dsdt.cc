#include "vmm/acpi/aml.h"
#include "vmm/acpi/sdt.h"

namespace berth::vmm::acpi {
namespace {

using namespace aml;  // NOLINT(google-build-using-namespace): the terms of one language

Bytes ProximityOf(const std::optional<uint32_t>& node, const DomainMap& domains) {
  return node ? Name("_PXM", Integer(domains.at(*node))) : Bytes();
}

Bytes Processors(const AcpiInput& input, const DomainMap& domains) {
  constexpr uint64_t kPresent = 0xf;
  ByteWriter devices;
  for (size_t uid = 0; uid < input.vcpus.size(); ++uid) {
    const AcpiVcpu& vcpu = input.vcpus[uid];
    devices.Append(Device(NumberedName("C%03X", uid),
                          Join({Name("_HID", String("ACPI0007")), Name("_UID", Integer(uid)),
                                input.hotplug.cpu != 0 ? HotplugVcpu(input, uid)
                                                       : Name("_STA", Integer(vcpu.present ? kPresent : 0)),
                                ProximityOf(vcpu.node, domains)})));
  }
  return devices.Take();
}

// The ECAM areas, claimed by a device of their own: Linux uses them only if something has reserved them.
Bytes MotherboardResources(const AcpiInput& input) {
  ByteWriter areas;
  for (const AcpiPciSegment& segment : input.segments) {
    uint64_t end = segment.ecam_base + layout::kPciConfigSegmentSize;
    if (end <= layout::kMmio32End) {
      areas.Append(FixedMemory32(static_cast<uint32_t>(segment.ecam_base), layout::kPciConfigSegmentSize));
    } else {
      areas.Append(ConsumedMemory64(segment.ecam_base, layout::kPciConfigSegmentSize));
    }
  }
  return Device("MBRD", Join({Name("_HID", EisaId("PNP0C02")), Name("_UID", Integer(0)),
                              Name("_CRS", ResourceTemplate(areas.bytes()))}));
}

Bytes BridgeWindows(const AcpiPciSegment& segment) {
  ByteWriter windows;
  windows.Append(BusWindow(0, 0));
  if (segment.io) {
    windows.Append(IoPorts(layout::kPciConfigAddressPort, layout::kPciConfigPortSize));
    windows.Append(IoWindow(static_cast<uint16_t>(segment.io->base),
                            static_cast<uint16_t>(segment.io->base + segment.io->size - 1)));
  }
  if (segment.mmio32) {
    windows.Append(MemoryWindow32(static_cast<uint32_t>(segment.mmio32->base),
                                  static_cast<uint32_t>(segment.mmio32->base + segment.mmio32->size - 1)));
  }
  if (segment.mmio64) {
    windows.Append(MemoryWindow64(segment.mmio64->base, segment.mmio64->base + segment.mmio64->size - 1));
  }
  return ResourceTemplate(windows.bytes());
}

// INTA of each slot goes to one of the GSIs, round robin (6.2.13: slot in the high word, pin, source, GSI).
Bytes InterruptRouting(const AcpiPciSegment& segment) {
  if (segment.intx_gsis.empty()) return {};
  constexpr uint32_t kAllFunctions = 0xffff;
  std::vector<Bytes> entries;
  for (uint32_t slot = 0; slot < layout::kPciSlotsPerSegment; ++slot) {
    uint32_t gsi = segment.intx_gsis[slot % segment.intx_gsis.size()];
    entries.push_back(Package({Integer(slot << 16 | kAllFunctions), Integer(0), Integer(0), Integer(gsi)}));
  }
  return Name("_PRT", Package(entries));
}

Bytes HostBridge(const AcpiPciSegment& segment, const DomainMap& domains, bool hotplug) {
  return Device(NumberedName("PC%02X", segment.segment),
                Join({Name("_HID", EisaId("PNP0A08")), Name("_CID", EisaId("PNP0A03")),
                      Name("_SEG", Integer(segment.segment)), Name("_UID", Integer(segment.segment)),
                      Name("_BBN", Integer(0)), Name("_CCA", Integer(1)), ProximityOf(segment.node, domains),
                      Name("_CRS", BridgeWindows(segment)), InterruptRouting(segment),
                      hotplug ? HotplugSlots(segment) : Bytes()}));
}

Bytes SerialPort() {
  return Device("COM1",
                Join({Name("_HID", EisaId("PNP0501")), Name("_UID", Integer(0)), Name("_DDN", String("COM1")),
                      Name("_CRS", ResourceTemplate(Join({IoPorts(layout::kCom1Port, layout::kCom1PortSize),
                                                          EdgeInterrupt(layout::kCom1Irq)})))}));
}

// Without an interrupt: the clock has no alarm. A guest that finds no such device probes for one with IRQ 8,
// and complains.
Bytes RealTimeClock() {
  return Device("RTC_",
                Join({Name("_HID", EisaId("PNP0B00")),
                      Name("_CRS", ResourceTemplate(IoPorts(layout::kRtcPort, layout::kRtcPortSize)))}));
}

Bytes PowerButton() {
  return Device("PWRB", Join({Name("_HID", EisaId("PNP0C0C")), Name("_UID", Integer(0))}));
}

// The generic event device (5.6.9): its interrupt runs _EVT, which reads what has happened.
Bytes EventDevice(const AcpiInput& input) {
  constexpr uint8_t kButtonPressed = 0x80;
  Bytes body =
      Join({Store(NameString("GDAT"), Local(0)),
            If(And(Local(0), Integer(layout::kGedPowerButton)), Notify("\\_SB_.PWRB", kButtonPressed)),
            HotplugEvents(input, Local(0))});
  return Device(
      "GED_", Join({Name("_HID", String("ACPI0013")), Name("_UID", Integer(0)),
                    Name("_CRS", ResourceTemplate(EdgeInterrupt(input.ged_gsi))),
                    OperationRegion("GDST", RegionSpace::kSystemMemory, input.ged_address, layout::kGedSize),
                    ByteField("GDST", "GDAT", 8), Method("_EVT", 1, true, body)}));
}

}  // namespace

Bytes BuildDsdt(const AcpiInput& input, const DomainMap& domains) {
  constexpr uint8_t kRevision = 2;  // integers of 64 bits
  ByteWriter system;
  system.Append(Processors(input, domains)).Append(MotherboardResources(input));
  for (const AcpiPciSegment& segment : input.segments)
    system.Append(HostBridge(segment, domains, input.hotplug.pci != 0));
  if (input.com1) system.Append(SerialPort());
  system.Append(RealTimeClock()).Append(PowerButton());
  system.Append(HotplugControllers(input, domains)).Append(EventDevice(input));
  Bytes sleep = Package({Integer(layout::kSleepTypeS5), Integer(0), Integer(0), Integer(0)});
  return FinishTable("DSDT", kRevision, Join({Scope("\\_SB_", system.bytes()), Name("\\_S5_", sleep)}));
}

}  // namespace berth::vmm::acpi
