#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "vmm/api/vm_control.h"

namespace berth::vmm {

// What was asked of the guest and how far it is: resizing waits for a guest that may be slow, or refuse. The
// newest request about a thing replaces an older one. Thread-compatible; the clock is handed in.
class HotplugRequests {
 public:
  using Clock = std::chrono::steady_clock;

  void Begin(const std::string& subject, uint64_t wanted, std::chrono::milliseconds timeout,
             Clock::time_point now);
  // Looks where every subject is: done when it has what is wanted, timed out when its time is over (and done
  // all the same, should the guest come to it later). `actual(subject)`: how much there is now; `changed`
  // hears of each that is in another state than at the last look.
  std::vector<HotplugFacts> Look(Clock::time_point now,
                                 const std::function<uint64_t(const std::string&)>& actual,
                                 const std::function<void(const HotplugFacts&)>& changed);
  // A new boot: nothing is asked of this guest. `dropped` hears of each that has not come to its end.
  void Clear(const std::function<void(const HotplugFacts&)>& dropped);

 private:
  struct Request {
    uint64_t wanted = 0;
    Clock::time_point deadline;
    HotplugState state = HotplugState::kPending;
  };
  std::map<std::string, Request> requests_;
};

}  // namespace berth::vmm
