#pragma once

#include <atomic>
#include <cstdint>

namespace berth::agent {

// What has happened to the instances of this host since its agent started, for its metrics. Counted where it
// is logged; read by any thread.
struct InstanceEvents {
  std::atomic<uint64_t> started{0};        // VMMs that were started
  std::atomic<uint64_t> adopted{0};        // VMMs of an earlier agent that were found running
  std::atomic<uint64_t> restarted{0};      // by policy, after an end that nobody asked for
  std::atomic<uint64_t> failed{0};         // instances that became FAILED
  std::atomic<uint64_t> swiotlb_full{0};   // times that a guest told so
  std::atomic<uint64_t> out_of_memory{0};  // VMMs that the kernel ended for lack of memory
  std::atomic<uint64_t> device_faults{0};  // failed tries to give a device back to its driver

  std::atomic<uint64_t> claims_restored{0};      // lost by placement and made again
  std::atomic<uint64_t> claims_not_restored{0};  // tries that placement refused or did not answer
  std::atomic<uint64_t> leftovers_removed{0};    // instances without a claim that were cleaned up
};

}  // namespace berth::agent
