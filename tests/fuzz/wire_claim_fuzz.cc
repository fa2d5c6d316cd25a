// Bytes from the network as a claim (first byte even) or a host (odd): whatever is read must come back the
// same, and the rules of the model must hold their ground on it.
#include <google/protobuf/stubs/logging.h>

#include <cstdint>

#include "placement/model/usage.h"
#include "placement/wire/claim.h"
#include "placement/wire/host.h"
#include "tests/placement/model/model_builders.h"

namespace {

using berth::Result;
using berth::placement::Claim;
using berth::placement::HostReport;
using berth::placement::HostUsage;

void TryClaim(const uint8_t* data, size_t size) {
  berth::v1::Claim message;
  if (!message.ParseFromArray(data, static_cast<int>(size))) return;
  Result<Claim> claim = berth::wire::ClaimFromProto(message);
  if (!claim) {
    CHECK(!claim.error().field().empty());
    return;
  }
  berth::wire::ClaimToProto(*claim, &message);
  Result<Claim> again = berth::wire::ClaimFromProto(message);
  CHECK(again.has_value() && *again == *claim);
  static const HostReport kHost = berth::placement::testing::MakeHost();
  HostUsage usage;
  if (CheckClaim(kHost, usage, *claim).ok()) {
    AddClaim(*claim, usage);
    RemoveClaim(*claim, usage);
    CHECK(usage == HostUsage{});
  }
}

void TryHost(const uint8_t* data, size_t size) {
  berth::v1::Host message;
  if (!message.ParseFromArray(data, static_cast<int>(size))) return;
  Result<HostReport> host = berth::wire::HostFromProto(message);
  if (!host || !ValidateReport(*host).ok()) return;
  berth::wire::HostToProto(*host, &message);
  Result<HostReport> again = berth::wire::HostFromProto(message);
  CHECK(again.has_value() && *again == *host);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const google::protobuf::LogSilencer kQuiet;  // it reports each invalid UTF-8 string
  if (size == 0) return 0;
  data[0] % 2 == 0 ? TryClaim(data + 1, size - 1) : TryHost(data + 1, size - 1);
  return 0;
}
