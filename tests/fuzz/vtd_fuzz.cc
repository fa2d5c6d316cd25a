// Registers, queue and tables of a VT-d unit from a guest that is not to be trusted, with calls of the host's
// IOMMU that fail now and then. What a device reaches is at any time what the domains say, or nothing.
#include <cstdint>
#include <optional>
#include <vector>

#include "common/log.h"
#include "tests/fakes/fake_interrupts.h"
#include "tests/fakes/guest_ram.h"
#include "tests/fuzz/fuzz_input.h"
#include "vmm/dma/fake_iommu.h"
#include "vmm/viommu/vfio_endpoint.h"
#include "vmm/viommu/vtd/unit.h"

namespace {

using namespace berth::vmm;

constexpr uint64_t kPage = 4096;
constexpr uint64_t kRamPages = 32;
constexpr uint16_t kDevices[] = {8, 16};
// Places in guest memory; pages 4 to 11 are second-level tables.
constexpr uint64_t kRoot = 1 * kPage, kContexts = 2 * kPage, kInterrupts = 3 * kPage, kTables = 4 * kPage;
constexpr uint64_t kTableCount = 8, kQueue = 12 * kPage;

constexpr uint32_t kRegisters[] = {
    vtd::kGlobalCommand,     vtd::kRootTable,         vtd::kContextCommand,    vtd::kFaultStatus,
    vtd::kFaultControl,      vtd::kQueueTail,         vtd::kQueueAddress,      vtd::kCompletionStatus,
    vtd::kCompletionControl, vtd::kInterruptTable,    vtd::kInvalidateAddress, vtd::kInvalidateCommand,
    vtd::kFaultRecords + 12, vtd::kFaultRecords + 28, vtd::kCapability,        vtd::kQueueHead};

template <class T>
void Write(vtd::Unit& unit, uint32_t offset, T value) {
  unit.Write(offset, {reinterpret_cast<const uint8_t*>(&value), sizeof value});
}

// One step of a driver that mostly means well.
class Driver {
 public:
  Driver(berth::FuzzInput& input, vtd::Unit& unit, GuestRam& ram) : input_(input), unit_(unit), ram_(ram) {
    ram_.PutObject(kRoot, kContexts | 1);
  }
  void Start() {
    Write(unit_, vtd::kQueueAddress, kQueue);
    Write(unit_, vtd::kRootTable, kRoot);
    Write(unit_, vtd::kInterruptTable, kInterrupts | 1 << 11 | 3);
    Write(unit_, vtd::kGlobalCommand, vtd::kSetRootTable);
    Write(unit_, vtd::kGlobalCommand, vtd::kSetInterruptTable);
    Write(unit_, vtd::kGlobalCommand, vtd::kQueued | vtd::kTranslation | vtd::kRemapping);
  }
  void Step() {
    switch (Small(8)) {
      case 0:
        return WriteRegister();
      case 1:
        return SetContext();
      case 2:
      case 3:
        return SetTableEntry();
      case 4:
        ram_.PutObject(kInterrupts + 8 * Small(40), input_.Take<uint64_t>());
        return;
      default:
        return Queue();
    }
  }

