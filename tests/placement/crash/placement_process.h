#pragma once

#include <gtest/gtest.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "common/unique_fd.h"

extern char** environ;

namespace berth::placement::testing {

// A berth-placement of its own on a free port. Killed (SIGKILL) at the end of its life.
class PlacementProcess {
 public:
  // Waits for the line that says it is ready; without one, address() is empty.
  explicit PlacementProcess(const std::string& store) {
    int fds[2];
    if (pipe(fds) != 0) return;
    UniqueFd read_end(fds[0]);
    UniqueFd write_end(fds[1]);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, write_end.get(), 1);
    posix_spawn_file_actions_addclose(&actions, read_end.get());
    posix_spawn_file_actions_addclose(&actions, write_end.get());
    std::vector<std::string> words = {BERTH_PLACEMENT,   "--grpc-listen", "127.0.0.1:0", "--store",
                                      "sqlite:" + store, "--log-level",   "error"};
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    if (posix_spawn(&pid_, BERTH_PLACEMENT, &actions, nullptr, argv.data(), environ) != 0) pid_ = -1;
    posix_spawn_file_actions_destroy(&actions);
    write_end.reset();
    std::string line;
    for (char c = 0; read(read_end.get(), &c, 1) == 1 && c != '\n';) line += c;
    size_t at = line.find("grpc ");
    if (at != std::string::npos) address_ = line.substr(at + 5, line.find(' ', at + 5) - at - 5);
  }
  ~PlacementProcess() { Kill(SIGKILL); }
  PlacementProcess(const PlacementProcess&) = delete;
  PlacementProcess& operator=(const PlacementProcess&) = delete;

  const std::string& address() const { return address_; }

  // Sends the signal and waits for the end; the wait status.
  int Kill(int signal_number) {
    if (pid_ <= 0) return -1;
    kill(pid_, signal_number);
    int status = 0;
    waitpid(pid_, &status, 0);
    pid_ = -1;
    return status;
  }

 private:
  pid_t pid_ = -1;
  std::string address_;
};

}  // namespace berth::placement::testing
