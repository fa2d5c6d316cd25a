#pragma once

#include <string>

namespace berth::agent {

// "host:port" as other machines can use it: where the host part only means "all addresses of this machine"
// (0.0.0.0, [::], or nothing), the host's name stands instead. Everything else is returned as it is.
std::string ReachableEndpoint(const std::string& endpoint, const std::string& host_name);

}  // namespace berth::agent
