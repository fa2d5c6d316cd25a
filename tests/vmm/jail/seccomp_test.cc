#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/audit.h>
#include <linux/kvm.h>
#include <linux/seccomp.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstring>
#include <set>
#include <string>
#include <vector>

#include "vmm/jail/bpf_filter.h"
#include "vmm/jail/landlock.h"
#include "vmm/jail/thread_filter.h"

namespace berth::vmm {
namespace {

using Form = ArgumentRule::Form;

// What the kernel makes of a program: the few instructions that BuildFilter uses.
uint32_t Evaluate(const std::vector<sock_filter>& program, const seccomp_data& data) {
  uint32_t accumulator = 0;
  for (size_t at = 0; at < program.size(); ++at) {
    const sock_filter& step = program[at];
    switch (step.code) {
      case BPF_LD | BPF_W | BPF_ABS:
        std::memcpy(&accumulator, reinterpret_cast<const uint8_t*>(&data) + step.k, sizeof accumulator);
        break;
      case BPF_JMP | BPF_JEQ | BPF_K:
        at += accumulator == step.k ? step.jt : step.jf;
        break;
      case BPF_JMP | BPF_JSET | BPF_K:
        at += (accumulator & step.k) != 0 ? step.jt : step.jf;
        break;
      case BPF_JMP | BPF_JA:
        at += step.k;
        break;
      case BPF_RET | BPF_K:
        return step.k;
      default:
        ADD_FAILURE() << "instruction " << step.code;
        return 0;
    }
  }
  ADD_FAILURE() << "the program has no end";
  return 0;
}

// The table, read slowly.
bool Allowed(ThreadKind kind, const seccomp_data& data) {
  for (const AllowedCall& call : CallTable()) {
    if (static_cast<int>(call.number) != data.nr || !MayCall(call, kind)) continue;
    const auto value = static_cast<uint32_t>(data.args[call.rule.index]);
    if (call.rule.form == Form::kAny) return true;
    if (call.rule.form == Form::kClear && (value & call.rule.values[0]) == 0) return true;
    if (call.rule.form != Form::kOneOf) continue;
    for (uint32_t good : call.rule.values) {
      if (good == value) return true;
    }
  }
  return false;
}

TEST(BpfFilter, DoesWhatTheTableSaysForEveryCallAndKind) {
  // Values that some rule speaks of, and others.
  std::set<uint64_t> values = {0, 1, 7, UINT64_MAX, 0x100000000};
  for (const AllowedCall& call : CallTable()) {
    for (uint32_t value : call.rule.values) values.insert({value, value + 1, value | uint64_t{1} << 40});
  }
  for (size_t k = 0; k < kThreadKinds; ++k) {
    const auto kind = static_cast<ThreadKind>(k);
    const std::vector<sock_filter> program = BuildFilter(kind, SECCOMP_RET_LOG);
    EXPECT_LT(program.size(), 1000u);
    for (int number = 0; number < 600; ++number) {
      for (uint64_t value : values) {
        seccomp_data data{};
        data.nr = number;
        data.arch = AUDIT_ARCH_X86_64;
        for (auto& argument : data.args) argument = value;
        const uint32_t expected = Allowed(kind, data) ? SECCOMP_RET_ALLOW : SECCOMP_RET_LOG;
        ASSERT_EQ(Evaluate(program, data), expected)
            << ThreadKindName(kind) << " call " << number << " argument " << value;
      }
    }
  }
}

TEST(BpfFilter, EndsTheProcessForCallsOfOtherArchitectures) {
  const std::vector<sock_filter> program = BuildFilter(ThreadKind::kControl, SECCOMP_RET_LOG);
  seccomp_data data{};
  data.nr = SYS_read;
  data.arch = AUDIT_ARCH_I386;
  EXPECT_EQ(Evaluate(program, data), SECCOMP_RET_KILL_PROCESS);
  data.arch = AUDIT_ARCH_X86_64;
  data.nr = 0x40000000 | SYS_read;  // x32
  EXPECT_EQ(Evaluate(program, data), SECCOMP_RET_LOG);
}

// The signal that ended a child which ran `body`, or 0.
template <class Body>
int Ended(SeccompMode mode, ThreadKind kind, Body body) {
  const pid_t child = fork();
  if (child == 0) {
    if (!EnableThreadFilters(mode).ok()) _exit(1);
    EnterThread(kind);
    body();
    syscall(SYS_exit, 0);  // of the one thread: what every kind may do
  }
  int status = 0;
  waitpid(child, &status, 0);
  if (WIFSIGNALED(status)) return WTERMSIG(status);
  EXPECT_EQ(WEXITSTATUS(status), 0);
  return 0;
}

class ThreadFilterTest : public testing::TestWithParam<ThreadKind> {};

TEST_P(ThreadFilterTest, AnUnlistedCallEndsTheProcess) {
  EXPECT_EQ(Ended(SeccompMode::kKill, GetParam(), [] { syscall(SYS_getppid); }), SIGSYS);
  EXPECT_EQ(Ended(SeccompMode::kKill, GetParam(), [] { syscall(SYS_execve, "/bin/true", nullptr, nullptr); }),
            SIGSYS);
}

TEST_P(ThreadFilterTest, LetsListedCallsPass) {
  EXPECT_EQ(Ended(SeccompMode::kKill, GetParam(), [] { syscall(SYS_futex, nullptr, 1, 0, nullptr); }), 0);
}

TEST_P(ThreadFilterTest, InLogModeAndWithoutFiltersEverythingPasses) {
  EXPECT_EQ(Ended(SeccompMode::kLog, GetParam(), [] { syscall(SYS_getppid); }), 0);
  EXPECT_EQ(Ended(SeccompMode::kOff, GetParam(), [] { syscall(SYS_getppid); }), 0);
}

INSTANTIATE_TEST_SUITE_P(Kinds, ThreadFilterTest,
                         testing::Values(ThreadKind::kControl, ThreadKind::kVcpu, ThreadKind::kDevices,
                                         ThreadKind::kDisk, ThreadKind::kPager, ThreadKind::kPrefault),
                         [](const auto& kind) { return std::string(ThreadKindName(kind.param)); });

// The arguments count, too.
TEST(ThreadFilter, AVcpuMayAskKvmButNotCreateAnything) {
  EXPECT_EQ(Ended(SeccompMode::kKill, ThreadKind::kVcpu, [] { syscall(SYS_ioctl, -1, KVM_RUN, 0); }), 0);
  EXPECT_EQ(Ended(SeccompMode::kKill, ThreadKind::kVcpu, [] { syscall(SYS_ioctl, -1, KVM_CREATE_VM, 0); }),
            SIGSYS);
  EXPECT_EQ(
      Ended(SeccompMode::kKill, ThreadKind::kVcpu, [] { syscall(SYS_openat, AT_FDCWD, "/", O_RDONLY); }),
      SIGSYS);
}

TEST(ThreadFilter, NoWorkerMakesMemoryExecutable) {
  const auto map = [](int protection) {
    return [protection] { syscall(SYS_mmap, nullptr, 4096, protection, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0); };
  };
  for (ThreadKind kind : {ThreadKind::kVcpu, ThreadKind::kDevices, ThreadKind::kDisk, ThreadKind::kPager}) {
    EXPECT_EQ(Ended(SeccompMode::kKill, kind, map(PROT_READ | PROT_WRITE)), 0);
    EXPECT_EQ(Ended(SeccompMode::kKill, kind, map(PROT_READ | PROT_EXEC)), SIGSYS);
  }
}

// Rules are held against those in force on threads that are filtered already.
TEST(ThreadFilter, PathsMayBeComparedBehindAFilter) {
  const std::vector<PathRule> rules = {
      {"relative", PathRule::Use::kRead}, {"/proc/", PathRule::Use::kRead}, {".", PathRule::Use::kSockets}};
  EXPECT_EQ(Ended(SeccompMode::kKill, ThreadKind::kControl,
                  [&] { syscall(PathsOutside(rules, rules).empty() ? SYS_exit : SYS_getppid, 0); }),
            0);
}

}  // namespace
}  // namespace berth::vmm
