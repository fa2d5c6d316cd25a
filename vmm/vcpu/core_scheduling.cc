#include "vmm/vcpu/core_scheduling.h"

#include <sys/prctl.h>

#include <cerrno>
#include <utility>

namespace berth::vmm {
namespace {

// linux/prctl.h of Linux 5.14.
constexpr int kSchedCore = 62;
constexpr unsigned long kGet = 0;
constexpr unsigned long kCreate = 1;
constexpr unsigned long kScopeThread = 0;
constexpr unsigned long kScopeThreadGroup = 1;

}  // namespace

Status KeepCoreFromOthers(CoreGroup group, pid_t thread) {
  const unsigned long scope = group == CoreGroup::kProcess ? kScopeThreadGroup : kScopeThread;
  const int result = ::prctl(kSchedCore, kCreate, static_cast<unsigned long>(thread), scope, 0UL);
  return CoreSchedulingStatus(result == 0 ? 0 : errno);
}

Status ProbeCoreScheduling() {
  unsigned long cookie = 0;
  return CoreSchedulingStatus(::prctl(kSchedCore, kGet, 0UL, kScopeThread, &cookie) == 0 ? 0 : errno);
}

Status CoreSchedulingStatus(int error) {
  switch (error) {
    case 0:
    case ENODEV:  // no core has two hardware threads
      return OkStatus();
    case EINVAL:
      return Unimplemented("this host's kernel has no core scheduling (CONFIG_SCHED_CORE)")
          .WithField("cpus.core_scheduling")
          .WithHint("core_scheduling=off, and an affinity that gives whole cores");
    default:
      return ErrnoStatus("keep others from the vCPUs' cores", error).WithField("cpus.core_scheduling");
  }
}

}  // namespace berth::vmm
