#include "compute-agent/service/endpoint.h"

namespace berth::agent {

std::string ReachableEndpoint(const std::string& endpoint, const std::string& host_name) {
  const size_t colon = endpoint.rfind(':');
  if (colon == std::string::npos) return endpoint;
  const std::string host = endpoint.substr(0, colon);
  const bool everywhere =
      host.empty() || host == "0.0.0.0" || host == "[::]" || host == "[::0]" || host == "*";
  return everywhere ? host_name + endpoint.substr(colon) : endpoint;
}

}  // namespace berth::agent
