#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "common/status.h"
#include "common/unique_fd.h"
#include "vmm/bus/device.h"
#include "vmm/bus/interrupts.h"
#include "vmm/bus/msix.h"
#include "vmm/bus/pci_function.h"
#include "vmm/memory/guest_memory.h"
#include "vmm/virtio/device.h"

namespace berth::vmm {

// A virtio device as a modern PCI function (virtio 1.2, 4.1): one 64-bit BAR of 64 KiB with the common
// configuration at 0, ISR at 0x1000, device configuration at 0x2000, notifications at 0x3000 (4 bytes a
// queue), the MSI-X table at 0x8000 and its pending bits at 0xc000; interrupts by MSI-X only, one vector a
// queue and one for the configuration. Thread-safe. Held by its segment and, while mapped, by the MMIO bus.
class VirtioPciTransport : public PciFunction,
                           public BusDevice,
                           public Stateful,
                           public std::enable_shared_from_this<VirtioPciTransport> {
 public:
  static constexpr uint64_t kBarSize = 0x10000;
  static constexpr uint64_t kCommonOffset = 0x0000;
  static constexpr uint64_t kIsrOffset = 0x1000;
  static constexpr uint64_t kDeviceOffset = 0x2000;
  static constexpr uint64_t kNotifyOffset = 0x3000;
  static constexpr uint64_t kMsixTableOffset = 0x8000;
  static constexpr uint64_t kMsixPbaOffset = 0xc000;
  static constexpr uint64_t kWindowSize = 0x1000;
  static constexpr uint32_t kNotifyMultiplier = 4;

  // The references must outlive the transport. With a translator the device is behind a virtual IOMMU;
  // `restricted`: it reaches a part of the guest's memory only. Both work only with a driver that accepts
  // VIRTIO_F_ACCESS_PLATFORM (virtio 1.2, 6). Errors: descriptors or interrupt routes have run out.
  static Result<std::shared_ptr<VirtioPciTransport>> Create(
      std::shared_ptr<VirtioDevice> device, const GuestMemory& memory, MsiController& interrupts,
      IoEventRegistry& io_events, std::shared_ptr<AddressTranslator> translator = nullptr,
      bool restricted = false);
  ~VirtioPciTransport() override;

  // PciFunction
  PciConfigSpace& config() override { return config_; }
  void ReadConfig(uint32_t offset, std::span<uint8_t> data) override;
  void WriteConfig(uint32_t offset, std::span<const uint8_t> data) override;
  std::shared_ptr<BusDevice> BarDevice(uint32_t index) override;
  void BarMoved(uint32_t index, std::optional<uint64_t> base) override;
  Stateful* stateful() override { return this; }

  // Stateful
  Status Suspend() override;
  void Resume() override;
  void Save(StateWriter& out) override;
  void Load(StateReader& in) override;

  // The BAR
  void Read(uint64_t offset, std::span<uint8_t> data) override;
  void Write(uint64_t offset, std::span<const uint8_t> data) override;

 private:
  // What worker threads use, without the transport's lock.
  class Interrupts : public VirtioInterrupt {
   public:
    Interrupts(std::unique_ptr<Msix> msix_table, size_t queues, uint16_t device_type);
    void SignalQueue(uint16_t queue) override;
    void SignalConfig() override;
    void Fail(const Status& reason) override;

    const std::unique_ptr<Msix> msix;
    std::atomic<uint8_t> status{0};
    std::atomic<uint8_t> isr{0};
    std::atomic<uint8_t> generation{0};
    std::atomic<uint16_t> config_vector;
    std::vector<std::atomic<uint16_t>> queue_vectors;

   private:
    const uint16_t device_type_;
    std::atomic<uint32_t> logged_{0};
  };
  struct Queue {
    uint16_t size_max = 0;
    uint16_t size = 0;
    bool enabled = false;
    uint64_t descriptors = 0;
    uint64_t driver = 0;
    uint64_t device = 0;
    UniqueFd kick;
  };

  VirtioPciTransport(std::shared_ptr<VirtioDevice> device, const GuestMemory& memory,
                     std::unique_ptr<Msix> msix, IoEventRegistry& io_events,
                     std::shared_ptr<AddressTranslator> translator, bool restricted);
  void AddCapabilities();
  void AddVirtioCapability(uint8_t type, uint64_t offset, uint64_t length, std::span<const uint8_t> extra,
                           bool writable);
  // The BAR access that the registers of the PCI_CFG capability ask for.
  struct Window {
    uint32_t offset;
    uint32_t length;
  };
  std::optional<Window> ConfigWindow() const;

  uint64_t ReadCommon(uint64_t offset) const;
  void WriteCommon(uint64_t offset, uint64_t value);
  void WriteQueueField(uint64_t offset, uint32_t value);
  void WriteStatus(uint8_t value);
  uint16_t CheckedVector(uint64_t value) const;
  Status Activate();
  // The rings as the registers have them; `positions`, one a queue: where they go on.
  Result<VirtioActivation> MakeActivation(const std::vector<SplitQueue::Position>& positions);
  void LoadRegisters(StateReader& in);
  std::vector<SplitQueue::Position> LoadQueues(StateReader& in);
  void ResetDevice();
  void NotifyQueue(uint64_t index);
  // Adds or removes the eventfds of the notification addresses, as activation and BAR want it.
  void SyncIoEvents();

  const std::shared_ptr<VirtioDevice> device_;
  const GuestMemory& memory_;
  IoEventRegistry& io_events_;
  const std::shared_ptr<AddressTranslator> translator_;  // null: not behind an IOMMU
  const uint64_t features_;                              // offered
  Interrupts interrupts_;

  // Guarded by the segment's lock.
  PciConfigSpace config_;
  uint8_t msix_capability_ = 0;
  uint8_t window_capability_ = 0;

  std::mutex mutex_;  // guards what follows; taken after the segment's lock
  std::vector<Queue> queues_;
  uint32_t device_feature_select_ = 0;
  uint32_t driver_feature_select_ = 0;
  uint64_t driver_features_ = 0;
  uint16_t queue_select_ = 0;
  bool active_ = false;
  std::optional<VirtioActivation> suspended_;  // of a device that has been suspended while active_
  bool idle_ =
      false;  // it is active_ for its driver, has failed, and has nothing: until its driver resets it
  std::optional<Status>
      lost_;  // why it will be idle_ from the next Resume on, which its driver has yet to hear
  std::optional<uint64_t> bar_base_;
  // (address, descriptor) registered with io_events_.
  std::vector<std::pair<uint64_t, int>> registered_;
};

}  // namespace berth::vmm
