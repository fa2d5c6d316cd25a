#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "scheduler/filters/host_facts.h"
#include "scheduler/fit/fit_digest.h"

namespace berth::scheduler {

struct HostView;

// Hosts that stand next to each other in a picture of the fleet (see Fleet), and beside them, in columns,
// what decisions look at for every host, so that hosts need not be touched.
struct FleetPage {
  static constexpr size_t kHosts = 16;

  // What filters read of a host, see HostView.
  struct ForFilters {
    const HostFacts* facts = nullptr;  // the view's; nullptr: no host, or nothing is known
    uint32_t instances = 0;
    uint32_t failures : 31 = 0;
    uint32_t backing_off : 1 = 0;

    friend bool operator==(const ForFilters&, const ForFilters&) = default;
  };
  // The first 32 bytes of a name, zeros where it ends before: words that compare as the text does.
  using NameHead = std::array<uint64_t, 4>;

  // What a look at all hosts reads of each comes first, in few cache lines.
  std::array<uint64_t, kHosts> states{};  // numbers of states (see FitState); 0: no host, or nobody told
  std::array<ForFilters, kHosts> filtered{};
  std::array<uint8_t, kHosts> ranks{};  // of hosts by name, within the page; of a slot without host: nothing
  std::array<FitDigest, kHosts> digests{};  // nothing of a slot without host
  std::array<NameHead, kHosts> names{};
  std::array<std::shared_ptr<const HostView>, kHosts>
      hosts;  // shared with the pictures that have it in common

  static NameHead HeadOf(const std::string& name) {
    NameHead head{};
    for (size_t i = 0; i < std::min(name.size(), sizeof(NameHead)); ++i)
      head[i / 8] |= uint64_t{static_cast<unsigned char>(name[i])} << (56 - i % 8 * 8);
    return head;
  }
};

}  // namespace berth::scheduler
