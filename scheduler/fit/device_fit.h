#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <vector>

#include "scheduler/fit/assignment.h"
#include "scheduler/fit/device_pool.h"
#include "scheduler/fit/fit_host.h"
#include "scheduler/request/request_spec.h"

namespace berth::scheduler {

// Counts elementary steps; a search that needs more gives up as undecided.
class StepBudget {
 public:
  explicit StepBudget(uint64_t limit) : limit_(limit) {}
  // False when used up.
  bool Spend(uint64_t steps = 1) {
    used_ += steps;
    return used_ <= limit_;
  }
  bool exhausted() const { return used_ > limit_; }
  uint64_t used() const { return used_; }

 private:
  uint64_t limit_;
  uint64_t used_ = 0;
};

// The host cells that a guest sits on, as the NUMA policies see them (R8).
struct Locality {
  bool topology = false;  // no guest topology: every policy is without effect
  std::vector<NumaNode> nodes;
  bool sockets_known = false;          // of every host cell
  std::vector<NumaNode> socket_nodes;  // host cells that share a socket with one of `nodes`

  bool IsLocal(std::optional<NumaNode> node) const;
  bool Allows(AffinityPolicy policy, std::optional<NumaNode> node) const;
};
// `chosen` are indexes of host cells.
Locality MakeLocality(const FitHost& host, const std::vector<uint32_t>& chosen);

struct DeviceFit {
  Verdict verdict = Verdict::kNo;
  uint32_t non_local = 0;
  std::vector<DeviceAssignment> devices;  // by request, then address
};

// Distinct devices for every request of `spec`, obeying policies, the exclusion of a PF and its VFs, and
// group_policy: with the fewest non-local devices, then the lowest addresses. Exact: a "no" is a proof.
//
// Devices are given in the order of their cost by augmenting paths. The sets of devices that can be matched
// are the independent sets of a matroid, so this order is optimal and a shortage proves that there is no
// assignment. What a matroid can not say (PF or VFs) is decided by branching on the parents that the relaxed
// solution uses in two ways; interchangeable parents are tried once.
DeviceFit FitDevices(const FitHost& host, const RequestSpec& spec, const DevicePool& pool,
                     const Locality& locality, StepBudget& budget);

}  // namespace berth::scheduler
