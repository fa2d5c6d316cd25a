#include "vmm/devices/serial.h"

#include <utility>
#include <vector>

namespace berth::vmm {
namespace {

enum Register : uint64_t {
  kData = 0,  // divisor's low byte with DLAB
  kInterruptEnable = 1,
  kInterruptId = 2,  // FIFO control when written
  kLineControl = 3,
  kModemControl = 4,
  kLineStatus = 5,
  kModemStatus = 6,
  kScratch = 7,
};

constexpr uint8_t kEnableReceived = 0x01;
constexpr uint8_t kEnableTransmit = 0x02;
constexpr uint8_t kEnableLineStatus = 0x04;
constexpr uint8_t kEnableDefined = 0x0f;

constexpr uint8_t kNoInterrupt = 0x01;
constexpr uint8_t kTransmitEmpty = 0x02;
constexpr uint8_t kReceived = 0x04;
constexpr uint8_t kLineStatusChanged = 0x06;
constexpr uint8_t kFifoPresent = 0xc0;

constexpr uint8_t kFifoEnable = 0x01;
constexpr uint8_t kFifoClearInput = 0x02;

constexpr uint8_t kDivisorAccess = 0x80;
constexpr uint8_t kLoopback = 0x10;
constexpr uint8_t kModemControlDefined = 0x1f;

constexpr uint8_t kDataReady = 0x01;
constexpr uint8_t kOverrun = 0x02;
constexpr uint8_t kTransmitterIdle = 0x60;

}  // namespace

Serial::Serial(std::unique_ptr<IrqLine> irq, std::shared_ptr<SerialSink> sink)
    : irq_(std::move(irq)), sink_(std::move(sink)) {}

void Serial::Read(uint64_t offset, std::span<uint8_t> data) {
  std::lock_guard lock(mutex_);
  for (size_t i = 0; i < data.size(); ++i) data[i] = ReadRegister(offset + i);
}

void Serial::Write(uint64_t offset, std::span<const uint8_t> data) {
  std::lock_guard lock(mutex_);
  for (size_t i = 0; i < data.size(); ++i) WriteRegister(offset + i, data[i]);
}

void Serial::Save(StateWriter& out) {
  std::lock_guard lock(mutex_);
  out.PutBytes(std::vector<uint8_t>(input_.begin(), input_.end()));
  for (bool flag : {overrun_, transmit_pending_, line_high_, fifo_enabled_}) out.Put(flag);
  for (uint8_t value : {interrupt_enable_, line_control_, modem_control_, scratch_}) out.Put(value);
  out.Put(divisor_);
}

void Serial::Load(StateReader& in) {
  std::lock_guard lock(mutex_);
  const std::span<const uint8_t> input = in.GetBytes(kInputLimit);
  input_.assign(input.begin(), input.end());
  for (bool* flag : {&overrun_, &transmit_pending_, &line_high_, &fifo_enabled_}) in.Get(*flag);
  for (uint8_t* value : {&interrupt_enable_, &line_control_, &modem_control_, &scratch_}) in.Get(*value);
  interrupt_enable_ &= kEnableDefined;
  modem_control_ &= kModemControlDefined;
  in.Get(divisor_);
  if (!in.ok()) return;
  // The far end, a new one, has been asked for nothing yet.
  input_refused_ = true;
  UpdateLine();
}

size_t Serial::Receive(std::span<const uint8_t> data) {
  std::lock_guard lock(mutex_);
  size_t taken = 0;
  // In loopback the receiver is cut off from the wire; what arrives waits.
  if (!(modem_control_ & kLoopback)) {
    while (taken < data.size() && input_.size() < kInputLimit) input_.push_back(data[taken++]);
  }
  input_refused_ = taken < data.size();
  UpdateLine();
  return taken;
}

uint8_t Serial::ReadRegister(uint64_t offset) {
  const bool divisor = line_control_ & kDivisorAccess;
  switch (offset) {
    case kData:
      return divisor ? static_cast<uint8_t>(divisor_) : ReadData();
    case kInterruptEnable:
      return divisor ? static_cast<uint8_t>(divisor_ >> 8) : interrupt_enable_;
    case kInterruptId:
      return ReadInterruptId();
    case kLineControl:
      return line_control_;
    case kModemControl:
      return modem_control_;
    case kLineStatus: {
      uint8_t status = kTransmitterIdle;
      if (!input_.empty()) status |= kDataReady;
      if (std::exchange(overrun_, false)) status |= kOverrun;
      UpdateLine();
      return status;
    }
    case kModemStatus:
      return ModemStatus();
    case kScratch:
      return scratch_;
    default:
      return 0xff;
  }
}

void Serial::WriteRegister(uint64_t offset, uint8_t value) {
  const bool divisor = line_control_ & kDivisorAccess;
  switch (offset) {
    case kData:
      if (divisor) {
        divisor_ = static_cast<uint16_t>((divisor_ & 0xff00) | value);
      } else {
        Transmit(value);
      }
      break;
    case kInterruptEnable:
      if (divisor) {
        divisor_ = static_cast<uint16_t>((divisor_ & 0x00ff) | value << 8);
        break;
      }
      // Enabling the interrupt of an empty transmitter raises it: drivers probe for that.
      if (value & ~interrupt_enable_ & kEnableTransmit) transmit_pending_ = true;
      interrupt_enable_ = value & kEnableDefined;
      break;
    case kInterruptId:
      fifo_enabled_ = value & kFifoEnable;
      if (value & kFifoClearInput) input_.clear();
      break;
    case kLineControl:
      line_control_ = value;
      break;
    case kModemControl:
      modem_control_ = value & kModemControlDefined;
      break;
    case kScratch:
      scratch_ = value;
      break;
    default:
      break;  // the status registers are read-only
  }
  UpdateLine();
  if (input_refused_ && input_.size() < kInputLimit && !(modem_control_ & kLoopback)) {
    input_refused_ = false;
    sink_->InputRoom();
  }
}

void Serial::Transmit(uint8_t value) {
  transmit_pending_ = true;
  if (!(modem_control_ & kLoopback)) return sink_->Put(value);
  if (input_.size() < kInputLimit) {
    input_.push_back(value);
  } else {
    overrun_ = true;
  }
}

uint8_t Serial::ReadData() {
  if (input_.empty()) return 0;
  const uint8_t value = input_.front();
  input_.pop_front();
  UpdateLine();
  // Asks for more only when all is read, so that a paste costs one wake-up for each 64 bytes.
  if (input_.empty() && std::exchange(input_refused_, false)) sink_->InputRoom();
  return value;
}

uint8_t Serial::ReadInterruptId() {
  const uint8_t source = PendingInterrupt();
  if (source == kTransmitEmpty) {
    transmit_pending_ = false;
    UpdateLine();
  }
  return fifo_enabled_ ? source | kFifoPresent : source;
}

uint8_t Serial::ModemStatus() const {
  if (!(modem_control_ & kLoopback)) return 0xb0;  // carrier, data set ready, clear to send
  uint8_t status = 0;
  if (modem_control_ & 0x01) status |= 0x20;  // DTR -> DSR
  if (modem_control_ & 0x02) status |= 0x10;  // RTS -> CTS
  if (modem_control_ & 0x04) status |= 0x40;  // OUT1 -> RI
  if (modem_control_ & 0x08) status |= 0x80;  // OUT2 -> DCD
  return status;
}

uint8_t Serial::PendingInterrupt() const {
  if (interrupt_enable_ & kEnableLineStatus && overrun_) return kLineStatusChanged;
  if (interrupt_enable_ & kEnableReceived && !input_.empty()) return kReceived;
  if (interrupt_enable_ & kEnableTransmit && transmit_pending_) return kTransmitEmpty;
  return kNoInterrupt;
}

void Serial::UpdateLine() {
  const bool high = PendingInterrupt() != kNoInterrupt;
  if (high == line_high_) return;
  line_high_ = high;
  irq_->SetLevel(high);
}

}  // namespace berth::vmm
