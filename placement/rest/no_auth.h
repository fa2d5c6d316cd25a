#pragma once

#include <memory>

#include "placement/rest/identity.h"

namespace berth::placement::rest {

// Believes what the client says: X-Auth-Token is "user" or "user:project", X-Project-Id another project,
// X-Roles the roles; the user "admin" has the role admin if none are given; OpenStack-System-Scope makes it a
// token of the system. OpenStack's own test authentication ("noauth2"), for loopback addresses and tests.
std::unique_ptr<Authenticator> NewNoAuthenticator();

}  // namespace berth::placement::rest
