#pragma once

#include <time.h>

#include <algorithm>
#include <cstdint>
#include <vector>

namespace berth::scheduler::replay {

// CPU time of this thread in nanoseconds: what a decision costs, whoever else uses the machine.
inline uint64_t ThreadCpuNs() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<uint64_t>(time.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(time.tv_nsec);
}

// CPU times of many decisions.
struct Latency {
  uint64_t decisions = 0;
  double p50_us = 0;
  double p99_us = 0;
  double max_us = 0;
  double per_second = 0;  // of CPU time
};

inline Latency Summarize(std::vector<uint32_t>& times_ns) {
  Latency out;
  out.decisions = times_ns.size();
  if (times_ns.empty()) return out;
  std::sort(times_ns.begin(), times_ns.end());
  double sum = 0;
  for (uint32_t time : times_ns) sum += time;
  auto at = [&](double share) {
    return times_ns[static_cast<size_t>(share * static_cast<double>(times_ns.size() - 1))] / 1e3;
  };
  out.p50_us = at(0.5);
  out.p99_us = at(0.99);
  out.max_us = at(1);
  out.per_second = sum > 0 ? static_cast<double>(times_ns.size()) * 1e9 / sum : 0;
  return out;
}

}  // namespace berth::scheduler::replay
