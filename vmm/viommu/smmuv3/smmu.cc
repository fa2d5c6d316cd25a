#include "vmm/viommu/smmuv3/smmu.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <string>

#include "vmm/viommu/smmuv3/ring.h"

namespace berth::vmm::smmuv3 {
namespace {

constexpr uint32_t kMaxQueue = 8;  // log2 of the entries (CMDQS, EVENTQS)
constexpr uint64_t kCommandSize = 16;
constexpr uint64_t kEventSize = 32;
constexpr uint64_t kQueueAddress = 0x000f'ffff'ffff'ffe0;
constexpr uint64_t kMsiAddress = 0x000f'ffff'ffff'fffc;
constexpr uint32_t kOverflow = 1u << 31;     // OVFLG, OVACKFLG
constexpr uint32_t kFaultBits = 0x7f << 24;  // CMDQ_CONS.ERR

// Both stages, AArch64 tables, coherent, 16 bits of ASID and VMID, messages, little-endian, no stalls, stream
// tables of two levels.
constexpr uint32_t kFeatures0 =
    1 << 0 | 1 << 1 | 2 << 2 | 1 << 4 | 1 << 12 | 1 << 13 | 1 << 18 | 2 << 21 | 1 << 24 | 1 << 27;
constexpr uint32_t kFeatures1 = kStreamBits | kMaxQueue << 16 | kMaxQueue << 21;
constexpr uint32_t kFeatures5 = 5 | 1 << 4;  // 48 bits, 4 KiB

// Commands (4.1.1). Tables are read anew for each access and nothing of them is kept, so that those which
// make an SMMU forget what it has cached are complete as soon as they are read.
constexpr uint8_t kPrefetchConfig = 0x01, kPrefetchAddress = 0x02;
constexpr uint8_t kSync = 0x46;
constexpr uint8_t kForgetCached[] = {0x03, 0x04, 0x05, 0x06,  // CFGI: STE, STE_RANGE and ALL, CD, CD_ALL
                                     0x10, 0x11, 0x12, 0x13,  // TLBI: NH_ALL, NH_ASID, NH_VA, NH_VAA
                                     0x28, 0x2a, 0x30};       // TLBI: S12_VMALL, S2_IPA, NSNH_ALL

Ring RingOf(uint64_t base) {
  return Ring(std::min<uint32_t>(base & 0x1f, kMaxQueue));
}

void SetHalf(uint64_t& target, bool high, uint32_t value) {
  target = high ? (target & 0xffffffff) | uint64_t{value} << 32 : (target & ~uint64_t{0xffffffff}) | value;
}

uint32_t Half(uint64_t value, bool high) {
  return static_cast<uint32_t>(high ? value >> 32 : value);
}

}  // namespace

void Smmu::Read(uint64_t offset, std::span<uint8_t> data) {
  std::fill(data.begin(), data.end(), uint8_t{0});
  if ((data.size() != 4 && data.size() != 8) || offset % data.size() != 0) return;
  std::lock_guard lock(mutex_);
  for (size_t i = 0; i < data.size(); i += 4) {
    const uint32_t value = ReadWord(static_cast<uint32_t>(offset + i));
    std::memcpy(data.data() + i, &value, 4);
  }
}

void Smmu::Write(uint64_t offset, std::span<const uint8_t> data) {
  if ((data.size() != 4 && data.size() != 8) || offset % data.size() != 0) return;
  std::lock_guard lock(mutex_);
  for (size_t i = 0; i < data.size(); i += 4) {
    uint32_t value;
    std::memcpy(&value, data.data() + i, 4);
    WriteWord(static_cast<uint32_t>(offset + i), value);
  }
  ServeCommands();
}

uint32_t Smmu::ReadWord(uint32_t offset) const {
  switch (offset) {
    case kIdr0:
      return kFeatures0;
    case kIdr1:
      return kFeatures1;
    case kIdr5:
      return kFeatures5;
    case kControl0:
    case kControl0Ack:
      return control0_;
    case kControl1:
      return control1_;
    case kControl2:
      return control2_;
    case kGlobalBypass:
      return bypass_;
    case kInterruptControl:
    case kInterruptControlAck:
      return interrupt_control_;
    case kError:
      return error_;
    case kErrorAck:
      return error_ack_;
    case kErrorMsi:
    case kErrorMsi + 4:
      return Half(error_msi_.address, offset != kErrorMsi);
    case kErrorMsi + 8:
      return error_msi_.data;
    case kStreamTable:
    case kStreamTable + 4:
      return Half(stream_table_, offset != kStreamTable);
    case kStreamTableForm:
      return stream_table_form_;
    case kCommandQueue:
    case kCommandQueue + 4:
      return Half(command_queue_, offset != kCommandQueue);
    case kCommandProducer:
      return command_producer_;
    case kCommandConsumer:
      return command_consumer_;
    case kEventQueue:
    case kEventQueue + 4:
      return Half(event_queue_, offset != kEventQueue);
    case kEventMsi:
    case kEventMsi + 4:
      return Half(event_msi_.address, offset != kEventMsi);
    case kEventMsi + 8:
      return event_msi_.data;
    case kEventProducer:
      return event_producer_;
    case kEventConsumer:
      return event_consumer_;
    default:
      return 0;
  }
}

void Smmu::WriteWord(uint32_t offset, uint32_t value) {
  switch (offset) {
    case kControl0:
      control0_ = value & (kEnable | kEventsEnable | kCommandsEnable);
      return;
    case kControl1:
      control1_ = value;
      return;
    case kControl2:
      control2_ = value;
      return;
    case kGlobalBypass:
      if ((value & kUpdate) != 0) bypass_ = value & ~kUpdate;
      return;
    case kInterruptControl:
      interrupt_control_ = value & (kErrorInterrupt | kEventInterrupt);
      return;
    case kErrorAck:
      error_ack_ = value;
      return;
    case kErrorMsi:
    case kErrorMsi + 4:
      return SetHalf(error_msi_.address, offset != kErrorMsi, value);
    case kErrorMsi + 8:
      error_msi_.data = value;
      return;
    case kStreamTable:
    case kStreamTable + 4:
      return SetHalf(stream_table_, offset != kStreamTable, value);
    case kStreamTableForm:
      stream_table_form_ = value;
      return;
    case kCommandQueue:
    case kCommandQueue + 4:
      return SetHalf(command_queue_, offset != kCommandQueue, value);
    case kCommandProducer:
      command_producer_ = RingOf(command_queue_).Place(value);
      return;
    case kCommandConsumer:
      if ((control0_ & kCommandsEnable) == 0) command_consumer_ = RingOf(command_queue_).Place(value);
      return;
    case kEventQueue:
    case kEventQueue + 4:
      return SetHalf(event_queue_, offset != kEventQueue, value);
    case kEventMsi:
    case kEventMsi + 4:
      return SetHalf(event_msi_.address, offset != kEventMsi, value);
    case kEventMsi + 8:
      event_msi_.data = value;
      return;
    case kEventProducer:
      if ((control0_ & kEventsEnable) == 0) event_producer_ = value;
      return;
    case kEventConsumer:
      event_consumer_ = RingOf(event_queue_).Place(value) | (value & kOverflow);
      return;
    default:
      return;
  }
}

void Smmu::Send(const Msi& msi) const {
  // An address of zero means a wired interrupt, which this SMMU has not (3.18).
  if ((msi.address & kMsiAddress) != 0) deliver_({msi.address & kMsiAddress, msi.data});
}

void Smmu::SetError(uint32_t bit) {
  if (((error_ ^ error_ack_) & bit) != 0) return;  // told already
  error_ ^= bit;
  if ((interrupt_control_ & kErrorInterrupt) != 0) Send(error_msi_);
}

void Smmu::ServeCommands() {
  const Ring ring = RingOf(command_queue_);
  while ((control0_ & kCommandsEnable) != 0 && ((error_ ^ error_ack_) & kCommandError) == 0 &&
         !ring.Empty(command_producer_, command_consumer_)) {
    const uint64_t at = (command_queue_ & kQueueAddress) + kCommandSize * ring.Index(command_consumer_);
    const auto command = memory_.ReadObject<std::array<uint64_t, 2>>(Gpa{at});
    const CommandFault fault =
        command.has_value() ? ServeCommand((*command)[0], (*command)[1]) : CommandFault::kUnreadable;
    if (fault != CommandFault::kNone) {
      command_consumer_ = (command_consumer_ & ~kFaultBits) | static_cast<uint32_t>(fault) << 24;
      return SetError(kCommandError);
    }
    command_consumer_ = ring.Next(command_consumer_);
  }
}

CommandFault Smmu::ServeCommand(uint64_t low, uint64_t high) {
  const auto opcode = static_cast<uint8_t>(low);
  if (opcode == kSync) {
    // CS: nothing, an interrupt, an event for CPUs that wait (which this SMMU has not); all before is done.
    const uint64_t signal = low >> 12 & 3;
    if (signal > 1) return CommandFault::kIllegal;
    if (signal == 1) Send({high, static_cast<uint32_t>(low >> 32)});
    return CommandFault::kNone;
  }
  const bool known =
      opcode == kPrefetchConfig || opcode == kPrefetchAddress ||
      std::find(std::begin(kForgetCached), std::end(kForgetCached), opcode) != std::end(kForgetCached);
  const bool secure = (low >> 10 & 1) != 0;  // SSec
  return known && !secure ? CommandFault::kNone : CommandFault::kIllegal;
}

StreamTable Smmu::Table() const {
  StreamTable table;
  table.log2_size = stream_table_form_ & 0x3f;
  table.two_levels = (stream_table_form_ >> 16 & 3) == 1;
  const uint32_t split = stream_table_form_ >> 6 & 0x1f;
  if (split == 8 || split == 10) table.split = split;  // other values are 6
  table.base = stream_table_ & 0x000f'ffff'ffff'ffc0;
  // 6.3.24: the table is aligned to its size.
  const uint32_t size = std::min(table.log2_size, kStreamBits);
  const uint32_t bits = table.two_levels ? std::max(5u, size - std::min(size, table.split)) + 3 : size + 6;
  table.base &= ~((uint64_t{1} << std::max(bits, 6u)) - 1);
  return table;
}

Result<Smmu::Translation> Smmu::Translate(uint32_t stream, uint64_t address, bool write) {
  std::lock_guard lock(mutex_);
  const Translation same{address, UINT64_MAX - address};
  const auto refuse = [stream] {
    return Status(StatusCode::kPermissionDenied,
                  "the SMMU lets no such access of stream " + std::to_string(stream) + " through");
  };
  if ((control0_ & kEnable) == 0) {
    if ((bypass_ & kGlobalAbort) != 0) return refuse();
    return same;
  }
  const Found<Stream> found = FindStream(memory_, Table(), stream);
  if (found.event != Event::kNone) {
    Record(found.event, stream, address, write, {});
    return refuse();
  }
  if (found.value.kind == Stream::Kind::kAbort) return refuse();  // without an event (5.2)
  if (found.value.kind == Stream::Kind::kBypass) return same;
  const Found<Place> place = smmuv3::Translate(memory_, found.value, address, write);
  if (place.event == Event::kNone) return Translation{place.value.gpa, place.value.length};
  if (!place.value.quiet) Record(place.event, stream, address, write, place.value);
  return refuse();
}

void Smmu::Record(Event event, uint32_t stream, uint64_t address, bool write, const Place& place) {
  if ((control0_ & kEventsEnable) == 0) return;
  const Ring ring = RingOf(event_queue_);
  if (ring.Full(event_producer_, event_consumer_)) {
    // 7.4: told once, until the driver has taken note of it.
    if (((event_producer_ ^ event_consumer_) & kOverflow) == 0) event_producer_ ^= kOverflow;
    return;
  }
  // 7.3: the event and the stream; write or read, the stage, what was met; the address; that of stage 2.
  std::array<uint64_t, 4> record{};
  record[0] = static_cast<uint8_t>(event) | uint64_t{stream} << 32;
  const bool has_address = event >= Event::kWalkAbort;
  if (has_address) {
    record[1] = (write ? 0 : uint64_t{1} << 35) | (place.stage2 ? uint64_t{1} << 39 : 0) |
                uint64_t{static_cast<uint8_t>(place.met)} << 40;
    record[2] = address;
    record[3] = place.ipa & ~uint64_t{0xfff};
  }
  const uint64_t at = (event_queue_ & kQueueAddress) + kEventSize * ring.Index(event_producer_);
  if (!memory_.WriteObject(Gpa{at}, record).ok()) return SetError(kEventLost);
  const bool empty = ring.Empty(event_producer_, event_consumer_);
  event_producer_ = ring.Next(event_producer_) | (event_producer_ & kOverflow);
  if (empty && (interrupt_control_ & kEventInterrupt) != 0) Send(event_msi_);
}

}  // namespace berth::vmm::smmuv3
