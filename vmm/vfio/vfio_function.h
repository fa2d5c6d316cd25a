#pragma once

#include <array>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "common/status.h"
#include "common/unique_fd.h"
#include "vmm/bus/event_loop.h"
#include "vmm/bus/interrupts.h"
#include "vmm/bus/pci_function.h"
#include "vmm/dma/dma_engine.h"
#include "vmm/dma/dma_gate.h"
#include "vmm/kvm/memory_slots.h"
#include "vmm/vfio/bars.h"
#include "vmm/vfio/config_space.h"
#include "vmm/vfio/interrupts.h"
#include "vmm/vfio/vfio_device.h"

namespace berth::vmm {

// What an assigned device uses of the machine. All of it outlives the function.
struct VfioParts {
  KvmVm* vm = nullptr;
  MsiController* interrupts = nullptr;
  MemorySlots* slots = nullptr;
  EventLoop* loop = nullptr;
  DmaEngine* peers = nullptr;  // null: other devices cannot reach its BARs
  DmaGate* gate = nullptr;     // of its I/O address space; null: nobody asks whether it does DMA
  bool lines = true;           // interrupt lines work (AssignedConfig)
};

// What happens to the device outside of the guest. Called on the event loop's thread.
struct VfioEvents {
  std::function<void(const std::string& id)> on_error;   // an error that it does not recover from
  std::function<void(const std::string& id)> on_wanted;  // the host wants it back; repeated until it is
};

// A device of the host in a slot of the guest. Made anew for each power-on, from a device that was reset.
class VfioFunction final : public PciFunction {
 public:
  static Result<std::shared_ptr<VfioFunction>> Create(std::shared_ptr<VfioDevice> device, std::string id,
                                                      const VfioParts& parts);
  ~VfioFunction() override;

  // Once it has its slot: `connect` makes its line on the slot's interrupt pin.
  Status Start(const AssignedIntx::ConnectLine& connect, VfioEvents events);

  const std::string& id() const { return id_; }
  PciConfigSpace& config() override { return config_->header(); }
  void ReadConfig(uint32_t offset, std::span<uint8_t> data) override;
  void WriteConfig(uint32_t offset, std::span<const uint8_t> data) override;
  std::shared_ptr<BusDevice> BarDevice(uint32_t index) override { return bars_.at(index); }
  void BarMoved(uint32_t index, std::optional<uint64_t> base) override;

  // Guest-physical bytes that are mapped now.
  uint64_t mapped_bytes() const;
  uint64_t peer_bytes() const;

 private:
  VfioFunction(std::shared_ptr<VfioDevice> device, std::string id, const VfioParts& parts)
      : device_(std::move(device)), id_(std::move(id)), parts_(parts) {}
  Status AddBars();
  Status TellKvm();
  // Changes what may turn bus mastering on or off.
  void ThroughGate(const std::function<void()>& change);
  // One of the event descriptors that VFIO signals; none when the device has no such event.
  Status Watch(uint32_t irq_index, UniqueFd& event, std::function<void()> handle);
  void Unwatch(uint32_t irq_index, UniqueFd& event);
  void SyncInterrupts(bool msi_written, bool msix_written);

  const std::shared_ptr<VfioDevice> device_;
  const std::string id_;
  const VfioParts parts_;
  VfioEvents events_;
  std::unique_ptr<AssignedConfig> config_;
  std::unique_ptr<AssignedIntx> intx_;
  std::unique_ptr<AssignedMsi> msi_;
  std::shared_ptr<AssignedMsix> msix_;
  std::array<std::shared_ptr<AssignedBar>, PciConfigSpace::kBars> bars_;
  std::array<std::unique_ptr<BarMapping>, PciConfigSpace::kBars> mappings_;
  bool known_to_kvm_ = false;
  UniqueFd error_event_;
  UniqueFd wanted_event_;
};

}  // namespace berth::vmm
