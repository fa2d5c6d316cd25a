#include "compute-agent/instances/oom_killer.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <string_view>

#include "common/unique_fd.h"

namespace berth::agent {
namespace {

constexpr int kMaxRecords = 1 << 16;

}  // namespace

bool KilledForMemory(const std::string& root, pid_t pid) {
  UniqueFd log(::open((root + "/dev/kmsg").c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  if (!log.valid()) return false;
  // Both "Out of memory: Killed process 7 (berth-vmm)" and "Memory cgroup out of memory: Killed process 7
  // (...)".
  std::string mark = "Killed process " + std::to_string(pid) + " (";
  char record[8192];
  for (int i = 0; i < kMaxRecords; ++i) {
    ssize_t got = ::read(log.get(), record, sizeof record);
    if (got < 0 && (errno == EPIPE || errno == EINTR)) continue;  // records were overwritten meanwhile
    if (got <= 0) return false;
    if (std::string_view(record, static_cast<size_t>(got)).find(mark) != std::string_view::npos) return true;
  }
  return false;
}

}  // namespace berth::agent
