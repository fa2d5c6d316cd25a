#pragma once

#include <string>

#include "common/status.h"

namespace berth::agent {

// TAP interfaces that outlive the process that made them. An interface, since tests have no network of their
// own.
class TapLinks {
 public:
  virtual ~TapLinks() = default;
  // Makes the TAP if it is not there, makes it a port of the bridge, sets it up. May be repeated. kNotFound:
  // there is no such bridge; kFailedPrecondition: the name belongs to another kind of interface.
  virtual Status Create(const std::string& tap, const std::string& bridge) = 0;
  // One that is gone is fine.
  virtual Status Remove(const std::string& tap) = 0;
};

// Through /dev/net/tun and the bridge's ioctls (Linux Documentation/networking/tuntap.rst, linux/sockios.h).
// Needs CAP_NET_ADMIN.
class KernelTapLinks final : public TapLinks {
 public:
  Status Create(const std::string& tap, const std::string& bridge) override;
  Status Remove(const std::string& tap) override;
};

}  // namespace berth::agent
