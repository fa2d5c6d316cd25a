#include "vmm/viommu/vtd/unit.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "common/log.h"

namespace berth::vmm::vtd {
namespace {

constexpr uint64_t kDescriptorSize = 16;
constexpr uint64_t kDo = uint64_t{1} << 63;  // ICC of CCMD_REG, IVT of IOTLB_REG
constexpr uint64_t kFaultsTold = 16;         // a guest can cause them at will
// Tables that are read within one access to a register. What the queue holds then goes on at the next one,
// so that no guest can keep a vCPU's thread here for long; drivers that wait read the fault status.
constexpr uint64_t kTablesPerAccess = uint64_t{1} << 18;
constexpr uint64_t kTablesPerRoute = 256;  // the kernel takes all routes for each that changes

uint64_t Capability(uint32_t width) {
  constexpr uint64_t kDomains = 6;  // 16 bits of DID
  uint64_t value = kDomains;
  value |= uint64_t{1} << 7;                          // CM
  value |= uint64_t{width == 48 ? 0x6u : 0x2u} << 8;  // SAGAW
  value |= uint64_t{width - 1} << 16;                 // MGAW
  value |= uint64_t{kFaultRecords / 16} << 24;        // FRO
  value |= uint64_t{3} << 34;                         // SLLPS: 2 MiB and 1 GiB
  value |= uint64_t{1} << 39;                         // PSI
  value |= uint64_t{kFaultRecordCount - 1} << 40;     // NFR
  value |= uint64_t{kMaxAddressMask} << 48;           // MAMV
  value |= uint64_t{3} << 54;                         // DWD, DRD
  value |= uint64_t{1} << 63;                         // ESRTPS
  return value;
}

uint64_t ExtendedCapability(bool extended_interrupts) {
  uint64_t value = 1 << 0;                          // C: tables are read as the CPU sees them
  value |= 1 << 1;                                  // QI
  value |= 1 << 2;                                  // DT
  value |= 1 << 3;                                  // IR
  value |= extended_interrupts ? 1 << 4 : 0;        // EIM
  value |= 1 << 6;                                  // PT
  value |= uint64_t{kInvalidateAddress / 16} << 8;  // IRO
  value |= uint64_t{15} << 20;                      // MHMV
  return value;
}

void SetHalf(uint64_t& target, bool high, uint32_t value) {
  target = high ? (target & 0xffffffff) | uint64_t{value} << 32 : (target & ~uint64_t{0xffffffff}) | value;
}

uint32_t Half(uint64_t value, bool high) {
  return static_cast<uint32_t>(high ? value >> 32 : value);
}

}  // namespace

Unit::Unit(IommuDomains& domains, const GuestMemory& memory, MsiController& interrupts,
           const Options& options, Hooks hooks)
    : memory_(memory),
      options_(options),
      hooks_(std::move(hooks)),
      faults_(hooks_.deliver),
      remapper_(memory, options.extended_interrupts,
                [this](uint16_t source, uint16_t index, Reason reason) {
                  faults_.RecordInterrupt(source, index, reason);
                }),
      routes_(interrupts, remapper_),
      spaces_(domains, memory, options.limits, options.segment),
      completion_(hooks_.deliver) {}

void Unit::Read(uint64_t offset, std::span<uint8_t> data) {
  std::fill(data.begin(), data.end(), uint8_t{0});
  if ((data.size() != 4 && data.size() != 8) || offset % data.size() != 0) return;
  std::lock_guard lock(mutex_);
  work_ = 0;
  ServeQueue();
  for (size_t i = 0; i < data.size(); i += 4) {
    const uint32_t value = ReadWord(static_cast<uint32_t>(offset + i));
    std::memcpy(data.data() + i, &value, 4);
  }
}

void Unit::Write(uint64_t offset, std::span<const uint8_t> data) {
  if ((data.size() != 4 && data.size() != 8) || offset % data.size() != 0) return;
  std::lock_guard lock(mutex_);
  work_ = 0;
  for (size_t i = 0; i < data.size(); i += 4) {
    uint32_t value;
    std::memcpy(&value, data.data() + i, 4);
    WriteWord(static_cast<uint32_t>(offset + i), value);
  }
  ServeQueue();
}

uint64_t* Unit::WideRegister(uint32_t offset) {
  switch (offset) {
    case kRootTable:
      return &root_table_;
    case kContextCommand:
      return &context_command_;
    case kQueueTail:
      return &queue_tail_;
    case kQueueAddress:
      return &queue_address_;
    case kInterruptTable:
      return &interrupt_table_;
    case kInvalidateAddress:
      return &invalidate_address_;
    case kInvalidateCommand:
      return &invalidate_command_;
    default:
      return nullptr;
  }
}

uint32_t Unit::ReadWord(uint32_t offset) const {
  if (FaultLog::Owns(offset)) return faults_.Read(offset);
  switch (offset) {
    case kVersion:
      return kArchitecture;
    case kGlobalStatus:
      return status_;
    case kCompletionStatus:
      return waited_ ? 1 : 0;
    case kCompletionControl:
      return completion_.control;
    case kCompletionData:
      return completion_.data;
    case kCompletionAddress:
      return completion_.address;
    case kCompletionUpper:
      return completion_.upper;
    default:
      break;
  }
  const uint32_t base = offset & ~7u;
  const bool high = (offset & 4) != 0;
  if (base == kCapability) return Half(Capability(options_.limits.address_width), high);
  if (base == kExtendedCapability) return Half(ExtendedCapability(options_.extended_interrupts), high);
  if (base == kQueueHead) return Half(queue_head_, high);
  const uint64_t* wide = const_cast<Unit*>(this)->WideRegister(base);
  return wide != nullptr && base != kInvalidateAddress ? Half(*wide, high) : 0;  // IVA_REG is write-only
}

void Unit::WriteWord(uint32_t offset, uint32_t value) {
  if (FaultLog::Owns(offset)) return faults_.Write(offset, value);
  switch (offset) {
    case kGlobalCommand:
      return Command(value);
    case kCompletionStatus:
      if ((value & 1) == 0) return;
      waited_ = false;
      return completion_.Clear();
    case kCompletionControl:
      return completion_.WriteControl(value);
    case kCompletionData:
      completion_.data = value;
      return;
    case kCompletionAddress:
      completion_.address = value & ~3u;
      return;
    case kCompletionUpper:
      completion_.upper = value;
      return;
    default:
      return WriteWide(offset, value);
  }
}

void Unit::WriteWide(uint32_t offset, uint32_t value) {
  const uint32_t base = offset & ~7u;
  const bool high = (offset & 4) != 0;
  uint64_t* wide = WideRegister(base);
  if (wide == nullptr) return;
  SetHalf(*wide, high, value);
  if (base == kQueueTail) queue_tail_ &= 0x7fff0;
  if (!high || (*wide & kDo) == 0) return;
  // Done at once; the granularity that was done is the one that was asked for.
  if (base == kContextCommand) {
    if (const auto what = ParseContextCommand(*wide)) Carry(*what);
    *wide = (*wide & ~(kDo | uint64_t{3} << 59)) | (*wide >> 61 & 3) << 59;
  } else if (base == kInvalidateCommand) {
    if (const auto what = ParseInvalidateCommand(*wide, invalidate_address_)) Carry(*what);
    *wide = (*wide & ~(kDo | uint64_t{3} << 57)) | (*wide >> 60 & 3) << 57;
  }
}

void Unit::Command(uint32_t value) {
  const uint32_t changed = value ^ status_;
  const auto set = [this, value](uint32_t bit) { status_ = (status_ & ~bit) | (value & bit); };
  if ((value & kSetRootTable) != 0) {
    status_ |= kSetRootTable;
    current_root_ = root_table_ & ~uint64_t{0xfff};
    if ((status_ & kTranslation) != 0) spaces_.SetRoot(current_root_);
  }
  if ((value & kSetInterruptTable) != 0) {
    status_ |= kSetInterruptTable;
    remapper_.SetTable(interrupt_table_);
    InterruptsChanged(0, UINT32_MAX);
  }
  if ((changed & kQueued) != 0) {
    set(kQueued);
    if ((value & kQueued) == 0) queue_head_ = 0;
  }
  if ((changed & kTranslation) != 0) {
    set(kTranslation);
    spaces_.SetRoot((value & kTranslation) != 0 ? std::optional(current_root_) : std::nullopt);
  }
  if ((changed & (kRemapping | kCompatibility)) != 0) {
    set(kRemapping | kCompatibility);
    remapper_.SetCompatibility((value & kCompatibility) != 0);
    remapper_.SetEnabled((value & kRemapping) != 0);
    InterruptsChanged(0, UINT32_MAX);
  }
  work_ += spaces_.TakeWork();
}

void Unit::ServeQueue() {
  if ((status_ & kQueued) == 0) return;
  const uint64_t size = uint64_t{0x1000} << (queue_address_ & 7);
  const uint64_t base = queue_address_ & ~uint64_t{0xfff};
  while (queue_head_ != queue_tail_ && work_ < kTablesPerAccess && !faults_.queue_error()) {
    struct Descriptor {
      uint64_t low, high;
    };
    const bool inside = queue_head_ < size && queue_tail_ < size;
    const Result<Descriptor> descriptor = memory_.ReadObject<Descriptor>(Gpa{base + queue_head_});
    if (!inside || !descriptor.has_value() || !ServeDescriptor(descriptor->low, descriptor->high)) {
      return faults_.SetQueueError();
    }
    queue_head_ = (queue_head_ + kDescriptorSize) % size;
    ++work_;
  }
}

bool Unit::ServeDescriptor(uint64_t low, uint64_t high) {
  const auto what = ParseDescriptor(low, high);
  if (what) Carry(*what);
  return what.has_value();
}

void Unit::Carry(const Invalidation& what) {
  switch (what.kind) {
    case Invalidation::Kind::kContext:
    case Invalidation::Kind::kMappings:
      spaces_.Invalidate(what);
      work_ += spaces_.TakeWork();
      return;
    case Invalidation::Kind::kDeviceTlb:
      return;  // no device keeps translations that the domains do not know
    case Invalidation::Kind::kInterrupts:
      return what.scope == Invalidation::Scope::kGlobal
                 ? InterruptsChanged(0, UINT32_MAX)
                 : InterruptsChanged(static_cast<uint32_t>(what.first), static_cast<uint32_t>(what.last));
    case Invalidation::Kind::kWait:
      return Complete(what);
  }
}

void Unit::Complete(const Invalidation& wait) {
  if (wait.write_status) {
    // A status that is no RAM is the guest's loss.
    static_cast<void>(memory_.WriteObject(Gpa{wait.status_address}, wait.status));
  }
  if (wait.interrupt && !std::exchange(waited_, true)) completion_.Raise();
}

void Unit::InterruptsChanged(uint32_t first, uint32_t last) {
  work_ += routes_.Refresh(first, last) * kTablesPerRoute;
  if (hooks_.on_interrupts_changed) hooks_.on_interrupts_changed();
}

void Unit::AddDevice(uint16_t source) {
  std::lock_guard lock(mutex_);
  spaces_.AddDevice(source);
}

void Unit::RemoveDevice(uint16_t source) {
  std::lock_guard lock(mutex_);
  spaces_.RemoveDevice(source);
}

void Unit::Report(const IommuFault& fault) {
  const auto source = static_cast<uint16_t>(fault.endpoint);
  bool tell = false;
  {
    std::lock_guard lock(mutex_);
    if ((status_ & kTranslation) == 0) return;  // it was on until just now
    tell = fault_count_++ < kFaultsTold;
    const ContextResult found = FindContext(memory_, current_root_, source, options_.limits);
    Reason reason = found.reason;
    if (reason == Reason::kNone) {
      reason = CheckAccess(memory_, found.context, fault.address, fault.write, options_.limits);
    }
    // The guest has written its tables, and has not told us yet.
    if (reason == Reason::kNone) reason = fault.write ? Reason::kWrite : Reason::kRead;
    if (!found.context.quiet) faults_.RecordAccess(source, fault.address, fault.write, reason);
  }
  if (!tell) return;
  LOG(kWarning, "iommu_fault",
      {{"endpoint", fault.endpoint}, {"address", fault.address}, {"access", fault.write ? "write" : "read"}});
  if (hooks_.on_fault) hooks_.on_fault(fault);
}

uint64_t Unit::faults() const {
  std::lock_guard lock(mutex_);
  return fault_count_;
}

uint64_t Unit::pages_not_mapped() const {
  std::lock_guard lock(mutex_);
  return spaces_.not_mapped();
}

}  // namespace berth::vmm::vtd
