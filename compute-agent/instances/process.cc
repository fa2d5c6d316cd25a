#include "compute-agent/instances/process.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <csignal>
#include <filesystem>

#include "common/file.h"

namespace berth::agent {
namespace {

// Linux 6.15, include/uapi/linux/pidfd.h: the exit status of a reaped process through its pidfd. Debian 12's
// headers are older.
struct PidfdInfo {
  uint64_t mask;
  uint64_t cgroup_id;
  uint32_t ids[11];
  int32_t exit_code;
};
static_assert(sizeof(PidfdInfo) == 64);
constexpr unsigned long kPidfdGetInfo = _IOWR(0xff, 11, PidfdInfo);
constexpr uint64_t kPidfdInfoExit = 1 << 3;

int PidfdOpen(pid_t pid) {
  return static_cast<int>(::syscall(SYS_pidfd_open, pid, 0));
}

struct StatLine {
  char state = '?';
  uint64_t start_time = 0;
};

Result<StatLine> ReadStat(pid_t pid) {
  std::string path = "/proc/" + std::to_string(pid) + "/stat";
  TRY_ASSIGN(std::string text, ReadFile(path));
  // The second field, in brackets, may hold anything; fields after it are plain. State is field 3, start
  // time 22.
  size_t at = text.rfind(')');
  if (at == std::string::npos || at + 2 >= text.size()) return Internal(path + " makes no sense");
  StatLine stat;
  stat.state = text[at + 2];
  for (int field = 3; field <= 22; ++field) {
    at = text.find(' ', at + 1);
    if (at == std::string::npos) return Internal(path + " makes no sense");
  }
  std::from_chars(text.data() + at + 1, text.data() + text.size(), stat.start_time);
  return stat;
}

ExitStatus FromWaitStatus(int status) {
  ExitStatus exit;
  if (WIFEXITED(status)) exit.code = WEXITSTATUS(status);
  if (WIFSIGNALED(status)) exit.signal = WTERMSIG(status);
  return exit;
}

// What the child needs; made before fork, because after it only system calls are safe.
struct ChildPlan {
  const char* program;
  char* const* arguments;
  char* const* environment;
  int input;
  int output;
  int go;      // one byte arrives when the process is on record
  int result;  // takes errno if exec fails
};

// Runs in the child between fork and exec: async-signal-safe calls only.
[[noreturn]] void RunChild(const ChildPlan& plan) {
  // First let go of everything that is the agent's: its locks, and the writing end of our own pipe.
  ::dup2(plan.input, 0);
  ::dup2(plan.output, 1);
  ::dup2(plan.output, 2);
  ::dup2(plan.result, 3);
  ::dup2(plan.go, 4);
  ::fcntl(3, F_SETFD, FD_CLOEXEC);
  ::fcntl(4, F_SETFD, FD_CLOEXEC);
  ::syscall(SYS_close_range, 5U, ~0U, 0U);
  char byte = 0;
  ssize_t got = 0;
  do {
    got = ::read(4, &byte, 1);
  } while (got < 0 && errno == EINTR);
  if (got != 1) ::_exit(125);  // the agent died, or could not record us

  ::setsid();
  for (int signal = 1; signal < NSIG; ++signal) ::signal(signal, SIG_DFL);
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  ::execve(plan.program, plan.arguments, plan.environment);
  int error = errno;
  [[maybe_unused]] ssize_t written = ::write(3, &error, sizeof error);
  ::_exit(126);
}

struct Pipe {
  UniqueFd read;
  UniqueFd write;
};

// Descriptors above the standard ones, so that the child's dup2 never hits one of them.
Result<Pipe> MakePipe() {
  int fds[2];
  if (::pipe2(fds, O_CLOEXEC) != 0) return ErrnoStatus("pipe", errno);
  Pipe raw{UniqueFd(fds[0]), UniqueFd(fds[1])};
  Pipe pipe{UniqueFd(::fcntl(raw.read.get(), F_DUPFD_CLOEXEC, 10)),
            UniqueFd(::fcntl(raw.write.get(), F_DUPFD_CLOEXEC, 10))};
  if (!pipe.read.valid() || !pipe.write.valid()) return ErrnoStatus("pipe", errno);
  return pipe;
}

Result<UniqueFd> OpenHigh(const std::string& path, int flags) {
  UniqueFd raw(::open(path.c_str(), flags | O_CLOEXEC, 0600));
  UniqueFd high(raw.valid() ? ::fcntl(raw.get(), F_DUPFD_CLOEXEC, 10) : -1);
  if (!high.valid()) return ErrnoStatus(path, errno);
  return high;
}

void Reap(pid_t pid) {
  while (::waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
  }
}

// Empty when exec succeeded (the pipe closed without a byte).
std::optional<int> ReadExecError(int fd) {
  int error = 0;
  ssize_t got = 0;
  do {
    got = ::read(fd, &error, sizeof error);
  } while (got < 0 && errno == EINTR);
  if (got == sizeof error) return error;
  return std::nullopt;
}

std::vector<char*> Pointers(std::vector<std::string>& texts) {
  std::vector<char*> pointers;
  for (std::string& text : texts) pointers.push_back(text.data());
  pointers.push_back(nullptr);
  return pointers;
}

}  // namespace

Result<std::string> ReadBootId() {
  TRY_ASSIGN(std::string id, ReadFile("/proc/sys/kernel/random/boot_id"));
  while (id.ends_with('\n')) id.pop_back();
  return id;
}

Result<pid_t> FindByArgument(const std::string& argument) {
  std::error_code error;
  const std::string wanted = '\0' + argument + '\0';
  for (std::filesystem::directory_iterator entry("/proc", error), end; !error && entry != end;
       entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    pid_t pid = 0;
    auto [rest, bad] = std::from_chars(name.data(), name.data() + name.size(), pid);
    if (bad != std::errc() || rest != name.data() + name.size()) continue;
    Result<std::string> line = ReadFile(entry->path() / "cmdline");
    if (!line.has_value()) continue;  // it has ended meanwhile
    if (line->find(wanted) != std::string::npos) return pid;
  }
  if (error) return ErrnoStatus("/proc", error.value());
  return NotFound("no process has the argument " + argument);
}

Result<Process> Process::Start(const Command& command,
                               const std::function<Status(const ProcessId&)>& record) {
  std::vector<std::string> arguments = {command.program};
  arguments.insert(arguments.end(), command.arguments.begin(), command.arguments.end());
  std::vector<std::string> environment = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C"};
  std::vector<char*> argument_pointers = Pointers(arguments);
  std::vector<char*> environment_pointers = Pointers(environment);
  TRY_ASSIGN(UniqueFd input, OpenHigh("/dev/null", O_RDONLY));
  TRY_ASSIGN(UniqueFd output, OpenHigh(command.output, O_WRONLY | O_CREAT | O_APPEND));
  TRY_ASSIGN(Pipe go, MakePipe());
  TRY_ASSIGN(Pipe result, MakePipe());
  TRY_ASSIGN(std::string boot_id, ReadBootId());
  ChildPlan plan{command.program.c_str(),
                 argument_pointers.data(),
                 environment_pointers.data(),
                 input.get(),
                 output.get(),
                 go.read.get(),
                 result.write.get()};
  pid_t pid = ::_Fork();  // runs no atfork handlers: other threads may hold their locks
  if (pid < 0) return ErrnoStatus("fork", errno);
  if (pid == 0) RunChild(plan);
  go.read.reset();
  result.write.reset();
  UniqueFd pidfd(PidfdOpen(pid));
  Status recorded = pidfd.valid() ? OkStatus() : ErrnoStatus("pidfd_open", errno);
  ProcessId id{pid, 0, std::move(boot_id)};
  if (recorded.ok()) {
    Result<StatLine> stat = ReadStat(pid);
    recorded = stat.status();
    if (stat.has_value()) id.start_time = stat->start_time;
  }
  if (recorded.ok()) recorded = record(id);
  if (!recorded.ok()) {
    go.write.reset();  // the child ends
    Reap(pid);
    return recorded;
  }
  [[maybe_unused]] ssize_t written = ::write(go.write.get(), "g", 1);
  std::optional<int> error = ReadExecError(result.read.get());
  if (error.has_value()) {
    Reap(pid);
    return ErrnoStatus("exec " + command.program, *error);
  }
  return Process(std::move(id), std::move(pidfd));
}

Result<Process> Process::Adopt(const ProcessId& id) {
  TRY_ASSIGN(std::string boot_id, ReadBootId());
  if (id.pid <= 0 || id.boot_id != boot_id) return NotFound("the process is of another boot");
  UniqueFd pidfd(PidfdOpen(id.pid));
  if (!pidfd.valid() && errno != ESRCH) {
    return ErrnoStatus("pidfd_open of process " + std::to_string(id.pid), errno);  // it may well run
  }
  if (!pidfd.valid()) return NotFound("there is no process " + std::to_string(id.pid));
  // The pidfd is held now: if the start time matches, it is the process of the record and will stay so.
  Process process(id, std::move(pidfd));
  Result<StatLine> stat = ReadStat(id.pid);
  if (!stat.has_value() && stat.error().code() != StatusCode::kNotFound && !process.Ended()) {
    return stat.error();
  }
  if (!stat.has_value() || stat->start_time != id.start_time || stat->state == 'Z' || stat->state == 'X') {
    return NotFound("the process " + std::to_string(id.pid) + " has ended");
  }
  return process;
}

bool Process::Ended() const {
  pollfd poll_fd{pidfd_.get(), POLLIN, 0};
  return ::poll(&poll_fd, 1, 0) > 0;
}

std::optional<ExitStatus> Process::TakeExitStatus() const {
  siginfo_t info{};
  if (::waitid(P_PIDFD, static_cast<id_t>(pidfd_.get()), &info, WEXITED | WNOHANG) == 0) {
    if (info.si_pid == 0) return std::nullopt;
    ExitStatus exit;
    if (info.si_code == CLD_EXITED) {
      exit.code = info.si_status;
    } else {
      exit.signal = info.si_status;
    }
    return exit;
  }
  // Not our child: it was started before this agent was.
  PidfdInfo pidfd_info{};
  pidfd_info.mask = kPidfdInfoExit;
  if (::ioctl(pidfd_.get(), kPidfdGetInfo, &pidfd_info) != 0) {
    if (errno == ENOTTY || errno == EINVAL || errno == ESRCH) return ExitStatus{};
    return std::nullopt;
  }
  if ((pidfd_info.mask & kPidfdInfoExit) == 0) return std::nullopt;  // not reaped yet
  return FromWaitStatus(pidfd_info.exit_code);
}

void Process::Signal(int signal) const {
  ::syscall(SYS_pidfd_send_signal, pidfd_.get(), signal, nullptr, 0U);
}

}  // namespace berth::agent
