// The serial port against arbitrary register accesses and input: no crash, no endless input, and an interrupt
// line that agrees with what the interrupt identification register says.
#include <cstdint>

#include "tests/fakes/fake_irq_line.h"
#include "tests/fuzz/fuzz_input.h"
#include "vmm/devices/serial.h"

namespace {

using namespace berth::vmm;

class DeafSink : public SerialSink {
 public:
  void Put(uint8_t) override {}
  void InputRoom() override {}
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  berth::FuzzInput input(data, size);
  IrqRecord irq;
  auto sink = std::make_shared<DeafSink>();
  Serial serial(std::make_unique<FakeIrqLine>(irq), sink);
  while (!input.empty()) {
    const uint8_t action = input.Take<uint8_t>();
    const uint64_t offset = action & 7;
    uint64_t value = input.Take<uint8_t>();
    const size_t width = offset == 0 && action & 0x20 ? 2 : 1;
    if (action & 0x80) {
      serial.Write(offset, {reinterpret_cast<const uint8_t*>(&value), width});
    } else if (action & 0x40) {
      const auto bytes = input.TakeBytes(value);
      const size_t taken = serial.Receive(bytes);
      CHECK(taken <= bytes.size() && taken <= Serial::kInputLimit);
    } else {
      serial.Read(offset, {reinterpret_cast<uint8_t*>(&value), width});
    }
    const bool before = irq.high;
    uint8_t identification = 0;
    serial.Read(2, {&identification, 1});
    CHECK(before == !(identification & 1));
    // Reading it acknowledges the transmitter, which has the least priority; any other cause stays.
    CHECK(irq.high == (before && (identification & 0x0f) != 2));
  }
  return 0;
}
