#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>

#include "vmm/bus/device.h"
#include "vmm/bus/interrupts.h"
#include "vmm/memory/guest_memory.h"
#include "vmm/viommu/domains.h"
#include "vmm/viommu/virtio_endpoint.h"
#include "vmm/viommu/vtd/event.h"
#include "vmm/viommu/vtd/fault_log.h"
#include "vmm/viommu/vtd/interrupt_remapper.h"
#include "vmm/viommu/vtd/remapped_routes.h"
#include "vmm/viommu/vtd/spaces.h"

namespace berth::vmm::vtd {

// A remapping unit of Intel VT-d, for all devices of one PCI segment: its registers and what they set in
// motion. Legacy mode, queued invalidation, caching mode, interrupt remapping. All work happens within the
// guest's access to a register, so that it is done when the guest goes on. Thread-safe.
class Unit final : public BusDevice {
 public:
  struct Options {
    Limits limits;
    uint32_t segment = 0;
    bool extended_interrupts = true;  // EIM: the local APICs can have 32-bit numbers
  };
  struct Hooks {
    Event::Deliver deliver;  // the unit's own interrupts
    // Messages are remapped in another way from now on; the routes of functions are brought up to date by the
    // unit. Must not access the unit's registers.
    std::function<void()> on_interrupts_changed = {};
    // The first accesses that were not let through, on the threads of the devices.
    VirtioEndpoint::FaultHandler on_fault = {};
  };
  // The references outlive it.
  Unit(IommuDomains& domains, const GuestMemory& memory, MsiController& interrupts, const Options& options,
       Hooks hooks);

  void Read(uint64_t offset, std::span<uint8_t> data) override;
  void Write(uint64_t offset, std::span<const uint8_t> data) override;

  // A device of the segment that has just become an endpoint of the domains, or is to be so no longer.
  void AddDevice(uint16_t source);
  void RemoveDevice(uint16_t source);
  // An access that the domains have refused. From any thread.
  void Report(const IommuFault& fault);

  // What a function of the segment allocates its interrupts from; outlived by the unit.
  std::unique_ptr<RemappedRoutes::Function> MakeFunction() {
    return std::make_unique<RemappedRoutes::Function>(routes_);
  }
  const InterruptRemapper& remapper() const { return remapper_; }

  uint64_t faults() const;
  uint64_t pages_not_mapped() const;

 private:
  // With mutex_ held:
  uint32_t ReadWord(uint32_t offset) const;
  void WriteWord(uint32_t offset, uint32_t value);
  uint64_t* WideRegister(uint32_t offset);
  void WriteWide(uint32_t offset, uint32_t value);
  void Command(uint32_t value);
  void ServeQueue();
  bool ServeDescriptor(uint64_t low, uint64_t high);
  void Carry(const Invalidation& what);
  void Complete(const Invalidation& wait);
  void InterruptsChanged(uint32_t first, uint32_t last);

  const GuestMemory& memory_;
  const Options options_;
  const Hooks hooks_;
  FaultLog faults_;
  InterruptRemapper remapper_;
  RemappedRoutes routes_;

  mutable std::mutex mutex_;  // guards what follows
  Spaces spaces_;
  Event completion_;
  uint32_t status_ = 0;  // GSTS_REG
  uint64_t root_table_ = 0;
  uint64_t current_root_ = 0;
  uint64_t context_command_ = 0;
  uint64_t queue_head_ = 0;
  uint64_t queue_tail_ = 0;
  uint64_t queue_address_ = 0;
  bool waited_ = false;  // ICS_REG, IWC
  uint64_t interrupt_table_ = 0;
  uint64_t invalidate_address_ = 0;
  uint64_t invalidate_command_ = 0;
  uint64_t work_ = 0;
  uint64_t fault_count_ = 0;
};

}  // namespace berth::vmm::vtd
