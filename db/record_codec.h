#pragma once

#include <string>
#include <string_view>

#include "common/status.h"
#include "db/store.h"

// The form of stored records: one byte of version, then the fields in the order of their declaration.
// Integers are LEB128 varints, strings and lists have their length before them, CPU sets are runs. Equal
// values give equal bytes, so states can be compared by them. See db/format.md.
namespace berth::db {

std::string EncodeReport(const placement::HostReport& report);
std::string EncodeClaim(const placement::Claim& claim);
// A whole state, to compare two of them; not stored in this form.
std::string EncodeContents(const Contents& contents);

// kDataLoss: not such a record, cut short, or of a version that is not known.
Result<placement::HostReport> DecodeReport(std::string_view bytes);
Result<placement::Claim> DecodeClaim(std::string_view bytes);

}  // namespace berth::db
