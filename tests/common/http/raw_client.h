#pragma once

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstdlib>
#include <string>
#include <string_view>

#include "common/unique_fd.h"

namespace berth::http {

// One TCP connection to a server on the loopback address that sends exactly what it is told, well formed or
// not.
class RawClient {
 public:
  explicit RawClient(int port) : fd_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<uint16_t>(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    connected_ = connect(fd_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
  }

  bool connected() const { return connected_; }
  // False when the peer has closed.
  bool Send(std::string_view text) {
    while (!text.empty()) {
      ssize_t sent = send(fd_.get(), text.data(), text.size(), MSG_NOSIGNAL);
      if (sent <= 0) return false;
      text.remove_prefix(static_cast<size_t>(sent));
    }
    return true;
  }
  // One whole answer; "" when the connection ends (or 20 s pass) before.
  std::string Answer() {
    size_t head_end = std::string::npos;
    while ((head_end = buffer_.find("\r\n\r\n")) == std::string::npos) {
      if (!More()) return {};
    }
    std::string head = buffer_.substr(0, head_end);
    std::transform(head.begin(), head.end(), head.begin(), [](unsigned char c) { return std::tolower(c); });
    size_t at = head.find("content-length: ");
    size_t length = at == std::string::npos ? 0 : std::strtoull(head.c_str() + at + 16, nullptr, 10);
    while (buffer_.size() < head_end + 4 + length) {
      if (!More()) return {};
    }
    std::string answer = buffer_.substr(0, head_end + 4 + length);
    buffer_.erase(0, answer.size());
    return answer;
  }
  // True when the peer closes within 20 s; what it sends before is dropped.
  bool Closed() {
    while (More()) buffer_.clear();
    return closed_;
  }

 private:
  bool More() {
    pollfd wait{.fd = fd_.get(), .events = POLLIN, .revents = 0};
    if (poll(&wait, 1, 20'000) <= 0) return false;
    char bytes[4096];
    ssize_t got = recv(fd_.get(), bytes, sizeof bytes, 0);
    if (got <= 0) {
      closed_ = true;
      return false;
    }
    buffer_.append(bytes, static_cast<size_t>(got));
    return true;
  }

  UniqueFd fd_;
  bool connected_ = false;
  bool closed_ = false;
  std::string buffer_;
};

inline int StatusOf(const std::string& answer) {
  return answer.size() > 12 ? std::atoi(answer.c_str() + 9) : 0;
}

}  // namespace berth::http
