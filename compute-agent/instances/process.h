#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "common/status.h"
#include "common/unique_fd.h"
#include "compute-agent/instances/instance_record.h"

namespace berth::agent {

// How a process ended: an exit code, or a signal. Both empty: it ended, but its status is gone (it was not
// our child and the kernel is older than 6.15).
struct ExitStatus {
  std::optional<int> code;
  std::optional<int> signal;
};

// Refers to one process by pidfd, never to another that got its number. Does not end with the agent. Movable.
class Process {
 public:
  struct Command {
    std::string program;
    std::vector<std::string> arguments;  // without argv[0]
    std::string output;                  // standard output and error are appended to this file
  };
  // Starts a process in a session of its own, with no descriptor but 0 (nothing), 1 and 2, default signals
  // and a minimal environment. The child waits before exec until `record` has returned OK, so that no process
  // can run that is not on record: if the agent dies before, the child ends by itself. The error of `record`,
  // or of exec ("exec /usr/bin/berth-vmm: No such file or directory"), is returned and nothing runs.
  static Result<Process> Start(const Command& command, const std::function<Status(const ProcessId&)>& record);

  // The process of a record, if it still runs: kNotFound otherwise. Other errors: it cannot be told (no free
  // descriptor, an unreadable /proc), and it must be taken to run.
  static Result<Process> Adopt(const ProcessId& id);

  const ProcessId& id() const { return id_; }
  int pidfd() const { return pidfd_.get(); }  // readable when the process has ended
  bool Ended() const;
  // Reaps the process if it is our child. To be called once Ended; empty when the status may still come.
  std::optional<ExitStatus> TakeExitStatus() const;
  // Errors are ignored: a process that has ended is what the caller wants.
  void Signal(int signal) const;

 private:
  Process(ProcessId id, UniqueFd pidfd) : id_(std::move(id)), pidfd_(std::move(pidfd)) {}

  ProcessId id_;
  UniqueFd pidfd_;
};

// The process that was started with this argument; kNotFound: none. Other errors: it cannot be told.
Result<pid_t> FindByArgument(const std::string& argument);

// This boot of the kernel.
Result<std::string> ReadBootId();

}  // namespace berth::agent
