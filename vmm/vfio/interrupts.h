#pragma once

#include <sys/eventfd.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "common/status.h"
#include "common/unique_fd.h"
#include "vmm/bus/event_loop.h"
#include "vmm/bus/interrupts.h"
#include "vmm/vfio/config_space.h"
#include "vmm/vfio/vfio_device.h"

namespace berth::vmm {

// INTx of an assigned device. The kernel signals an event and masks the line in the device; the event raises
// the guest's pin, and the end of the guest's interrupt lowers it and unmasks the device, which signals again
// if it still wants to be served. Thread-safe.
class AssignedIntx {
 public:
  // Makes the guest's line; what is given is called at each end of an interrupt.
  using ConnectLine = std::function<std::unique_ptr<IrqLine>(std::function<void()> on_end)>;

  // The references outlive it. Off at first.
  static Result<std::unique_ptr<AssignedIntx>> Create(VfioDevice& device, EventLoop& loop,
                                                      const ConnectLine& connect);
  ~AssignedIntx();

  void Enable();
  void Disable();

 private:
  AssignedIntx(VfioDevice& device, EventLoop& loop) : device_(device), loop_(loop) {}
  void Fired();
  void Ended();

  VfioDevice& device_;
  EventLoop& loop_;
  UniqueFd event_;
  std::atomic<bool> enabled_{false};
  std::unique_ptr<IrqLine> line_;  // last: its end-of-interrupt callback uses what is above
};

// MSI of an assigned device: follows the registers that the guest writes. The device's interrupts go straight
// to KVM. Thread-compatible: the segment's lock is held.
class AssignedMsi {
 public:
  AssignedMsi(VfioDevice& device, MsiController& controller, const AssignedConfig& config)
      : device_(device), controller_(controller), config_(config) {}
  ~AssignedMsi() { Disable(); }

  // To be called after each write to the capability. On error no interrupts are delivered.
  Status Update();
  void Disable();
  bool enabled() const { return !routes_.empty(); }
  bool wanted() const;
  uint32_t Pending() const;

 private:
  Status Program();

  VfioDevice& device_;
  MsiController& controller_;
  const AssignedConfig& config_;
  std::vector<std::unique_ptr<MsiRoute>> routes_;  // one a vector while enabled
};

// MSI-X of an assigned device: the table and pending bits that the guest sees. The device's interrupts go
// straight to KVM; those of a masked vector wait in its event descriptor. Thread-safe.
class AssignedMsix {
 public:
  static constexpr uint32_t kEntrySize = 16;

  AssignedMsix(VfioDevice& device, MsiController& controller, uint16_t vectors);
  ~AssignedMsix() { SetControl(0); }

  uint64_t table_size() const { return uint64_t{kEntrySize} * entries_.size(); }
  uint64_t pba_size() const { return (entries_.size() + 63) / 64 * 8; }
  // After each write to the capability's message control.
  void SetControl(uint16_t message_control);
  bool enabled();

  // Ranges outside read as zero. Writes take effect as aligned 4 or 8 bytes only.
  void ReadTable(uint64_t offset, std::span<uint8_t> data);
  void WriteTable(uint64_t offset, std::span<const uint8_t> data);
  void ReadPba(uint64_t offset, std::span<uint8_t> data);

 private:
  struct Entry {
    std::array<uint32_t, 4> words = {0, 0, 0, 1};  // address, data, vector control: masked
    std::unique_ptr<MsiRoute> route;               // once the vector is allocated in the host
    bool routed = false;                           // the route has the entry's message
  };
  // With mutex_ held:
  bool Masked(const Entry& entry) const;
  Status Allocate(size_t vectors);  // in the host; more than before
  void Release();
  void Update(size_t index);

  VfioDevice& device_;
  MsiController& controller_;
  std::mutex mutex_;  // guards what follows, but not the number of entries
  std::vector<Entry> entries_;
  size_t allocated_ = 0;  // vectors that the host has for the device; 0: MSI-X is off
  uint16_t control_ = 0;
};

}  // namespace berth::vmm
