#pragma once

#include <pthread.h>
#include <sched.h>

#include <thread>

#include "common/cpu_set.h"

namespace berth::vmm {

// Keeps a thread on these CPUs of the host, where it may run there: a hint. An empty set changes nothing.
inline void KeepOn(std::thread& thread, const CpuSet& cpus) {
  if (cpus.empty()) return;
  cpu_set_t mask;
  CPU_ZERO(&mask);
  for (uint32_t cpu = cpus.First(); cpu != CpuSet::kNone && cpu < CPU_SETSIZE; cpu = cpus.NextAfter(cpu)) {
    CPU_SET(cpu, &mask);
  }
  pthread_setaffinity_np(thread.native_handle(), sizeof mask, &mask);
}

}  // namespace berth::vmm
