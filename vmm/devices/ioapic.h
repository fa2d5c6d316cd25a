#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>

#include "vmm/bus/device.h"
#include "vmm/bus/interrupts.h"
#include "vmm/bus/layout.h"
#include "vmm/state/state_reader.h"
#include "vmm/state/state_writer.h"

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
// broadcast, which arrives as KVM_EXIT_IOAPIC_EOI). With interrupt remapping it is version 0x20, whose EOI
// register ends level interrupts that the guest's table makes edges of. Thread-safe.
class IoApic : public BusDevice {
 public:
  // The sink must outlive the IOAPIC.
  explicit IoApic(IoApicSink& sink);

  void Read(uint64_t offset, std::span<uint8_t> data) override;
  void Write(uint64_t offset, std::span<const uint8_t> data) override;

  void Save(StateWriter& out);
  // Programs the sink as well; before any device raises a line.
  void Load(StateReader& in);

  // What an interrupt remapping unit makes of a message: none when it does not let it through, of which the
  // guest is told with `report`. Called with the IOAPIC's lock held: must not call back.
  using Remap = std::function<std::optional<MsiMessage>(const MsiMessage& message, bool report)>;
  // Before the guest runs.
  void SetRemap(Remap remap) { remap_ = std::move(remap); }
  // The unit remaps in another way from now on.
  void RefreshRoutes();

  // Drives an input pin; pins outside [0, 24) do nothing.
  void SetLevel(uint32_t pin, bool high);
  // A local APIC has ended `vector`: pins that delivered it and are still high are delivered again.
  void EndOfInterrupt(uint8_t vector);
  // Called at the end of each level-triggered interrupt of the pin, before it is delivered again, without the
  // IOAPIC's lock: the time to find out whether the line is still to be high. Before the IOAPIC is used.
  void OnEndOfInterrupt(uint32_t pin, std::function<void()> callback);

 private:
  uint32_t ReadRegister() const;
  void WriteRegister(uint32_t value);
  void WriteEntry(uint32_t pin, bool upper, uint32_t value);
  // Delivers a level-triggered pin if it is high, unmasked and not in service.
  void DeliverEdge(uint32_t pin);
  void ServiceLevel(uint32_t pin);
  // The message of an entry as it is to be delivered. None: the remapping unit lets it not through.
  std::optional<MsiMessage> MessageOf(uint64_t entry, bool report) const;
  void SetRoute(uint32_t pin, bool masked);
  // Of pins whose bits are set, at the end of their interrupt; without mutex_.
  void End(uint32_t pins);

  IoApicSink& sink_;
  std::mutex mutex_;  // guards what follows
  uint8_t select_ = 0;
  uint8_t id_ = layout::kIoApicId;
  std::array<uint64_t, layout::kIoApicPins> entries_;
  uint32_t levels_ = 0;  // one bit a pin
  uint32_t missed_ = 0;  // edges that came while the pin was masked, one bit a pin
  std::array<uint8_t, layout::kIoApicPins> delivered_{};  // vector of the interrupt in service, when remapped

  std::array<std::function<void()>, layout::kIoApicPins> on_end_;
  Remap remap_;  // none without remapping
};

// The MSI that a redirection entry stands for. Bits 49 to 55 (destination bits 8 to 14 of a guest with
// KVM_FEATURE_MSI_EXT_DEST_ID) go where KVM's x2APIC format wants them, into address bits 40 to 46. With bit
// 48 set the entry is in remappable format (VT-d 5.1.5.1), and so is the message.
MsiMessage RedirectionMessage(uint64_t entry);

// The line of a device on one pin; keeps the IOAPIC alive.
std::unique_ptr<IrqLine> ConnectPin(std::shared_ptr<IoApic> ioapic, uint32_t pin);

}  // namespace berth::vmm
