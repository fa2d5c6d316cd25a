#include "vmm/api/client.h"

#include <sys/socket.h>
#include <sys/time.h>

#include <cerrno>
#include <charconv>
#include <cstring>
#include <nlohmann/json.hpp>
#include <vector>

#include "vmm/api/router.h"
#include "vmm/bus/unix_listener.h"

namespace berth::vmm {
namespace {

constexpr size_t kMaxAnswer = 16 << 20;

Status SocketError(const std::string& what) {
  if (errno == EAGAIN) return {StatusCode::kDeadlineExceeded, what + ": no answer in time"};
  return ErrnoStatus(what, errno);
}

Status SendAll(int fd, std::string_view text, std::span<const int> fds) {
  std::vector<char> control(fds.empty() ? 0 : CMSG_SPACE(fds.size_bytes()));
  while (!text.empty()) {
    iovec vector{const_cast<char*>(text.data()), text.size()};  // only read from
    msghdr message{};
    message.msg_iov = &vector;
    message.msg_iovlen = 1;
    if (!fds.empty()) {
      message.msg_control = control.data();
      message.msg_controllen = control.size();
      cmsghdr* header = CMSG_FIRSTHDR(&message);
      header->cmsg_level = SOL_SOCKET;
      header->cmsg_type = SCM_RIGHTS;
      header->cmsg_len = CMSG_LEN(fds.size_bytes());
      std::memcpy(CMSG_DATA(header), fds.data(), fds.size_bytes());
    }
    const ssize_t count = sendmsg(fd, &message, MSG_NOSIGNAL);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0 && errno == EPIPE) return OkStatus();  // refused early: the answer says why
    if (count < 0) return SocketError("send");
    text.remove_prefix(static_cast<size_t>(count));
    fds = {};  // went with the first bytes
  }
  return OkStatus();
}

// Everything until the server closes, as "Connection: close" asks.
Result<std::string> ReceiveAll(int fd) {
  std::string text;
  char chunk[16 << 10];
  while (true) {
    ssize_t count = recv(fd, chunk, sizeof chunk, 0);
    if (count < 0 && errno == EINTR) continue;
    if (count == 0 || (count < 0 && errno == ECONNRESET && !text.empty())) return text;
    if (count < 0) return SocketError("receive");
    text.append(chunk, static_cast<size_t>(count));
    if (text.size() > kMaxAnswer)
      return DataLoss("answer larger than " + std::to_string(kMaxAnswer) + " bytes");
  }
}

Result<HttpResponse> ParseAnswer(const std::string& text) {
  constexpr std::string_view kVersion = "HTTP/1.1 ";
  size_t header_end = text.find("\r\n\r\n");
  HttpResponse response;
  if (!text.starts_with(kVersion) || header_end == std::string::npos)
    return DataLoss("the answer is not a response of HTTP/1.1");
  const char* digits = text.data() + kVersion.size();
  auto [end, error] = std::from_chars(digits, text.data() + header_end, response.status);
  if (error != std::errc() || end != digits + 3) return DataLoss("the answer has no status");
  response.body = text.substr(header_end + 4);
  return response;
}

}  // namespace

Result<HttpResponse> CallApi(const std::string& socket_path, std::string_view method, std::string_view verb,
                             std::chrono::milliseconds timeout, std::string_view body,
                             std::span<const int> fds) {
  TRY_ASSIGN(UniqueFd fd, ConnectUnix(socket_path));
  timeval limit{timeout.count() / 1000, timeout.count() % 1000 * 1000};
  for (int option : {SO_RCVTIMEO, SO_SNDTIMEO}) {
    if (setsockopt(fd.get(), SOL_SOCKET, option, &limit, sizeof limit) != 0)
      return ErrnoStatus("timeout", errno);
  }
  std::string request = std::string(method) + " " + std::string(kApiBase) + std::string(verb) +
                        " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n";
  if (!body.empty()) {
    request += "Content-Type: application/json\r\nContent-Length: " + std::to_string(body.size()) + "\r\n";
  }
  request += "\r\n";
  request += body;
  TRY(SendAll(fd.get(), request, fds));
  TRY_ASSIGN(std::string answer, ReceiveAll(fd.get()));
  return ParseAnswer(answer);
}

std::string IndentJson(const std::string& text) {
  auto json = nlohmann::ordered_json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (json.is_discarded()) return text;
  return json.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

}  // namespace berth::vmm
