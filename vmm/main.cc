#include <malloc.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "common/log.h"
#include "common/unique_fd.h"
#include "vmm/api/api_server.h"
#include "vmm/bus/event_loop.h"
#include "vmm/bus/unix_listener.h"
#include "vmm/config/command_line.h"
#include "vmm/config/option_table.h"
#include "vmm/config/resolved_machine.h"
#include "vmm/config/version.h"
#include "vmm/jail/confinement.h"
#include "vmm/jail/jail.h"
#include "vmm/jail/thread_filter.h"
#include "vmm/kvm/linux_kvm.h"
#include "vmm/machine/event_monitor.h"
#include "vmm/machine/preflight.h"
#include "vmm/machine/vmm.h"
#include "vmm/memory/huge_pages.h"
#include "vmm/snapshot/snapshot_files.h"

// Exit codes, also in docs/vmm.md.
namespace berth::vmm {
namespace {

enum ExitCode : int {
  kGuestPoweredOff = 0,
  kCannotStart = 1,
  kWrongUsage = 2,
  kGuestFailed = 3,
  kStoppedBySignal = 4,
};

void Print(const CommandLine& line, const std::vector<Finding>& findings) {
  std::fputs((line.json ? ToJson(findings) + "\n" : ToText(findings)).c_str(), stderr);
}

// With all that stands in the way, not only with what was met first.
int Fail(const CommandLine& line, const Status& status) {
  auto kvm = OpenLinuxKvm();
  Print(line, ExplainFailure(line, kvm.has_value() ? kvm->get() : nullptr, status));
  return kCannotStart;
}

// SIGTERM and SIGINT as events of the control loop; all threads inherit the mask.
Result<UniqueFd> CatchSignals() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGHUP);
  ::pthread_sigmask(SIG_BLOCK, &set, nullptr);
  ::signal(SIGPIPE, SIG_IGN);
  UniqueFd fd(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!fd.valid()) return ErrnoStatus("signalfd", errno);
  return fd;
}

JailConfig JailOf(const JailOptions& options) {
  JailConfig jail;
  jail.uid = options.uid;
  jail.gid = options.gid;
  jail.cgroup = options.cgroup;
  jail.limits = {options.cpus,          options.nodes,         options.memory,
                 options.huge_pages_2m, options.huge_pages_1g, options.processes};
  jail.open_files = options.open_files;
  return jail;
}

// Inherited descriptors that the options name.
std::set<int> KeptDescriptors(const CommandLine& line) {
  std::set<int> kept;
  if (line.event_fd.has_value()) kept.insert(*line.event_fd);
  if (line.api_fd.has_value()) kept.insert(*line.api_fd);
  for (const NetConfig& net : line.config.nets) kept.insert(net.fds.begin(), net.fds.end());
  if (line.restore) {
    for (const RestoredNet& net : line.restore->nets) kept.insert(net.fds.begin(), net.fds.end());
  }
  return kept;
}

