#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <span>

#include "vmm/bus/device.h"
#include "vmm/bus/interrupts.h"
#include "vmm/state/state_reader.h"
#include "vmm/state/state_writer.h"

namespace berth::vmm {

// The far end of a serial port's wire. Thread-safe.
class SerialSink {
 public:
  virtual ~SerialSink() = default;
  // A byte that the guest sent. Called on a vCPU thread with the port's lock held: must not block, nor call
  // back.
  virtual void Put(uint8_t byte) = 0;
  // The port has room for input again, after Receive took less than it was given. As Put.
  virtual void InputRoom() = 0;
};

// 16550A UART. Transmission takes no time: THRE and TEMT are always set. The baud rate means nothing.
// Thread-safe.
class Serial : public BusDevice {
 public:
  // Bytes of input that are kept for the guest.
  static constexpr size_t kInputLimit = 64;

  // `sink` is shared with the event loop that reads input for it.
  Serial(std::unique_ptr<IrqLine> irq, std::shared_ptr<SerialSink> sink);

  void Read(uint64_t offset, std::span<uint8_t> data) override;
  void Write(uint64_t offset, std::span<const uint8_t> data) override;

  void Save(StateWriter& out);
  void Load(StateReader& in);

  // Input for the guest. Returns how many bytes were taken; when fewer than given, SerialSink::InputRoom
  // tells when to go on.
  size_t Receive(std::span<const uint8_t> data);

 private:
  uint8_t ReadRegister(uint64_t offset);
  void WriteRegister(uint64_t offset, uint8_t value);
  void Transmit(uint8_t value);
  uint8_t ReadData();
  uint8_t ReadInterruptId();
  uint8_t ModemStatus() const;
  // The highest pending source as IIR bits 0 to 3; kNoInterrupt when there is none.
  uint8_t PendingInterrupt() const;
  void UpdateLine();

  std::unique_ptr<IrqLine> irq_;
  std::shared_ptr<SerialSink> sink_;
  std::mutex mutex_;  // guards what follows
  std::deque<uint8_t> input_;
  bool input_refused_ = false;
  bool overrun_ = false;  // only loopback can overrun
  bool transmit_pending_ = false;
  bool line_high_ = false;
  bool fifo_enabled_ = false;
  uint8_t interrupt_enable_ = 0;
  uint8_t line_control_ = 0x03;  // 8N1
  uint8_t modem_control_ = 0x08;
  uint8_t scratch_ = 0;
  uint16_t divisor_ = 0x0c;  // 9600 baud
};

}  // namespace berth::vmm
