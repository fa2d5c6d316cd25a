#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "common/status.h"
#include "db/store.h"

// The form of stored records: one byte of version, then the fields in the order of their declaration.
// Integers are LEB128 varints, strings and lists have their length before them, CPU sets are runs. Equal
// values give equal bytes, so states can be compared by them. See db/format.md.
namespace berth::db {

std::string EncodeReport(const placement::HostReport& report);
std::string EncodeClaim(const placement::Claim& claim);
// One provider of a tree without UUID, name, generation and usage; the generations of a tree's providers in
// its order; a consumer without its UUID.
std::string EncodeProvider(const placement::Provider& provider, placement::TreeOwner owner);
std::string EncodeGenerations(const std::vector<uint64_t>& generations);
std::string EncodeConsumer(const placement::Consumer& consumer);
// A whole state, to compare two of them; not stored in this form.
std::string EncodeContents(const Contents& contents);

// kDataLoss: not such a record, cut short, or of a version that is not known.
Result<placement::HostReport> DecodeReport(std::string_view bytes);
Result<placement::Claim> DecodeClaim(std::string_view bytes);
Result<ProviderRecord> DecodeProvider(std::string_view bytes);
Result<std::vector<uint64_t>> DecodeGenerations(std::string_view bytes);
Result<placement::Consumer> DecodeConsumer(std::string_view bytes);

}  // namespace berth::db
