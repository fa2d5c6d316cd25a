#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "vmm/bus/interrupts.h"
#include "vmm/devices/ioapic.h"

namespace berth::vmm {

// A level-triggered pin of the IOAPIC that several devices share: high while any of their lines is. At the
// end of an interrupt each device is asked whether it still wants one. Thread-safe.
class SharedPin : public std::enable_shared_from_this<SharedPin> {
 public:
  // Takes the pin's end-of-interrupt callback, so a pin is shared only once.
  static std::shared_ptr<SharedPin> Create(const std::shared_ptr<IoApic>& ioapic, uint32_t pin);

  // `on_end` runs on a vCPU's thread, may set the line, and is not called any more once the line has been
  // destroyed, which waits for a call that is under way. May be empty.
  std::unique_ptr<IrqLine> Connect(std::function<void()> on_end);

 private:
  class Line;
  SharedPin(std::shared_ptr<IoApic> ioapic, uint32_t pin) : ioapic_(std::move(ioapic)), pin_(pin) {}
  void EndOfInterrupt();
  void Update();  // mutex_ held

  const std::shared_ptr<IoApic> ioapic_;
  const uint32_t pin_;
  std::recursive_mutex mutex_;  // guards what follows; recursive because on_end sets its line
  std::vector<Line*> lines_;
};

}  // namespace berth::vmm
