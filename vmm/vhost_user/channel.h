#pragma once

#include <sys/socket.h>

#include <chrono>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include "common/status.h"
#include "common/unique_fd.h"
#include "vmm/vhost_user/protocol.h"

namespace berth::vmm::vhost_user {

struct Message {
  Header header;
  std::vector<uint8_t> payload;
  std::vector<UniqueFd> descriptors;
};

// Checks a header as it came from the other side: version, size. kDataLoss tells what is wrong with it.
Status CheckHeader(const Header& header);

// A UNIX stream socket that carries whole messages, with descriptors. The other side is another process,
// trusted with guest memory, but its answers are checked, and none is waited for longer than `patience`.
// Errors (kUnavailable: it has gone; kDeadlineExceeded; kDataLoss: it does not keep to the protocol) leave
// the channel unusable, as if the other side had hung up. Thread-compatible.
class Channel {
 public:
  Channel() = default;
  Channel(UniqueFd socket, std::chrono::milliseconds patience)
      : socket_(std::move(socket)), patience_(patience) {}

  bool open() const { return socket_.valid(); }
  int fd() const { return socket_.get(); }
  void Close() { socket_.reset(); }
  // The two sides no longer agree. The descriptor stays open, for whoever watches it.
  void HangUp();

  Status Send(uint32_t request, uint32_t flags, std::span<const uint8_t> payload,
              std::span<const int> descriptors = {});
  // The next message.
  Result<Message> Receive();
  // The answer to `request`.
  Result<Message> ReceiveReply(Request request);

 private:
  using Clock = std::chrono::steady_clock;
  Status SendAll(msghdr& message);
  Result<Message> ReceiveWhole();
  Status WaitFor(short events, Clock::time_point deadline);
  Status ReadExactly(std::span<uint8_t> into, std::vector<UniqueFd>* descriptors, Clock::time_point deadline);

  UniqueFd socket_;
  std::chrono::milliseconds patience_{0};
};

template <class T>
std::span<const uint8_t> BytesOf(const T& value) {
  static_assert(std::is_trivially_copyable_v<T>);
  return {reinterpret_cast<const uint8_t*>(&value), sizeof value};
}

// The payload as a structure of at least `bytes`; kDataLoss when it is shorter.
template <class T>
Result<T> PayloadAs(const Message& message, size_t bytes = sizeof(T)) {
  static_assert(std::is_trivially_copyable_v<T>);
  if (message.payload.size() < bytes) {
    return DataLoss("answer to vhost-user request " + std::to_string(message.header.request) + " has " +
                    std::to_string(message.payload.size()) + " bytes, must have " + std::to_string(bytes));
  }
  T value{};
  std::memcpy(static_cast<void*>(&value), message.payload.data(), bytes);
  return value;
}

}  // namespace berth::vmm::vhost_user
