#include "vmm/api/connection.h"

#include <poll.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "vmm/api/router.h"

namespace berth::vmm {
namespace {

constexpr size_t kDescriptorsMax = 64;  // with one request

}  // namespace

ApiConnection::ApiConnection(UniqueFd fd, const ApiLimits& limits, Clock::time_point now)
    : fd_(std::move(fd)), limits_(limits), deadline_(now + limits.idle_timeout) {}

short ApiConnection::events() const {
  return out_.empty() ? POLLIN : POLLOUT;
}

bool ApiConnection::OnReady(short events, VmControl& control, Clock::time_point now) {
  if ((events & (POLLERR | POLLNVAL)) != 0) return false;
  if (!out_.empty() && !Flush(now)) return false;
  if (out_.empty() && !closing_ && (events & (POLLIN | POLLHUP)) != 0 && !ReadSome(now)) return false;
  // One answer at a time: the next request is handled when the last answer has gone.
  while (out_.empty() && !closing_) {
    HandleBuffer(control, now);
    if (out_.empty()) break;
    if (!Flush(now)) return false;
  }
  if (out_.empty()) return !closing_ && !peer_done_;
  return true;
}

bool ApiConnection::OnDeadline(Clock::time_point now) {
  // A client that is idle, or does not take its answer, is dropped; one that is slow to ask is told so.
  if (in_.empty() || !out_.empty() || closing_) return false;
  Answer({408, ErrorBody("DEADLINE_EXCEEDED", "the request did not arrive in time"), {}}, false, now);
  return Flush(now) && !out_.empty();
}

void ApiConnection::Refuse(Clock::time_point now) {
  Answer({503, ErrorBody("UNAVAILABLE", "too many connections"), {}}, false, now);
  Flush(now);
}

bool ApiConnection::ReadSome(Clock::time_point now) {
  // One read of bounded size for each turn of the loop, so that no client holds up the others.
  constexpr size_t kChunk = 64 << 10;
  char chunk[kChunk];
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * kDescriptorsMax)];
  iovec vector{chunk, sizeof chunk};
  msghdr message{};
  message.msg_iov = &vector;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  const ssize_t got = recvmsg(fd_.get(), &message, MSG_CMSG_CLOEXEC);
  if (got >= 0) TakeDescriptors(message);
  // More than there is room for: the kernel has dropped some, and the request would get others than it means.
  if ((message.msg_flags & MSG_CTRUNC) != 0 || fds_.size() > kDescriptorsMax) return false;
  if (got < 0) return errno == EAGAIN || errno == EINTR;
  if (got == 0) {
    peer_done_ = true;
    return true;
  }
  if (in_.empty()) deadline_ = now + limits_.request_timeout;
  in_.append(chunk, static_cast<size_t>(got));
  return true;
}

void ApiConnection::TakeDescriptors(const msghdr& message) {
  for (const cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr;
       header = CMSG_NXTHDR(const_cast<msghdr*>(&message), const_cast<cmsghdr*>(header))) {
    if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
    const size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; ++i) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(header) + i * sizeof fd, sizeof fd);
      fds_.emplace_back(fd);
    }
  }
}

void ApiConnection::HandleBuffer(VmControl& control, Clock::time_point now) {
  if (in_.empty()) return;
  ParseOutcome outcome = ParseHttpRequest(in_, {limits_.header_bytes, limits_.body_bytes});
  if (auto* bad = std::get_if<BadRequest>(&outcome)) {
    Answer({bad->status, ErrorBody("INVALID_ARGUMENT", bad->reason), {}}, false, now);
  } else if (auto* parsed = std::get_if<ParsedRequest>(&outcome)) {
    in_.erase(0, parsed->consumed);
    continued_ = false;
    bool keep_alive = parsed->request.keep_alive && !peer_done_;
    Answer(Route(parsed->request, control, std::exchange(fds_, {})), keep_alive, now);
  } else if (std::get<NeedMore>(outcome).awaits_continue && !std::exchange(continued_, true)) {
    out_ = kHttpContinue;
    sent_ = 0;
    deadline_ = now + limits_.response_timeout;
  }
}

void ApiConnection::Answer(const HttpResponse& response, bool keep_alive, Clock::time_point now) {
  out_ = FormatHttpResponse(response, keep_alive);
  sent_ = 0;
  closing_ = !keep_alive;
  deadline_ = now + limits_.response_timeout;
}

bool ApiConnection::Flush(Clock::time_point now) {
  while (sent_ < out_.size()) {
    ssize_t count = send(fd_.get(), out_.data() + sent_, out_.size() - sent_, MSG_NOSIGNAL);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return errno == EAGAIN;
    sent_ += static_cast<size_t>(count);
  }
  out_.clear();
  deadline_ = now + (in_.empty() ? limits_.idle_timeout : limits_.request_timeout);
  return true;
}

}  // namespace berth::vmm
