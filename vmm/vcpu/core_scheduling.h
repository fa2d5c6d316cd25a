#pragma once

#include <sys/types.h>

#include "common/status.h"

namespace berth::vmm {

// Whose threads may run on the hardware threads of one core at the same time.
enum class CoreGroup {
  kProcess,  // all threads that this process has, and those that they start from now on
  kThread,   // one thread alone
};

// Makes a new group of threads for core scheduling: from now on the kernel runs nobody else's on the same
// core beside them (Linux 5.14, Documentation/admin-guide/hw-vuln/core-scheduling.rst). `thread`: of this
// process; any of them for kProcess. Nothing where cores have one hardware thread. kUnimplemented, with the
// configuration's field: the kernel was built without.
Status KeepCoreFromOthers(CoreGroup group, pid_t thread);

// Whether that is possible here: nothing, or the error that it would have.
Status ProbeCoreScheduling();

// What the errno of prctl(PR_SCHED_CORE) means; 0: it has succeeded.
Status CoreSchedulingStatus(int error);

}  // namespace berth::vmm
