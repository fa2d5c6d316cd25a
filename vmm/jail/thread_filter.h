#pragma once

#include "common/status.h"
#include "vmm/config/command_line.h"
#include "vmm/jail/call_table.h"

namespace berth::vmm {

// Decides, once and before any other thread is started, what becomes of calls that a thread does not need;
// the process gets no new privileges from then on. kFailedPrecondition where the kernel cannot do it. The
// decision is the process's, as its privileges are, and so it is kept for the process and not handed from
// thread to thread.
Status EnableThreadFilters(SeccompMode mode);

// Confines this thread, and all that it starts, to what the table allows its kind; nothing unless filters are
// enabled. For a new thread to call first, but after it has set its name and CPUs.
void EnterThread(ThreadKind kind);

}  // namespace berth::vmm
