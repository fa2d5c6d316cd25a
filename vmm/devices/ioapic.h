#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <span>

#include "vmm/bus/device.h"
#include "vmm/bus/interrupts.h"
#include "vmm/bus/layout.h"

namespace berth::vmm {

// Where the IOAPIC's interrupts go: KVM's local APICs, reached by MSIs. Implemented over KVM (split irqchip)
// and by a fake in tests. Called with the IOAPIC's lock held, on vCPU and event-loop threads: must not call
// back.
class IoApicSink {
 public:
  virtual ~IoApicSink() = default;
  // The guest has programmed a pin (GSI = pin). KVM needs the route of each pin, also to know which vectors
  // are level triggered and must exit at end of interrupt. A masked pin's message is not to be routed.
  virtual void SetRoute(uint32_t pin, const MsiMessage& message, bool masked) = 0;
  // Delivers one interrupt now.
  virtual void Deliver(const MsiMessage& message) = 0;
};

// Intel 82093AA with 24 pins, version 0x11 (no EOI register: level interrupts end by the local APICs'
// broadcast, which arrives as KVM_EXIT_IOAPIC_EOI). Thread-safe.
class IoApic : public BusDevice {
 public:
  // The sink must outlive the IOAPIC.
  explicit IoApic(IoApicSink& sink);

  void Read(uint64_t offset, std::span<uint8_t> data) override;
  void Write(uint64_t offset, std::span<const uint8_t> data) override;

  // Drives an input pin; pins outside [0, 24) do nothing.
  void SetLevel(uint32_t pin, bool high);
  // A local APIC has ended `vector`: pins of it that are still high are delivered again.
  void EndOfInterrupt(uint8_t vector);
  // Called at the end of each level-triggered interrupt of the pin, before it is delivered again, without the
  // IOAPIC's lock: the time to find out whether the line is still to be high. Before the IOAPIC is used.
  void OnEndOfInterrupt(uint32_t pin, std::function<void()> callback);

 private:
  uint32_t ReadRegister() const;
  void WriteRegister(uint32_t value);
  void WriteEntry(uint32_t pin, bool upper, uint32_t value);
  // Delivers a level-triggered pin if it is high, unmasked and not in service.
  void ServiceLevel(uint32_t pin);

  IoApicSink& sink_;
  std::mutex mutex_;  // guards what follows
  uint8_t select_ = 0;
  uint8_t id_ = layout::kIoApicId;
  std::array<uint64_t, layout::kIoApicPins> entries_;
  uint32_t levels_ = 0;  // one bit a pin

  std::array<std::function<void()>, layout::kIoApicPins> on_end_;
};

// The MSI that a redirection entry stands for. Bits 49 to 55 (destination bits 8 to 14 of a guest with
// KVM_FEATURE_MSI_EXT_DEST_ID) go where KVM's x2APIC format wants them, into address bits 40 to 46.
MsiMessage RedirectionMessage(uint64_t entry);

// The line of a device on one pin; keeps the IOAPIC alive.
std::unique_ptr<IrqLine> ConnectPin(std::shared_ptr<IoApic> ioapic, uint32_t pin);

}  // namespace berth::vmm
