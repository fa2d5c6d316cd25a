#pragma once

#include <sys/types.h>

#include <thread>

#include "common/cpu_set.h"

namespace berth::vmm {

// CPUs of the host that the thread may run on, 0 for the calling one; none when that cannot be told.
CpuSet AllowedCpus(pid_t tid);

// Keeps a thread on those of these CPUs that the calling one may run on: a hint. Where none is left it
// changes nothing.
void KeepOn(std::thread& thread, const CpuSet& cpus);

}  // namespace berth::vmm
