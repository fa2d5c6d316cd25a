#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "common/status.h"
#include "vmm/bus/bus.h"
#include "vmm/bus/pci_function.h"
#include "vmm/config/vm_config.h"
#include "vmm/devices/ioapic.h"
#include "vmm/kvm/kvm.h"
#include "vmm/machine/pci_topology.h"
#include "vmm/viommu/vtd/unit.h"

namespace berth::vmm {

// Bits of the addresses that the units of VT-d translate: those asked for, or 48 where the host's IOMMU has
// as many for each assigned device (up to `last_address`), or 39. kFailedPrecondition when it has not.
Result<uint32_t> ChooseIntelWidth(const PlatformConfig& platform, uint64_t last_address);

// The remapping units of a board, one for each PCI segment, on its bus. Thread-safe.
class IntelIommu {
 public:
  // All of it outlives the units.
  struct Parts {
    IommuDomains* domains = nullptr;
    const GuestMemory* memory = nullptr;
    MsiController* interrupts = nullptr;
    KvmVm* vm = nullptr;
    std::shared_ptr<IoApic> ioapic;
    uint32_t address_width = 48;
    uint32_t physical_bits = 46;
    bool extended_interrupts = true;
    VirtioEndpoint::FaultHandler on_fault;
  };
  // The IOAPIC's interrupts are remapped by segment 0's unit from now on.
  static Result<std::unique_ptr<IntelIommu>> Create(const Parts& parts, uint32_t segments, Bus& mmio);

  uint32_t segments() const { return static_cast<uint32_t>(units_.size()); }
  uint32_t address_width() const { return address_width_; }
  bool extended_interrupts() const { return units_.front()->remapper().extended(); }
  static uint64_t RegistersOf(uint32_t segment);

  // What a function of a segment allocates its interrupts from, and the function as it is put into its slot:
  // it keeps that as long as it is there.
  std::shared_ptr<MsiController> MakeInterrupts(uint32_t segment);
  static std::shared_ptr<PciFunction> Keep(std::shared_ptr<PciFunction> function,
                                           std::shared_ptr<MsiController> interrupts);
  // It has come to its slot.
  static void Placed(MsiController& interrupts, const PciPlace& place);

  // An endpoint of the domains at a place.
  void Joined(const PciPlace& place) { units_.at(place.segment)->AddDevice(place.function()); }
  void Left(const PciPlace& place) { units_.at(place.segment)->RemoveDevice(place.function()); }
  void Report(const IommuFault& fault) { units_.at(fault.endpoint >> 16)->Report(fault); }

  uint64_t faults() const;
  uint64_t pages_not_mapped() const;

 private:
  explicit IntelIommu(uint32_t address_width) : address_width_(address_width) {}

  const uint32_t address_width_;
  std::vector<std::shared_ptr<vtd::Unit>> units_;  // shared with the bus
};

}  // namespace berth::vmm
