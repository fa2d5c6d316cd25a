#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "common/status.h"
#include "vmm/bus/device.h"
#include "vmm/dma/dma_engine.h"
#include "vmm/kvm/memory_slots.h"
#include "vmm/vfio/interrupts.h"
#include "vmm/vfio/vfio_device.h"

namespace berth::vmm {

// The whole pages of `mappable` without those that hold a byte of `trapped`. Pure.
std::vector<VfioArea> PagesWithout(const std::vector<VfioArea>& mappable,
                                   const std::vector<VfioArea>& trapped);

// What is not mapped of a BAR: each access becomes one of the device's, except that the MSI-X table and
// pending bits are ours. Thread-safe.
class AssignedBar final : public BusDevice {
 public:
  struct MsixPart {
    std::shared_ptr<AssignedMsix> msix;  // none: this BAR has no part of it
    std::optional<VfioArea> table;
    std::optional<VfioArea> pba;
  };

  AssignedBar(std::shared_ptr<VfioDevice> device, uint32_t region, MsixPart part)
      : device_(std::move(device)), region_(region), part_(std::move(part)) {}
  void Read(uint64_t offset, std::span<uint8_t> data) override;
  void Write(uint64_t offset, std::span<const uint8_t> data) override;

 private:
  const std::shared_ptr<VfioDevice> device_;
  const uint32_t region_;
  const MsixPart part_;
};

// The pages of a BAR that the guest reaches without the VMM, and by which other assigned devices reach this
// one. They move together, and what cannot be mapped is still reached through AssignedBar.
// Thread-compatible.
class BarMapping {
 public:
  // `dma` may be null: no peer to peer. The references outlive it.
  static Result<std::unique_ptr<BarMapping>> Create(VfioDevice& device, uint32_t region,
                                                    const std::vector<VfioArea>& areas, MemorySlots& slots,
                                                    DmaEngine* dma);
  ~BarMapping() { MoveTo(std::nullopt); }
  BarMapping(const BarMapping&) = delete;
  BarMapping& operator=(const BarMapping&) = delete;

  // The BAR is decoded at this guest-physical address from now on, or nowhere.
  void MoveTo(std::optional<uint64_t> base);
  // Bytes that the guest reaches directly, and those that other devices reach.
  uint64_t mapped_bytes() const;
  uint64_t peer_bytes() const;

 private:
  struct Area {
    VfioArea area;
    uint8_t* host = nullptr;
    std::optional<uint32_t> slot;
    std::optional<uint64_t> peer;  // where it is in the I/O address space
  };
  BarMapping(VfioDevice& device, uint32_t region, MemorySlots& slots, DmaEngine* dma)
      : device_(device), region_(region), slots_(slots), dma_(dma) {}
  void Remove(Area& area);
  void RemovePeer(Area& area);
  void Add(Area& area, uint64_t base);

  VfioDevice& device_;
  const uint32_t region_;
  MemorySlots& slots_;
  DmaEngine* const dma_;
  std::vector<Area> areas_;
  std::optional<uint64_t> base_;
};

}  // namespace berth::vmm
