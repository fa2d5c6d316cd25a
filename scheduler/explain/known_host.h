#pragma once

#include <memory>
#include <utility>
#include <vector>

#include "placement/model/claims_by_consumer.h"
#include "placement/model/host.h"
#include "placement/model/packed_claims.h"
#include "placement/model/usage.h"
#include "scheduler/fit/fit_host.h"
#include "scheduler/fit/fit_state.h"

namespace berth::scheduler {

// The claims of one host, unpacked when somebody asks for them: most questions ask for those of few hosts.
// Refers to what it is made of. Not thread-safe.
class KnownClaims {
 public:
  using Claims = placement::ClaimsByConsumer;

  KnownClaims() = default;
  KnownClaims(const Claims* claims) : claims_(claims) {}  // NOLINT(google-explicit-constructor)
  explicit KnownClaims(const placement::PackedClaims* packed) : packed_(packed) {}

  bool empty() const { return packed_ != nullptr ? packed_->empty() : claims_->empty(); }
  const Claims& operator*() const {
    if (claims_ == nullptr) Unpack();
    return *claims_;
  }
  const Claims* operator->() const { return &**this; }

 private:
  void Unpack() const {
    auto unpacked = std::make_shared<Claims>();
    packed_->ForEach([&](placement::Claim claim) {
      const Uuid consumer = claim.consumer;
      unpacked->emplace_hint(unpacked->end(), consumer,
                             std::make_shared<const placement::Claim>(std::move(claim)));
    });
    claims_ = unpacked.get();
    unpacked_ = std::move(unpacked);
  }

  const placement::PackedClaims* packed_ = nullptr;
  mutable std::shared_ptr<const Claims> unpacked_;  // shared by copies
  mutable const Claims* claims_ = nullptr;
};

// One host of a picture of the fleet. Refers to the picture, which must outlive it.
struct KnownHost {
  using Claims = KnownClaims::Claims;

  const placement::HostReport* report = nullptr;
  const placement::HostUsage* usage = nullptr;  // of the claims
  const FitHost* fit = nullptr;                 // of report and usage
  KnownClaims claims;
  const FitState* state = nullptr;  // of fit; not told: none
};

// Ascending by name. All of them have one table of device types.
using KnownHosts = std::vector<KnownHost>;

}  // namespace berth::scheduler
