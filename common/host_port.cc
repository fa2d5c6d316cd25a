#include "common/host_port.h"

#include <arpa/inet.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <utility>

namespace berth {
namespace {

constexpr int kMaxPort = 65535;
constexpr size_t kMaxHost = 253;  // of a DNS name
constexpr size_t kMaxShown = 300;

bool IsName(std::string_view host) {
  return !host.empty() && host.size() <= kMaxHost &&
         std::all_of(host.begin(), host.end(),
                     [](unsigned char c) { return std::isalnum(c) || c == '-' || c == '.' || c == '_'; });
}

// With or without a zone ("fe80::1%eth0").
bool IsIpv6(std::string_view host) {
  in6_addr address{};
  size_t zone = host.find('%');
  if (zone != std::string_view::npos && !IsName(host.substr(zone + 1))) return false;
  return inet_pton(AF_INET6, std::string(host.substr(0, zone)).c_str(), &address) == 1;
}

// -1: no number that a port may have.
int ParsePort(std::string_view text) {
  int port = -1;
  if (text.empty() || !std::isdigit(static_cast<unsigned char>(text.front()))) return -1;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  return error == std::errc() && end == text.data() + text.size() && port <= kMaxPort ? port : -1;
}

Result<HostPort> Parse(std::string_view text, std::string field, int least) {
  HostPort out;
  size_t colon = text.rfind(':');
  std::string_view host = text.substr(0, colon);
  bool brackets = host.size() > 2 && host.front() == '[' && host.back() == ']';
  if (brackets) host = host.substr(1, host.size() - 2);
  if (colon != std::string_view::npos) out.port = ParsePort(text.substr(colon + 1));
  if (colon == std::string_view::npos || out.port < least || !(brackets ? IsIpv6(host) : IsName(host))) {
    return InvalidArgument("\"" + std::string(text.substr(0, kMaxShown)) + "\" is no address",
                           std::move(field),
                           "expected HOST:PORT or [IPv6]:PORT, port " + std::to_string(least) + " to " +
                               std::to_string(kMaxPort));
  }
  out.host = host;
  return out;
}

}  // namespace

std::string HostPort::ToString() const {
  return (is_ipv6() ? "[" + host + "]" : host) + ":" + std::to_string(port);
}

Result<HostPort> ParseListen(std::string_view text, std::string field) {
  return Parse(text, std::move(field), 0);
}

Result<HostPort> ParsePeer(std::string_view text, std::string field) {
  return Parse(text, std::move(field), 1);
}

bool IsLoopback(const std::string& host) {
  in_addr address{};
  if (inet_pton(AF_INET, host.c_str(), &address) == 1) return ntohl(address.s_addr) >> 24 == 127;
  return host == "localhost" || host == "::1";
}

}  // namespace berth
