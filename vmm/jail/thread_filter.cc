#include "vmm/jail/thread_filter.h"

#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>

#include "vmm/jail/bpf_filter.h"

namespace berth::vmm {
namespace {

// What filters do with a call that is not allowed; 0: there are none.
std::atomic<uint32_t> refused_action{0};

}  // namespace

Status EnableThreadFilters(SeccompMode mode) {
  if (mode == SeccompMode::kOff) return OkStatus();
  const uint32_t action = mode == SeccompMode::kLog ? SECCOMP_RET_LOG : SECCOMP_RET_KILL_PROCESS;
  if (::syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) != 0) {
    return FailedPrecondition("this kernel cannot filter system calls (CONFIG_SECCOMP_FILTER, Linux 4.14)",
                              "seccomp", "give --seccomp false");
  }
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return ErrnoStatus("no new privileges", errno);
  refused_action = action;
  return OkStatus();
}

void EnterThread(ThreadKind kind) {
  const uint32_t action = refused_action.load();
  if (action == 0) return;
  std::vector<sock_filter> program = BuildFilter(kind, action);
  const sock_fprog filter{static_cast<unsigned short>(program.size()), program.data()};
  // Fails only without memory: a thread must not run without its walls.
  CHECK(::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &filter) == 0);
}

}  // namespace berth::vmm
