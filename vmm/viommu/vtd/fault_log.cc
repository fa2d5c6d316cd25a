#include "vmm/viommu/vtd/fault_log.h"

namespace berth::vmm::vtd {
namespace {

constexpr uint64_t kFault = uint64_t{1} << 63;       // F
constexpr uint64_t kReadAccess = uint64_t{1} << 62;  // T
constexpr uint64_t kPageMask = 0xfff;

}  // namespace

void FaultLog::RecordAccess(uint16_t source, uint64_t address, bool write, Reason reason) {
  Record(address & ~kPageMask,
         source | uint64_t{static_cast<uint8_t>(reason)} << 32 | (write ? 0 : kReadAccess));
}

void FaultLog::RecordInterrupt(uint16_t source, uint16_t index, Reason reason) {
  Record(uint64_t{index} << 48, source | uint64_t{static_cast<uint8_t>(reason)} << 32);
}

void FaultLog::Record(uint64_t low, uint64_t high) {
  std::lock_guard lock(mutex_);
  if (overflow_) return;  // 7.2.1: until software has cleared it
  const bool quiet = (Status() & (kFaultPending | kFaultOverflow | kQueueError)) == 0;
  Entry& entry = records_[next_];
  if ((entry.high & kFault) != 0) {
    overflow_ = true;
    return;
  }
  if ((Status() & kFaultPending) == 0) first_ = next_;
  entry = {low, high | kFault};
  next_ = (next_ + 1) % kFaultRecordCount;
  if (quiet) event_.Raise();
}

void FaultLog::SetQueueError() {
  std::lock_guard lock(mutex_);
  const bool quiet = (Status() & (kFaultPending | kFaultOverflow | kQueueError)) == 0;
  queue_error_ = true;
  if (quiet) event_.Raise();
}

bool FaultLog::queue_error() const {
  std::lock_guard lock(mutex_);
  return queue_error_;
}

bool FaultLog::Owns(uint32_t offset) {
  return (offset >= kFaultStatus && offset <= kFaultUpperAddress) ||
         (offset >= kFaultRecords && offset < kFaultRecords + kFaultRecordCount * kFaultRecordSize);
}

uint32_t FaultLog::Status() const {
  uint32_t status = (overflow_ ? kFaultOverflow : 0) | (queue_error_ ? kQueueError : 0);
  for (const Entry& entry : records_) {
    if ((entry.high & kFault) != 0) status |= kFaultPending;
  }
  return status | first_ << 8;
}

uint32_t FaultLog::Read(uint32_t offset) const {
  std::lock_guard lock(mutex_);
  switch (offset) {
    case kFaultStatus:
      return Status();
    case kFaultControl:
      return event_.control;
    case kFaultData:
      return event_.data;
    case kFaultAddress:
      return event_.address;
    case kFaultUpperAddress:
      return event_.upper;
    default: {
      const uint32_t at = offset - kFaultRecords;
      const Entry& entry = records_[at / kFaultRecordSize];
      const uint64_t half = at % kFaultRecordSize < 8 ? entry.low : entry.high;
      return static_cast<uint32_t>(half >> (at % 8 == 0 ? 0 : 32));
    }
  }
}

void FaultLog::ClearEventIfQuiet() {
  if ((Status() & (kFaultPending | kFaultOverflow | kQueueError)) == 0) event_.Clear();
}

void FaultLog::Write(uint32_t offset, uint32_t value) {
  std::lock_guard lock(mutex_);
  switch (offset) {
    case kFaultStatus:
      if ((value & kFaultOverflow) != 0) overflow_ = false;
      if ((value & kQueueError) != 0) queue_error_ = false;
      return ClearEventIfQuiet();
    case kFaultControl:
      return event_.WriteControl(value);
    case kFaultData:
      event_.data = value;
      return;
    case kFaultAddress:
      event_.address = value & ~3u;
      return;
    case kFaultUpperAddress:
      event_.upper = value;
      return;
    default: {
      const uint32_t at = offset - kFaultRecords;
      if (at % kFaultRecordSize != 12 || (value & 1u << 31) == 0) return;
      records_[at / kFaultRecordSize].high &= ~kFault;
      // The next pending one, in the order in which they came.
      for (uint32_t i = 0; i < kFaultRecordCount; ++i) {
        const uint32_t index = (next_ + i) % kFaultRecordCount;
        if ((records_[index].high & kFault) == 0) continue;
        first_ = index;
        break;
      }
      return ClearEventIfQuiet();
    }
  }
}

}  // namespace berth::vmm::vtd
