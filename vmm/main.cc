#include <signal.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <string>
#include <utility>

#include "common/log.h"
#include "common/unique_fd.h"
#include "vmm/bus/event_loop.h"
#include "vmm/config/command_line.h"
#include "vmm/kvm/linux_kvm.h"
#include "vmm/machine/machine.h"

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

int Fail(const Status& status) {
  std::fprintf(stderr, "berth-vmm: %s\n", status.ToString().c_str());
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

Result<int> Run(CommandLine& line) {
  int code = kGuestPoweredOff;
  TRY_ASSIGN(UniqueFd signals, CatchSignals());
  TRY_ASSIGN(auto control, EventLoop::Create());
  TRY_ASSIGN(auto kvm, OpenLinuxKvm());
  TRY_ASSIGN(auto machine, Machine::Create(*kvm, std::move(line.config), *control, [&](MachineEnd end) {
               if (end.kind == MachineEnd::Kind::kFailed) {
                 LOG(kError, "guest_failed", {{"reason", end.message}});
                 code = kGuestFailed;
               }
               control->Stop();
             }));
  TRY(control->Add(signals.get(), EPOLLIN, [&](uint32_t) {
    signalfd_siginfo info;
    if (::read(signals.get(), &info, sizeof info) != sizeof info) return;
    LOG(kInfo, "signal_received", {{"signal", info.ssi_signo}});
    code = kStoppedBySignal;
    control->Stop();
  }));
  TRY(machine->Boot());
  Status ran = control->Run();
  control->Remove(signals.get());
  TRY(ran);
  return code;
}

int Main(int argc, char** argv) {
  auto parsed = ParseCommandLine(argc, argv);
  if (!parsed.has_value()) {
    std::fputs(ToText(parsed.error()).c_str(), stderr);
    return kWrongUsage;
  }
  CommandLine& line = *parsed;
  if (line.log_file.has_value()) {
    if (Status status = InitFileLogging("berth-vmm", line.log_level, *line.log_file); !status.ok()) {
      return Fail(status);
    }
  } else {
    InitLogging("berth-vmm", line.log_level);
  }
  Result<int> code = Run(line);
  return code.has_value() ? *code : Fail(code.error());
}

}  // namespace
}  // namespace berth::vmm

int main(int argc, char** argv) {
  return berth::vmm::Main(argc, argv);
}
