#pragma once

#include <cstdint>
#include <functional>
#include <mutex>

#include "common/status.h"
#include "vmm/bus/device.h"
#include "vmm/bus/interrupts.h"
#include "vmm/memory/guest_memory.h"
#include "vmm/viommu/smmuv3/spec.h"
#include "vmm/viommu/smmuv3/tables.h"

namespace berth::vmm::smmuv3 {

// Arm's SMMUv3: stage 1, stage 2 and both, a command queue, an event queue with message-signalled interrupts.
// Of AArch64 machines. It keeps nothing of the guest's tables, so that commands that invalidate have nothing
// to do but to be checked; a device of the host would need hardware that walks them. Thread-safe.
class Smmu final : public BusDevice {
 public:
  // `deliver` writes a message of the SMMU's own. `memory` outlives it.
  Smmu(const GuestMemory& memory, std::function<void(const MsiMessage&)> deliver)
      : memory_(memory), deliver_(std::move(deliver)) {}

  // Registers take aligned accesses of 4 and, where they have as many, 8 bytes.
  void Read(uint64_t offset, std::span<uint8_t> data) override;
  void Write(uint64_t offset, std::span<const uint8_t> data) override;

  // An access of a device. kPermissionDenied: it does not happen, of which the guest is told.
  struct Translation {
    uint64_t gpa = 0;
    uint64_t length = 0;

    friend bool operator==(const Translation&, const Translation&) = default;
  };
  Result<Translation> Translate(uint32_t stream, uint64_t address, bool write);

 private:
  struct Msi {
    uint64_t address = 0;
    uint32_t data = 0;
  };
  // With mutex_ held:
  uint32_t ReadWord(uint32_t offset) const;
  void WriteWord(uint32_t offset, uint32_t value);
  void ServeCommands();
  CommandFault ServeCommand(uint64_t low, uint64_t high);
  void Record(Event event, uint32_t stream, uint64_t address, bool write, const Place& place);
  void SetError(uint32_t bit);
  void Send(const Msi& msi) const;
  StreamTable Table() const;

  const GuestMemory& memory_;
  const std::function<void(const MsiMessage&)> deliver_;
  std::mutex mutex_;  // guards what follows
  uint32_t control0_ = 0;
  uint32_t control1_ = 0;
  uint32_t control2_ = 0;
  uint32_t bypass_ = 0;
  uint32_t interrupt_control_ = 0;
  uint32_t error_ = 0;
  uint32_t error_ack_ = 0;
  Msi error_msi_;
  uint64_t stream_table_ = 0;
  uint32_t stream_table_form_ = 0;
  uint64_t command_queue_ = 0;
  uint32_t command_producer_ = 0;
  uint32_t command_consumer_ = 0;
  uint64_t event_queue_ = 0;
  uint32_t event_producer_ = 0;
  uint32_t event_consumer_ = 0;
  Msi event_msi_;
};

}  // namespace berth::vmm::smmuv3