// Until the guest has powered off or failed, or a signal or the API ends it. The order of declarations is the
// order of destruction backwards: the API's thread ends before the machine that it asks.
Result<int> Run(CommandLine& line) {
  int code = kGuestPoweredOff;
  // Memory for threads that allocate at the same time. Without a limit the C library, once there are eight,
  // counts the host's processors in a file, which a worker may not open.
  constexpr int kArenas = 4;
  ::mallopt(M_ARENA_MAX, kArenas);  // NOLINT(concurrency-mt-unsafe): before there are threads
  // A snapshot's configuration names the files that are needed.
  std::optional<SnapshotContent> snapshot;
  if (line.restore) {
    std::vector<UniqueFd> fds;
    for (const RestoredNet& net : line.restore->nets) {
      for (const int fd : net.fds) fds.emplace_back(fd);
    }
    Result<SnapshotContent> read = ReadSnapshot(line.restore->directory, line.restore->nets, std::move(fds));
    if (!read.has_value()) return std::move(read).error().WithField("restore");
    snapshot = *std::move(read);
    LandlockConfig& saved = snapshot->config.landlock;
    saved.enable = saved.enable || line.config.landlock.enable;
    for (LandlockRule& rule : line.config.landlock.rules) {
      const bool known = std::find(saved.rules.begin(), saved.rules.end(), rule) != saved.rules.end();
      if (!known) saved.rules.push_back(std::move(rule));
    }
    line.config = snapshot->config;
  }
  // Before anything else is opened and any thread is started: it holds for all of them. A VM that comes by
  // the API brings its own rules, unless there are some for all.
  LandlockConfig& landlock = line.config.landlock;
  const bool later = !line.has_vm && !snapshot && landlock.rules.empty();
  Confinement confinement(ProcessRules(line), landlock.enable && later);
  if (!later) {
    TRY(confinement.Enter(line.config, snapshot.has_value(), [](const auto&) { return OkStatus(); }));
  }
  // The filters have no call that looks at a socket that somebody else has made.
  std::optional<UnixListener> listener;
  if (line.api_fd.has_value()) {
    TRY_ASSIGN(UnixListener inherited, UnixListener::Inherit(*line.api_fd));
    listener.emplace(std::move(inherited));
  }
  TRY(EnableThreadFilters(line.seccomp));
  EnterThread(ThreadKind::kControl);
  TRY_ASSIGN(UniqueFd signals, CatchSignals());
  TRY_ASSIGN(auto control, EventLoop::Create());
  TRY_ASSIGN(auto kvm, OpenLinuxKvm());
  std::unique_ptr<EventMonitor> monitor;
  if (line.event_path.has_value()) {
    TRY_ASSIGN(monitor, EventMonitor::Open(*line.event_path));
  } else if (line.event_fd.has_value()) {
    TRY_ASSIGN(monitor, EventMonitor::Inherit(*line.event_fd));
  }
  if (monitor != nullptr) monitor->Write("vmm", "starting");
  Vmm vmm(
      *kvm, *control,
      [&](MachineEnd end) {
        if (end.kind == MachineEnd::Kind::kFailed) {
          LOG(kError, "guest_failed", {{"reason", end.message}});
          code = kGuestFailed;
        }
        control->Stop();
      },
      monitor.get(), confinement);
  if (line.has_vm) TRY(vmm.CreateVm(line.config));
  TRY(control->Add(signals.get(), EPOLLIN, [&](uint32_t) {
    signalfd_siginfo info;
    if (::read(signals.get(), &info, sizeof info) != sizeof info) return;
    LOG(kInfo, "signal_received", {{"signal", info.ssi_signo}});
    code = kStoppedBySignal;
    control->Stop();
  }));
  if (line.api_socket.has_value()) {
    TRY_ASSIGN(UnixListener opened, UnixListener::Open(*line.api_socket));
    listener.emplace(std::move(opened));
  }
  if (snapshot) {
    // Before the API is served, by which somebody else could make a VM in its place. A socket that cannot be
    // had is known already: the guest must not have run for nothing.
    const RestoreCommand& restore = *line.restore;
    TRY(vmm.RestoreVm(*std::move(snapshot), {restore.prefault, restore.on_demand}, restore.resume));
  }
  std::unique_ptr<ApiServer> api;
  if (listener.has_value()) {
    TRY_ASSIGN(api, ApiServer::Start(*std::move(listener), vmm));
  }
  if (line.has_vm) TRY(vmm.Boot());
  Status ran = control->Run();
  control->Remove(signals.get());
  TRY(ran);
  return code;
}

// Prints the machine, then what this host lacks for it.
int Check(const CommandLine& line) {
  auto kvm = OpenLinuxKvm();
  std::vector<Finding> findings = Preflight(line, kvm.has_value() ? kvm->get() : nullptr);
  for (const ConfigError& error : MissingRulePaths(line.config.landlock.rules)) {
    findings.push_back({Finding::Severity::kError, error.code, error.option,
                        error.value + ": " + error.message, error.allowed});
  }
  std::optional<uint64_t> huge_page;
  if (Result<uint64_t> size = HugePages().DefaultSize(); size.has_value()) huge_page = *size;
  std::fputs((line.json ? DescribeMachineJson(line.config, huge_page) + "\n"
                        : DescribeMachine(line.config, huge_page))
                 .c_str(),
             stdout);
  if (!findings.empty()) Print(line, findings);
  return HasErrors(findings) ? kCannotStart : kGuestPoweredOff;
}

int Main(int argc, char** argv) {
  auto parsed = ParseCommandLine(argc, argv);
  if (!parsed.has_value()) {
    const bool json = WantsJson(std::vector<std::string>(argv, argv + argc));
    std::fputs((json ? ToJson(parsed.error()) : ToText(parsed.error())).c_str(), stderr);
    return kWrongUsage;
  }
  CommandLine& line = *parsed;
  if (line.action == CommandLine::Action::kRun) {
    if (const ConfigErrors missing = MissingRulePaths(line.config.landlock.rules); !missing.empty()) {
      std::fputs((line.json ? ToJson(missing) : ToText(missing)).c_str(), stderr);
      return kCannotStart;
    }
  }
  switch (line.action) {
    case CommandLine::Action::kHelp:
      std::fputs(HelpText().c_str(), stdout);
      return 0;
    case CommandLine::Action::kVersion:
      std::printf("berth-vmm %.*s\n", static_cast<int>(kVersion.size()), kVersion.data());
      return 0;
    case CommandLine::Action::kCheck:
      return Check(line);
    case CommandLine::Action::kRun:
      break;
  }
  // First of all: it closes what is open, and what is opened afterwards must be open to the user who is left.
  if (line.jail.has_value()) {
    if (Status status = EnterJail(JailOf(*line.jail), KeptDescriptors(line)); !status.ok())
      return Fail(line, status);
  }
  if (line.log_file.has_value()) {
    if (Status status = InitFileLogging("berth-vmm", line.log_level, *line.log_file); !status.ok()) {
      return Fail(line, status);
    }
  } else {
    InitLogging("berth-vmm", line.log_level);
  }
  Result<int> code = Run(line);
  return code.has_value() ? *code : Fail(line, code.error());
}

}  // namespace
}  // namespace berth::vmm

int main(int argc, char** argv) {
  return berth::vmm::Main(argc, argv);
}
