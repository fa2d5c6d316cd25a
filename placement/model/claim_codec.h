#pragma once

#include <string>
#include <string_view>

#include "common/uuid.h"
#include "placement/model/claim.h"

namespace berth::placement {

// A claim in few bytes, for those who keep millions of them in memory: figures take the bytes they need, and
// what is not set takes none. Not for files and networks: only the process that wrote the bytes reads them.

// Appends the claim but for its consumer. `host`: of most claims that are kept together.
void PackClaim(const Claim& claim, const Uuid& host, std::string& out);
// The claim again, equal to what was packed. `packed` is what PackClaim appended; of other bytes it makes
// some claim, and reads none beyond them.
Claim UnpackClaim(std::string_view packed, const Uuid& consumer, const Uuid& host);
// Its name alone, valid as long as `packed`.
std::string_view NameOfPacked(std::string_view packed);

}  // namespace berth::placement
