#pragma once

#include <cstdint>

#include "scheduler/fit/fit_host.h"
#include "scheduler/request/request_spec.h"

namespace berth::scheduler {

// The most that a prepared host offers of each thing, in one cache line: what is short here needs no closer
// look. Bytes, CPUs, devices.
struct alignas(64) FitDigest {
  uint32_t cells = 0;
  uint32_t free_cpus = 0;       // dedicated, in all cells
  uint32_t most_free_cpus = 0;  // likewise, in one cell
  uint32_t floating_room = 0;   // for further floating vCPUs, on the whole host
  uint32_t devices = 0;
  uint32_t present = 0;      // 0: this is no host
  uint64_t base_room = 0;    // base-page memory of the whole host
  uint64_t most_base = 0;    // likewise, for guest cells in one cell
  uint64_t most_large = 0;   // free pages of one size other than the base size, in one cell
  uint64_t most_secure = 0;  // secure memory of one cell
  uint64_t disk_room = 0;
};
static_assert(sizeof(FitDigest) == 64);

// Of a prepared host. One under other rules than those of claims (FitRules) is said to offer everything.
FitDigest DigestOf(const FitHost& host);

// The least that a request needs of any host.
class LeastNeeds {
 public:
  explicit LeastNeeds(const RequestSpec& spec);

  // True: the request fits on no host with this digest, as Fit would prove. False tells nothing.
  bool Exceed(const FitDigest& host) const {
    // One branch for all: which of them fails is hard to predict, that one fails is not.
    return (cells_ > host.cells) | (free_cpus_ > host.free_cpus) | (cell_cpus_ > host.most_free_cpus) |
           (floating_ > host.floating_room) | (devices_ > host.devices) | (base_ > host.base_room) |
           (cell_base_ > host.most_base) | (cell_large_ > host.most_large) |
           (cell_any_ > host.most_base && cell_any_ > host.most_large) | (cell_secure_ > host.most_secure) |
           (disk_ > host.disk_room);
  }

 private:
  uint32_t cells_ = 0;
  uint32_t free_cpus_ = 0;
  uint32_t cell_cpus_ = 0;
  uint32_t floating_ = 0;
  uint32_t devices_ = 0;
  uint64_t base_ = 0;
  uint64_t cell_base_ = 0;    // of the largest guest cell, if it lies in base pages
  uint64_t cell_large_ = 0;   // if it lies in others
  uint64_t cell_any_ = 0;     // if it may lie in either
  uint64_t cell_secure_ = 0;  // if it is encrypted
  uint64_t disk_ = 0;
};

}  // namespace berth::scheduler
