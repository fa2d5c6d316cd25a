#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>

#include "common/status.h"
#include "vmm/bus/event_loop.h"
#include "vmm/config/vm_config.h"
#include "vmm/devices/serial.h"

namespace berth::vmm {

// Connects a serial port with the outside world. Put never blocks: bytes go through a ring of 64 KiB that the
// event loop empties; a reader that does not keep up loses the oldest of them. Thread-safe, except that it
// must be destroyed while the loop does not run, or on the loop's thread.
class SerialBackend : public SerialSink {
 public:
  // Bytes of output that are kept for a slow reader, and, by kSocket, replayed to a new client.
  static constexpr size_t kRingBytes = 64 << 10;
  // Takes input of the guest; returns how much it took (Serial::Receive).
  using Receiver = std::function<size_t(std::span<const uint8_t>)>;

  // Where input goes. To be called once, before the loop runs or on its thread.
  virtual void SetReceiver(Receiver receiver) = 0;
  // The other end of a pseudo terminal ("/dev/pts/3"), else empty.
  virtual std::string terminal() const { return {}; }
};

// Opens what `config` names: standard output and input, a new pseudo terminal, a file (created or truncated),
// nothing, or a listening UNIX socket (an abandoned socket file in its place is replaced). Errors name the
// path. `loop` must outlive the backend. kOff gives kInvalidArgument: there is no port to connect.
Result<std::shared_ptr<SerialBackend>> OpenSerialBackend(const SerialConfig& config, EventLoop& loop);

// Joins the two: output of the port goes to the backend already, input from now on also comes back.
inline void ConnectSerialInput(SerialBackend& backend, const std::weak_ptr<Serial>& port) {
  backend.SetReceiver([port](std::span<const uint8_t> data) {
    auto serial = port.lock();
    return serial ? serial->Receive(data) : data.size();
  });
}

}  // namespace berth::vmm
