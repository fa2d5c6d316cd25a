#include "vmm/bus/thread_affinity.h"

#include <pthread.h>
#include <sched.h>

namespace berth::vmm {

CpuSet AllowedCpus(pid_t tid) {
  cpu_set_t mask;
  CPU_ZERO(&mask);
  CpuSet cpus;
  if (::sched_getaffinity(tid, sizeof mask, &mask) != 0) return cpus;
  for (uint32_t cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (CPU_ISSET(cpu, &mask)) cpus.Add(cpu);
  }
  return cpus;
}

void KeepOn(std::thread& thread, const CpuSet& cpus) {
  if (cpus.empty()) return;
  const CpuSet allowed = cpus & AllowedCpus(0);
  if (allowed.empty()) return;
  cpu_set_t mask;
  CPU_ZERO(&mask);
  for (uint32_t cpu = allowed.First(); cpu != CpuSet::kNone; cpu = allowed.NextAfter(cpu))
    CPU_SET(cpu, &mask);
  ::pthread_setaffinity_np(thread.native_handle(), sizeof mask, &mask);
}

}  // namespace berth::vmm
