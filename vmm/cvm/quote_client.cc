#include "vmm/cvm/quote_client.h"

#include <poll.h>
#include <sys/socket.h>

#include <cerrno>
#include <utility>

#include "common/unique_fd.h"
#include "vmm/bus/unix_listener.h"
#include "vmm/cvm/bytes.h"

namespace berth::vmm {
namespace {

using Clock = std::chrono::steady_clock;
constexpr uint32_t kMaxAnswer = 128 << 10;

struct MessageHeader {
  uint16_t major, minor;
  uint32_t type, size, error;
};
struct QuoteRequest {
  MessageHeader header;
  uint32_t report_size, id_list_size;
};
struct QuoteAnswer {
  MessageHeader header;
  uint32_t selected_id_size, quote_size;
};
constexpr uint16_t kMajor = 1, kMinor = 1;
constexpr uint32_t kGetQuote = 0, kGetQuoteAnswer = 1;

Status Wait(int fd, short events, Clock::time_point until) {
  const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(until - Clock::now()).count();
  pollfd wanted{fd, events, 0};
  const int ready = left <= 0 ? 0 : ::poll(&wanted, 1, static_cast<int>(left));
  if (ready < 0 && errno == EINTR) return Wait(fd, events, until);
  return ready > 0 ? OkStatus() : Unavailable("the quote service does not answer in time");
}

Status SendAll(int fd, std::span<const uint8_t> bytes, Clock::time_point until) {
  while (!bytes.empty()) {
    TRY(Wait(fd, POLLOUT, until));
    const ssize_t sent = ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0 && (errno == EAGAIN || errno == EINTR)) continue;
    if (sent <= 0) return Unavailable("the quote service has closed the connection");
    bytes = bytes.subspan(static_cast<size_t>(sent));
  }
  return OkStatus();
}

Status ReceiveAll(int fd, std::span<uint8_t> bytes, Clock::time_point until) {
  while (!bytes.empty()) {
    TRY(Wait(fd, POLLIN, until));
    const ssize_t got = ::recv(fd, bytes.data(), bytes.size(), MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) continue;
    if (got <= 0) return Unavailable("the quote service has closed the connection");
    bytes = bytes.subspan(static_cast<size_t>(got));
  }
  return OkStatus();
}

}  // namespace

Result<std::vector<uint8_t>> ParseQuoteAnswer(std::span<const uint8_t> message) {
  const auto answer = ReadAt<QuoteAnswer>(message, 0);
  const auto header = ReadAt<MessageHeader>(message, 0);
  if (!header || header->major != kMajor || header->type != kGetQuoteAnswer ||
      header->size != message.size()) {
    return InvalidArgument("the quote service's answer is none");
  }
  if (header->error != 0)
    return Internal("the quote service failed with error " + std::to_string(header->error));
  if (!answer) return InvalidArgument("the quote service's answer is cut off");
  const uint64_t begin = sizeof(QuoteAnswer) + uint64_t{answer->selected_id_size};
  if (begin > message.size() || answer->quote_size != message.size() - begin) {
    return InvalidArgument("the quote service's answer is cut off");
  }
  return std::vector<uint8_t>(message.begin() + static_cast<ptrdiff_t>(begin), message.end());
}

Result<std::vector<uint8_t>> RequestQuote(const std::string& socket, std::span<const uint8_t> report,
                                          std::chrono::milliseconds timeout) {
  // A service that listens and takes nobody in must not hold the thread up.
  Result<UniqueFd> connected = ConnectUnix(socket, /*now=*/true);
  if (!connected.has_value()) {
    return Unavailable("connect to the quote service at " + socket + ": " + connected.error().message());
  }
  const UniqueFd fd = *std::move(connected);
  const auto until = Clock::now() + timeout;
  QuoteRequest request{};
  const auto size = static_cast<uint32_t>(sizeof request + report.size());
  request.header = {kMajor, kMinor, kGetQuote, size, 0};
  request.report_size = static_cast<uint32_t>(report.size());
  // A message follows its size, which is a big-endian number.
  std::vector<uint8_t> message;
  for (int shift = 24; shift >= 0; shift -= 8) message.push_back(static_cast<uint8_t>(size >> shift));
  const auto head = BytesOf(request);
  message.insert(message.end(), head.begin(), head.end());
  message.insert(message.end(), report.begin(), report.end());
  TRY(SendAll(fd.get(), message, until));
  std::array<uint8_t, 4> prefix{};
  TRY(ReceiveAll(fd.get(), prefix, until));
  uint32_t length = 0;
  for (uint8_t byte : prefix) length = length << 8 | byte;
  if (length > kMaxAnswer)
    return InvalidArgument("the quote service's answer has " + std::to_string(length) + " bytes");
  std::vector<uint8_t> answer(length);
  TRY(ReceiveAll(fd.get(), answer, until));
  return ParseQuoteAnswer(answer);
}

}  // namespace berth::vmm
