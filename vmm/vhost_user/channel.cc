#include "vmm/vhost_user/channel.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <system_error>

namespace berth::vmm::vhost_user {
namespace {

constexpr size_t kControlBytes = CMSG_SPACE(sizeof(int) * kDescriptorsMax);

// Owns what came with a message, also what is too much.
void TakeDescriptors(msghdr& message, std::vector<UniqueFd>* out) {
  for (cmsghdr* control = CMSG_FIRSTHDR(&message); control != nullptr;
       control = CMSG_NXTHDR(&message, control)) {
    if (control->cmsg_level != SOL_SOCKET || control->cmsg_type != SCM_RIGHTS) continue;
    const size_t count = (control->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; ++i) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(control) + i * sizeof fd, sizeof fd);
      UniqueFd owned(fd);
      if (out != nullptr && out->size() < kDescriptorsMax) out->push_back(std::move(owned));
    }
  }
}

}  // namespace

Status CheckHeader(const Header& header) {
  if ((header.flags & Header::kVersionMask) != Header::kVersion) {
    return DataLoss("vhost-user message of version " + std::to_string(header.flags & Header::kVersionMask) +
                    ", must be 1");
  }
  if (header.size > kPayloadMax) {
    return DataLoss("vhost-user message of " + std::to_string(header.size) + " bytes, at most " +
                    std::to_string(kPayloadMax));
  }
  return OkStatus();
}

Status Channel::WaitFor(short events, Clock::time_point deadline) {
  for (;;) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now()).count();
    if (left <= 0) return Status(StatusCode::kDeadlineExceeded, "the back end does not answer");
    pollfd polled{socket_.get(), events, 0};
    const int ready = poll(&polled, 1, static_cast<int>(left));
    if (ready > 0) return OkStatus();
    if (ready < 0 && errno != EINTR) return ErrnoStatus("poll", errno);
  }
}

Status Channel::Send(uint32_t request, uint32_t flags, std::span<const uint8_t> payload,
                     std::span<const int> descriptors) {
  CHECK(descriptors.size() <= kDescriptorsMax && payload.size() <= kPayloadMax);
  if (!open()) return Unavailable("the back end is not connected");
  const Header header{request, Header::kVersion | flags, static_cast<uint32_t>(payload.size())};
  std::vector<uint8_t> bytes(sizeof header + payload.size());
  std::memcpy(bytes.data(), &header, sizeof header);
  std::copy(payload.begin(), payload.end(), bytes.begin() + sizeof header);

  alignas(cmsghdr) std::array<uint8_t, kControlBytes> control{};
  iovec vector{bytes.data(), bytes.size()};
  msghdr message{};
  message.msg_iov = &vector;
  message.msg_iovlen = 1;
  if (!descriptors.empty()) {
    message.msg_control = control.data();
    message.msg_controllen = CMSG_SPACE(descriptors.size_bytes());
    cmsghdr* first = CMSG_FIRSTHDR(&message);
    first->cmsg_level = SOL_SOCKET;
    first->cmsg_type = SCM_RIGHTS;
    first->cmsg_len = CMSG_LEN(descriptors.size_bytes());
    std::memcpy(CMSG_DATA(first), descriptors.data(), descriptors.size_bytes());
  }
  Status sent = SendAll(message);
  if (!sent.ok()) HangUp();
  return sent;
}

Status Channel::SendAll(msghdr& message) {
  const auto deadline = Clock::now() + patience_;
  iovec& vector = *message.msg_iov;
  while (vector.iov_len > 0) {
    const ssize_t sent = sendmsg(socket_.get(), &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0 && errno == EAGAIN) {
      TRY(WaitFor(POLLOUT, deadline));
      continue;
    }
    if (sent < 0) return Unavailable("the back end has gone: " + std::generic_category().message(errno));
    vector.iov_base = static_cast<uint8_t*>(vector.iov_base) + sent;
    vector.iov_len -= static_cast<size_t>(sent);
    message.msg_control = nullptr;  // went with the first byte
    message.msg_controllen = 0;
  }
  return OkStatus();
}

void Channel::HangUp() {
  shutdown(socket_.get(), SHUT_RDWR);
}

Status Channel::ReadExactly(std::span<uint8_t> into, std::vector<UniqueFd>* descriptors,
                            Clock::time_point deadline) {
  while (!into.empty()) {
    alignas(cmsghdr) std::array<uint8_t, kControlBytes> control{};
    iovec vector{into.data(), into.size()};
    msghdr message{};
    message.msg_iov = &vector;
    message.msg_iovlen = 1;
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    const ssize_t got = recvmsg(socket_.get(), &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && errno == EAGAIN) {
      TRY(WaitFor(POLLIN, deadline));
      continue;
    }
    if (got < 0) return Unavailable("the back end has gone: " + std::generic_category().message(errno));
    TakeDescriptors(message, descriptors);
    if (got == 0) return Unavailable("the back end has closed the connection");
    into = into.subspan(static_cast<size_t>(got));
  }
  return OkStatus();
}

Result<Message> Channel::Receive() {
  if (!open()) return Unavailable("the back end is not connected");
  Result<Message> message = ReceiveWhole();
  if (!message.has_value()) HangUp();
  return message;
}

Result<Message> Channel::ReceiveWhole() {
  const auto deadline = Clock::now() + patience_;
  Message message;
  TRY(ReadExactly({reinterpret_cast<uint8_t*>(&message.header), sizeof(Header)}, &message.descriptors,
                  deadline));
  TRY(CheckHeader(message.header));
  message.payload.resize(message.header.size);
  TRY(ReadExactly(message.payload, &message.descriptors, deadline));
  return message;
}

Result<Message> Channel::ReceiveReply(Request request) {
  TRY_ASSIGN(Message message, Receive());
  if (message.header.request != static_cast<uint32_t>(request) ||
      (message.header.flags & Header::kReply) == 0) {
    HangUp();
    return DataLoss("the back end answers request " + std::to_string(static_cast<uint32_t>(request)) +
                    " by message " + std::to_string(message.header.request));
  }
  return message;
}

}  // namespace berth::vmm::vhost_user
