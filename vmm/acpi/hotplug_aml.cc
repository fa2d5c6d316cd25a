#include <cstdio>

#include "vmm/acpi/aml.h"
#include "vmm/acpi/sdt.h"

// The controllers by which the guest learns what has been plugged and gives back what is asked for. Each has
// a register block (vmm/devices/*_hotplug.h), a mutex because registers are selected first, and a scan method
// that the generic event device runs. Notifications: 1 = look again, 3 = eject.
namespace berth::vmm::acpi {
namespace {

using namespace aml;  // NOLINT(google-build-using-namespace): the terms of one language

constexpr uint8_t kDeviceCheck = 1;
constexpr uint8_t kEjectRequest = 3;
constexpr uint64_t kPresent = 0xf;

Bytes Controller(std::string_view name, std::string_view id, uint64_t address, uint64_t size,
                 const Bytes& content) {
  constexpr uint64_t kHidden = 0xb;  // present, enabled, working; not shown
  return Device(
      name, Join({Name("_HID", EisaId("PNP0A06")), Name("_UID", String(id)), Name("_STA", Integer(kHidden)),
                  Name("_CRS", ResourceTemplate(ConsumedMemory64(address, size))), content}));
}

Bytes Set(std::string_view name, uint64_t value) {
  return Store(Integer(value), NameString(name));
}

// While (Local0 < count) { `body`; Local0++ }
Bytes ForEach(uint64_t count, const Bytes& body) {
  return Join({Store(Integer(0), Local(0)),
               While(Less(Local(0), Integer(count)), Join({body, Increment(Local(0))}))});
}

// Registers: selector at 0; status byte at 4 with bits enabled, inserting, removing, eject.
Bytes CpuController(const AcpiInput& input) {
  ByteWriter tell;
  for (size_t uid = 0; uid < input.vcpus.size(); ++uid) {
    tell.Append(If(Equal(Arg(0), Integer(uid)), NotifyValue(NumberedName("\\_SB_.C%03X", uid), Arg(1))));
  }
  const Bytes scan =
      ForEach(input.vcpus.size(),
              Join({Store(Local(0), NameString("CSEL")),
                    If(Equal(NameString("CINS"), Integer(1)),
                       Join({Set("CINS", 1), Invoke("CTFY", {Local(0), Integer(kDeviceCheck)})})),
                    If(Equal(NameString("CRMV"), Integer(1)),
                       Join({Set("CRMV", 1), Invoke("CTFY", {Local(0), Integer(kEjectRequest)})}))}));
  const Bytes status = Join({Acquire("CPLK"), Store(Arg(0), NameString("CSEL")), Store(Integer(0), Local(0)),
                             If(Equal(NameString("CPEN"), Integer(1)), Store(Integer(kPresent), Local(0))),
                             Release("CPLK"), Return(Local(0))});
  const Bytes eject =
      Join({Acquire("CPLK"), Store(Arg(0), NameString("CSEL")), Set("CEJT", 1), Release("CPLK")});
  return Controller(
      "PRES", "CPU hotplug", input.hotplug.cpu, layout::kCpuHotplugSize,
      Join({Mutex("CPLK"),
            OperationRegion("PRST", RegionSpace::kSystemMemory, input.hotplug.cpu, layout::kCpuHotplugSize),
            Field("PRST", FieldAccess::kDword, {{"CSEL", 32}}),
            Field("PRST", FieldAccess::kByte, {{"", 32}, {"CPEN", 1}, {"CINS", 1}, {"CRMV", 1}, {"CEJT", 1}}),
            Method("CTFY", 2, false, tell.bytes()),
            Method("CSCN", 0, true, Join({Acquire("CPLK"), scan, Release("CPLK")})),
            Method("CSTA", 1, true, status), Method("CEJ0", 1, true, eject)}));
}

// Registers: base, size and last address of the selected slot at 0, 8, 16; selector at 24; status byte at 28
// with bits enabled, inserting.
Bytes MemorySlot(uint32_t slot, const std::optional<uint32_t>& domain) {
  return Device(NumberedName("M%03X", slot),
                Join({Name("_HID", EisaId("PNP0C80")), Name("_UID", Integer(slot)),
                      Method("_STA", 0, true, Return(Invoke("MSTA", {Integer(slot)}))),
                      Method("_CRS", 0, true, Return(Invoke("MCRS", {Integer(slot)}))),
                      domain ? Name("_PXM", Integer(*domain)) : Bytes()}));
}

Bytes MemoryController(const AcpiInput& input, const DomainMap& domains) {
  // Offsets in the descriptor of a 64-bit window.
  constexpr uint64_t kMinimum = 14, kMaximum = 22, kLength = 38;
  std::optional<uint32_t> domain;
  if (input.hotplug.memory_node) domain = domains.at(*input.hotplug.memory_node);
  ByteWriter slots, tell;
  for (uint32_t slot = 0; slot < layout::kMemoryHotplugSlots; ++slot) {
    slots.Append(MemorySlot(slot, domain));
    tell.Append(If(Equal(Arg(0), Integer(slot)), Notify(NumberedName("M%03X", slot), kDeviceCheck)));
  }
  const Bytes scan = ForEach(
      layout::kMemoryHotplugSlots,
      Join({Store(Local(0), NameString("MSEL")),
            If(Equal(NameString("MINS"), Integer(1)), Join({Set("MINS", 1), Invoke("MTFY", {Local(0)})}))}));
  const Bytes status = Join({Acquire("MLCK"), Store(Arg(0), NameString("MSEL")), Store(Integer(0), Local(0)),
                             If(Equal(NameString("MPEN"), Integer(1)), Store(Integer(kPresent), Local(0))),
                             Release("MLCK"), Return(Local(0))});
  const Bytes resources = Join(
      {Acquire("MLCK"), Store(Arg(0), NameString("MSEL")),
       Name("MR64", ResourceTemplate(MemoryWindow64(0, 0xfff))), CreateQwordField("MR64", kMinimum, "MINA"),
       CreateQwordField("MR64", kMaximum, "MAXA"), CreateQwordField("MR64", kLength, "LENA"),
       Store(NameString("MBAS"), NameString("MINA")), Store(NameString("MLAS"), NameString("MAXA")),
       Store(NameString("MLEN"), NameString("LENA")), Release("MLCK"), Return(NameString("MR64"))});
  return Controller("MHPC", "Memory hotplug", input.hotplug.memory, layout::kMemoryHotplugSize,
                    Join({Mutex("MLCK"),
                          OperationRegion("MHPR", RegionSpace::kSystemMemory, input.hotplug.memory,
                                          layout::kMemoryHotplugSize),
                          Field("MHPR", FieldAccess::kQword, {{"MBAS", 64}, {"MLEN", 64}, {"MLAS", 64}}),
                          Field("MHPR", FieldAccess::kDword, {{"", 192}, {"MSEL", 32}}),
                          Field("MHPR", FieldAccess::kByte, {{"", 224}, {"MPEN", 1}, {"MINS", 1}}),
                          Method("MSTA", 1, true, status), Method("MCRS", 1, true, resources), slots.bytes(),
                          Method("MTFY", 1, false, tell.bytes()),
                          Method("MSCN", 0, true, Join({Acquire("MLCK"), scan, Release("MLCK")}))}));
}

// Registers: slots that came at 0 and that are to go at 4, both cleared by reading; eject at 8; segment
// at 12.
Bytes PciController(const AcpiInput& input) {
  ByteWriter scan;
  for (const AcpiPciSegment& segment : input.segments) {
    scan.Append(Invoke(NumberedName("\\_SB_.PC%02X", segment.segment) + ".PCNT", {}));
  }
  const Bytes eject = Join({Acquire("BLCK"), Store(Arg(1), NameString("PSEG")),
                            Store(ShiftLeft(Integer(1), Arg(0)), NameString("B0EJ")), Release("BLCK")});
  return Controller(
      "PHPR", "PCI hotplug", input.hotplug.pci, layout::kPciHotplugSize,
      Join({Mutex("BLCK"),
            OperationRegion("PCST", RegionSpace::kSystemMemory, input.hotplug.pci, layout::kPciHotplugSize),
            Field("PCST", FieldAccess::kDword, {{"PCIU", 32}, {"PCID", 32}, {"B0EJ", 32}, {"PSEG", 32}}),
            Method("PCEJ", 2, true, eject), Method("PSCN", 0, true, scan.bytes())}));
}

}  // namespace

std::string NumberedName(const char* format, size_t number) {
  char text[32];
  const int length = std::snprintf(text, sizeof text, format, static_cast<unsigned>(number));
  CHECK(length > 0 && static_cast<size_t>(length) < sizeof text);
  return text;
}

Bytes HotplugVcpu(const AcpiInput& input, size_t uid) {
  const Bytes entry = LocalApic(uid, input.vcpus[uid].apic_id, kApicEnabled);
  Bytes objects = Join({Method("_STA", 0, true, Return(Invoke("\\_SB_.PRES.CSTA", {Integer(uid)}))),
                        Name("_MAT", Buffer(entry))});
  if (uid == 0) return objects;  // the boot processor stays
  return Join({objects, Method("_EJ0", 1, true, Invoke("\\_SB_.PRES.CEJ0", {Integer(uid)}))});
}

Bytes HotplugSlots(const AcpiPciSegment& segment) {
  ByteWriter slots, tell;
  const Bytes number = Integer(segment.segment);
  for (uint32_t slot = segment.segment == 0 ? 1 : 0; slot < layout::kPciSlotsPerSegment; ++slot) {
    const std::string name = NumberedName("S%03X", slot);
    slots.Append(
        Device(name, Join({Name("_ADR", Integer(uint64_t{slot} << 16)), Name("_SUN", Integer(slot)),
                           Method("_EJ0", 1, true, Invoke("\\_SB_.PHPR.PCEJ", {Integer(slot), number}))})));
    tell.Append(If(And(Arg(0), Integer(uint64_t{1} << slot)), NotifyValue(name, Arg(1))));
  }
  const Bytes scan =
      Join({Acquire("\\_SB_.PHPR.BLCK"), Store(number, NameString("\\_SB_.PHPR.PSEG")),
            Store(NameString("\\_SB_.PHPR.PCIU"), Local(0)), Store(NameString("\\_SB_.PHPR.PCID"), Local(1)),
            Release("\\_SB_.PHPR.BLCK"), Invoke("DVNT", {Local(0), Integer(kDeviceCheck)}),
            Invoke("DVNT", {Local(1), Integer(kEjectRequest)})});
  return Join({slots.bytes(), Method("DVNT", 2, true, tell.bytes()), Method("PCNT", 0, true, scan)});
}

Bytes HotplugControllers(const AcpiInput& input, const DomainMap& domains) {
  ByteWriter controllers;
  if (input.hotplug.cpu != 0) controllers.Append(CpuController(input));
  if (input.hotplug.memory != 0) controllers.Append(MemoryController(input, domains));
  if (input.hotplug.pci != 0) controllers.Append(PciController(input));
  return controllers.Take();
}

Bytes HotplugEvents(const AcpiInput& input, const Bytes& bits) {
  ByteWriter events;
  auto on = [&](uint64_t controller, uint8_t bit, std::string_view scan) {
    if (controller != 0) events.Append(If(And(bits, Integer(bit)), Invoke(scan, {})));
  };
  on(input.hotplug.cpu, layout::kGedCpu, "\\_SB_.PRES.CSCN");
  on(input.hotplug.memory, layout::kGedMemory, "\\_SB_.MHPC.MSCN");
  on(input.hotplug.pci, layout::kGedPci, "\\_SB_.PHPR.PSCN");
  return events.Take();
}

}  // namespace berth::vmm::acpi