 private:
  uint64_t Small(uint64_t limit) { return input_.Take<uint8_t>() % limit; }
  void WriteRegister() {
    const uint8_t which = input_.Take<uint8_t>();
    const uint32_t offset =
        which < 0xf0 ? kRegisters[which % std::size(kRegisters)] : input_.Take<uint16_t>() % vtd::kUnitSize;
    if (which % 2 == 0) {
      Write(unit_, offset & ~7u, input_.Take<uint64_t>());
    } else {
      Write(unit_, offset & ~3u, input_.Take<uint32_t>());
    }
  }
  void SetContext() {
    const uint64_t devfn = kDevices[Small(2)];
    const uint8_t odd = input_.Take<uint8_t>();
    const uint64_t type = odd % 8 == 0 ? Small(4) : Small(2);
    ram_.PutObject(kContexts + 16 * devfn, (kTables + Small(2) * kPage) | type << 2 | (odd < 0xe0 ? 1 : 0));
    ram_.PutObject(kContexts + 16 * devfn + 8, Small(3) << 8 | (odd % 4 == 0 ? Small(4) : 2));
  }
  // Tables lead to later ones, or anywhere; indexes are few.
  void SetTableEntry() {
    const uint64_t table = Small(kTableCount);
    const uint8_t kind = input_.Take<uint8_t>();
    uint64_t entry = kind & 3;
    if (kind < 0x40) {
      entry |= kTables + std::min(kTableCount - 1, table + 1 + Small(2)) * kPage;
    } else if (kind < 0xe0) {
      entry |= Small(40) * kPage;
    } else {
      entry = input_.Take<uint64_t>();
    }
    ram_.PutObject(kTables + table * kPage + 8 * Small(8), entry);
  }
  void Queue() {
    uint64_t low = 0, high = 0;
    const uint8_t kind = input_.Take<uint8_t>();
    if (kind < 0x20) low = 1 | (1 + Small(3)) << 4 | Small(3) << 16 | uint64_t{kDevices[Small(2)]} << 32;
    if (kind >= 0x20 && kind < 0xa0) {
      low = 2 | (1 + Small(3)) << 4 | Small(3) << 16;
      high = Small(64) * kPage | Small(5);
    }
    if (kind >= 0xa0 && kind < 0xc0) low = 4 | Small(2) << 4 | Small(20) << 32;
    if (kind >= 0xc0 && kind < 0xf0) {
      low = 5 | Small(8) << 4 | Small(256) << 32;
      high = Small(40) * kPage;
    }
    if (kind >= 0xf0) {
      low = input_.Take<uint64_t>();
      high = input_.Take<uint64_t>();
    }
    ram_.PutObject(kQueue + tail_, low);
    ram_.PutObject(kQueue + tail_ + 8, high);
    tail_ = (tail_ + 16) % kPage;
    Write(unit_, vtd::kQueueTail, tail_);
  }

  berth::FuzzInput& input_;
  vtd::Unit& unit_;
  GuestRam& ram_;
  uint64_t tail_ = 0;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const bool quiet = berth::InitFileLogging("fuzz", berth::LogLevel::kError, "/dev/null").ok();
  static_cast<void>(quiet);
  berth::FuzzInput input(data, size);
  GuestRam ram({{0, kRamPages * kPage}});
  FakeIommu hosts[2];
  DmaEngine first(hosts[0].MakeBackend()), second(hosts[1].MakeBackend());
  IommuDomains domains;
  CHECK(domains.AddEndpoint(kDevices[0], std::make_shared<VfioEndpoint>(first, ram.memory())).ok());
  CHECK(domains.AddEndpoint(kDevices[1], std::make_shared<VfioEndpoint>(second, ram.memory())).ok());
  FakeMsiController interrupts;
  vtd::Unit unit(domains, ram.memory(), interrupts, {{48, 40}, 0, true}, {[](const MsiMessage&) {}});
  for (uint16_t device : kDevices) unit.AddDevice(device);
  auto function = unit.MakeFunction();
  function->SetSource(kDevices[0]);
  auto route = *function->AllocateRoute();
  Driver driver(input, unit, ram);
  if (input.Take<uint8_t>() % 8 != 0) driver.Start();
  const uint8_t* base = ram.memory().Span(Gpa{0}, 1)->data();
  for (int steps = 0; !input.empty() && steps < 200; ++steps) {
    const uint8_t aside = input.Take<uint8_t>();
    if (aside % 32 == 0) hosts[steps % 2].FailCall(aside / 32, 12);
    if (aside % 32 == 1)
      unit.Report({kDevices[steps % 2], aside * kPage, aside > 99, IommuFault::Reason::kMapping});
    if (aside % 32 == 2) {
      static_cast<void>(route->Set({0xfee00010u | (aside / 32u) << 5, 0}));
      route->Trigger();
    }
    driver.Step();
    for (int i = 0; i < 2; ++i) {
      for (uint64_t page = 0; page < 40; ++page) {
        const uint8_t* host = hosts[i].Translate(page * kPage, false);
        if (host == nullptr) continue;  // may be blocked after a failure
        const auto translated = domains.Translate(kDevices[i], page * kPage, false);
        CHECK(translated.has_value());
        CHECK(host == base + translated->gpa);
      }
    }
  }
  return 0;
}
