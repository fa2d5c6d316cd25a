#pragma once

#include "vmm/bus/interrupts.h"

namespace berth::vmm {

// What a test sees of an interrupt line; outlives the line that feeds it.
struct IrqRecord {
  bool high = false;
  int rising_edges = 0;
};

class FakeIrqLine : public IrqLine {
 public:
  explicit FakeIrqLine(IrqRecord& record) : record_(record) {}
  void SetLevel(bool high) override {
    if (high && !record_.high) ++record_.rising_edges;
    record_.high = high;
  }

 private:
  IrqRecord& record_;
};

}  // namespace berth::vmm
