#pragma once

#include <sys/types.h>

#include <string>

namespace berth::agent {

// Whether the kernel's log (`root`/dev/kmsg) tells that the OOM killer ended this process. false as well when
// the log may not be read.
bool KilledForMemory(const std::string& root, pid_t pid);

}  // namespace berth::agent
