#pragma once

#include <memory>
#include <string>

#include "common/status.h"
#include "placement/rest/identity.h"

namespace berth::placement::rest {

// Fixed tokens from a YAML file:
//   tokens:
//   - token: 0c2d...      # at least 16 characters
//     user: nova
//     project: service
//     roles: [service]
// kInvalidArgument names the place. kPermissionDenied: the file can be read by everybody.
Result<std::unique_ptr<Authenticator>> OpenTokenFile(const std::string& path);
// `name` stands in errors.
Result<std::unique_ptr<Authenticator>> ParseTokenFile(std::string_view text, std::string_view name);

}  // namespace berth::placement::rest
