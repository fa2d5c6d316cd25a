#pragma once

#include <chrono>
#include <cstdint>

namespace berth::agent {

// When a VM that ended is started again without being asked.
enum class Restart {
  kNever,
  kOnFailure,  // it did not power off by itself
  kAlways,
};

struct InstancePolicy {
  Restart restart = Restart::kNever;
  uint32_t restart_limit = 5;  // in a row
  std::chrono::milliseconds restart_pause{
      1'000};  // before the first restart, twice as long before each further
  std::chrono::milliseconds restart_settle{600'000};  // a VM that ran so long counts from nothing again
  bool start_after_reboot = true;                     // VMs that ran when the host went down
};

// What becomes of a running VM that no claim explains.
enum class Unclaimed {
  kHeal,    // its claim is made again from the instance's record; while that is refused, as kReport
  kReport,  // logged and left alone
  kStop,    // shut down and removed, after a while in which its claim may come back
};

}  // namespace berth::agent
