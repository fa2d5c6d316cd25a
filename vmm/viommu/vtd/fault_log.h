#pragma once

#include <array>
#include <cstdint>
#include <mutex>

#include "vmm/viommu/vtd/event.h"
#include "vmm/viommu/vtd/spec.h"

namespace berth::vmm::vtd {

// The fault recording registers, the fault status and the fault event (VT-d 7.2 and 7.3). Faults that come
// when all records are taken are lost, which the status tells. Thread-safe.
class FaultLog {
 public:
  explicit FaultLog(Event::Deliver deliver) : event_(std::move(deliver)) {}

  void RecordAccess(uint16_t source, uint64_t address, bool write, Reason reason);
  void RecordInterrupt(uint16_t source, uint16_t index, Reason reason);
  // The invalidation queue has stopped; or it may go on (software has cleared the error).
  void SetQueueError();
  bool queue_error() const;

  // 32-bit registers of the range [kFaultStatus, kFaultUpperAddress] and of the records.
  static bool Owns(uint32_t offset);
  uint32_t Read(uint32_t offset) const;
  void Write(uint32_t offset, uint32_t value);

 private:
  struct Entry {
    uint64_t low = 0, high = 0;
  };
  void Record(uint64_t low, uint64_t high);
  uint32_t Status() const;
  void ClearEventIfQuiet();

  mutable std::mutex mutex_;  // guards what follows
  Event event_;
  std::array<Entry, kFaultRecordCount> records_{};
  uint32_t next_ = 0;   // record for the next fault
  uint32_t first_ = 0;  // index of the first pending one (FRI)
  bool overflow_ = false;
  bool queue_error_ = false;
};

}  // namespace berth::vmm::vtd
