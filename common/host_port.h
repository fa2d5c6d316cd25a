#pragma once

#include <string>
#include <string_view>

#include "common/status.h"

namespace berth {

// An address of the command line or of a file. A value type.
struct HostPort {
  std::string host;  // a name or an address; IPv6 without brackets
  int port = 0;

  bool is_ipv6() const { return host.find(':') != std::string::npos; }
  // "HOST:PORT", "[IPv6]:PORT".
  std::string ToString() const;
};

// HOST:PORT or [IPv6]:PORT, by its form alone: nothing is looked up. gRPC would take a port that is too large
// modulo 65536, and a missing one as 443. kInvalidArgument names `field` (the option), the value and the
// range.
Result<HostPort> ParseListen(std::string_view text, std::string field);  // port 0 to 65535; 0: any free one
Result<HostPort> ParsePeer(std::string_view text, std::string field);    // port 1 to 65535

// Whether only programs of this machine can reach it: localhost, ::1 and 127.0.0.0/8.
bool IsLoopback(const std::string& host);

}  // namespace berth
