#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <ctime>
#include <functional>
#include <memory>
#include <mutex>
#include <span>

#include "vmm/bus/device.h"
#include "vmm/bus/interrupts.h"
#include "vmm/state/state_reader.h"
#include "vmm/state/state_writer.h"

// The small devices of the platform. Their places stand in vmm/bus/layout.h.
namespace berth::vmm {

// Keyboard controller with nothing on it: its only use is the reset line (command 0xfe at port 0x64). Insert
// at kI8042Port. Thread-safe.
class I8042 : public BusDevice {
 public:
  // `on_reset` runs on the vCPU thread that pulled the line and must be short.
  explicit I8042(std::function<void()> on_reset) : on_reset_(std::move(on_reset)) {}
  void Read(uint64_t offset, std::span<uint8_t> data) override;
  void Write(uint64_t offset, std::span<const uint8_t> data) override;

 private:
  std::function<void()> on_reset_;
};

// ACPI sleep control and status registers of a hardware-reduced platform and the FADT's reset register
// (ACPI 6.5, 4.8.3.7 and 4.8.3.6). Insert at kAcpiPortBase. Thread-safe.
class AcpiPower : public BusDevice {
 public:
  // Both run on the vCPU thread and must be short. `on_shutdown`: the guest has entered S5.
  AcpiPower(std::function<void()> on_shutdown, std::function<void()> on_reset)
      : on_shutdown_(std::move(on_shutdown)), on_reset_(std::move(on_reset)) {}
  void Read(uint64_t offset, std::span<uint8_t> data) override;
  void Write(uint64_t offset, std::span<const uint8_t> data) override;

 private:
  std::function<void()> on_shutdown_;
  std::function<void()> on_reset_;
};

// ACPI generic event device's notification register: one byte, read-to-clear, bits kGed*. Thread-safe.
class GedNotifier : public BusDevice {
 public:
  explicit GedNotifier(std::unique_ptr<IrqLine> irq) : irq_(std::move(irq)) {}
  // Sets bits and interrupts the guest, for example Notify(layout::kGedPowerButton).
  void Notify(uint8_t bits);
  void Save(StateWriter& out) { out.Put(pending_.load()); }
  void Load(StateReader& in) { pending_ = in.Get<uint8_t>(); }
  void Read(uint64_t offset, std::span<uint8_t> data) override;
  void Write(uint64_t, std::span<const uint8_t>) override {}

 private:
  std::unique_ptr<IrqLine> irq_;
  std::atomic<uint8_t> pending_{0};
};

// ACPI PM timer: 32 bits at 3.579545 MHz. Thread-safe.
class PmTimer : public BusDevice {
 public:
  // `nanoseconds`: a monotonic clock, thread-safe.
  explicit PmTimer(std::function<uint64_t()> nanoseconds) : nanoseconds_(std::move(nanoseconds)) {}
  void Read(uint64_t offset, std::span<uint8_t> data) override;
  void Write(uint64_t, std::span<const uint8_t>) override {}
  // A loaded timer goes on from where the saved one was.
  void Save(StateWriter& out) { out.Put(nanoseconds_() + offset_); }
  void Load(StateReader& in) { offset_ = in.Get<uint64_t>() - nanoseconds_(); }

 private:
  std::function<uint64_t()> nanoseconds_;
  uint64_t offset_ = 0;  // added to them, modulo 2^64
};

// MC146818 real-time clock: time of day in UTC, BCD, 24 hours, with the century at 0x32; the other 128 bytes
// are plain memory. No alarm and no periodic interrupt. What the guest writes to the time is ignored: the
// clock is the host's. Insert at kRtcPort. Thread-safe.
class Rtc : public BusDevice {
 public:
  // `now`: seconds since 1970 in UTC, thread-safe.
  explicit Rtc(std::function<time_t()> now) : now_(std::move(now)) {}
  void Save(StateWriter& out);
  void Load(StateReader& in);
  void Read(uint64_t offset, std::span<uint8_t> data) override;
  void Write(uint64_t offset, std::span<const uint8_t> data) override;

 private:
  uint8_t ReadRegister() const;

  std::function<time_t()> now_;
  mutable std::mutex mutex_;  // guards what follows
  uint8_t index_ = 0;
  std::array<uint8_t, 128> memory_{};
};

}  // namespace berth::vmm
