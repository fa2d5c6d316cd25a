#include "vmm/devices/platform.h"

#include <algorithm>
#include <chrono>
#include <cstring>

#include "vmm/bus/layout.h"

namespace berth::vmm {
namespace {

constexpr uint64_t kPortBOffset = 1;  // port 0x61
constexpr uint64_t kCommandOffset = 4;
constexpr uint8_t kPulseResetLine = 0xfe;
// Bit 5 is the output of timer 2. A guest that calibrates against the absent PIT waits for it to rise.
constexpr uint8_t kTimer2Output = 0x20;

constexpr uint64_t kSleepControl = layout::kSleepControlPort - layout::kAcpiPortBase;
constexpr uint64_t kReset = layout::kResetPort - layout::kAcpiPortBase;
constexpr uint8_t kSleepTypeShift = 2;
constexpr uint8_t kSleepTypeMask = 7;

uint8_t Bcd(int value) {
  return static_cast<uint8_t>(value / 10 << 4 | value % 10);
}

}  // namespace

void I8042::Read(uint64_t offset, std::span<uint8_t> data) {
  std::fill(data.begin(), data.end(), uint8_t{0});  // status: both buffers empty
  if (offset == kPortBOffset) data[0] = kTimer2Output;
}

void I8042::Write(uint64_t offset, std::span<const uint8_t> data) {
  if (offset == kCommandOffset && data[0] == kPulseResetLine) on_reset_();
}

void AcpiPower::Read(uint64_t, std::span<uint8_t> data) {
  std::fill(data.begin(), data.end(), uint8_t{0});  // WAK_STS never rises: S5 does not wake
}

void AcpiPower::Write(uint64_t offset, std::span<const uint8_t> data) {
  for (size_t i = 0; i < data.size(); ++i) {
    const uint8_t value = data[i];
    if (offset + i == kReset && value == layout::kResetValue) return on_reset_();
    if (offset + i != kSleepControl || !(value & layout::kSleepEnable)) continue;
    if ((value >> kSleepTypeShift & kSleepTypeMask) == layout::kSleepTypeS5) return on_shutdown_();
  }
}

void GedNotifier::Notify(uint8_t bits) {
  pending_.fetch_or(bits);
  irq_->Pulse();
}

void GedNotifier::Read(uint64_t, std::span<uint8_t> data) {
  std::fill(data.begin(), data.end(), uint8_t{0});
  data[0] = pending_.exchange(0);
}

void PmTimer::Read(uint64_t offset, std::span<uint8_t> data) {
  const uint64_t now = nanoseconds_() + offset_;
  const uint64_t seconds = now / 1000000000;
  const uint64_t rest = now % 1000000000;
  const uint64_t ticks = seconds * layout::kPmTimerHz + rest * layout::kPmTimerHz / 1000000000;
  const uint64_t value = (ticks & 0xffffffff) >> 8 * std::min<uint64_t>(offset, 7);
  std::memcpy(data.data(), &value, std::min(data.size(), sizeof value));
}

void Rtc::Save(StateWriter& out) {
  std::lock_guard lock(mutex_);
  out.Put(index_);
  out.PutBytes(memory_);
}

void Rtc::Load(StateReader& in) {
  std::lock_guard lock(mutex_);
  index_ = in.Get<uint8_t>() & 0x7f;
  in.GetExactly(memory_);
}

uint8_t Rtc::ReadRegister() const {
  // gmtime_r would do, but it may read /etc/localtime, which a vCPU's thread must not.
  const std::chrono::sys_seconds now{std::chrono::seconds(now_())};
  const auto day = std::chrono::floor<std::chrono::days>(now);
  const std::chrono::hh_mm_ss time(now - day);
  const std::chrono::year_month_day date(day);
  const int year = static_cast<int>(date.year());
  switch (index_) {
    case 0x00:
      return Bcd(static_cast<int>(time.seconds().count()));
    case 0x02:
      return Bcd(static_cast<int>(time.minutes().count()));
    case 0x04:
      return Bcd(static_cast<int>(time.hours().count()));
    case 0x06:
      return Bcd(static_cast<int>(std::chrono::weekday(day).c_encoding()) + 1);
    case 0x07:
      return Bcd(static_cast<int>(static_cast<unsigned>(date.day())));
    case 0x08:
      return Bcd(static_cast<int>(static_cast<unsigned>(date.month())));
    case 0x09:
      return Bcd(year % 100);
    case 0x32:
      return Bcd(year / 100);
    case 0x0a:
      return 0x26;  // 32768 Hz divider, 1024 Hz rate, no update in progress
    case 0x0b:
      return 0x02;  // 24 hours, BCD
    case 0x0c:
      return 0;  // no interrupt pending
    case 0x0d:
      return 0x80;  // time valid
    default:
      return memory_[index_];
  }
}

void Rtc::Read(uint64_t offset, std::span<uint8_t> data) {
  std::lock_guard lock(mutex_);
  std::fill(data.begin(), data.end(), uint8_t{0xff});
  if (offset == 1) data[0] = ReadRegister();
}

void Rtc::Write(uint64_t offset, std::span<const uint8_t> data) {
  std::lock_guard lock(mutex_);
  // Bit 7 of the index port is the NMI mask, which has no effect here.
  if (offset == 0) index_ = data[0] & 0x7f;
  if (offset + data.size() == 2) memory_[index_] = data.back();
}

}  // namespace berth::vmm
