// berth-agent that ends itself by SIGKILL at a chosen step of what it does to instances, for agent_test.sh:
//
//   stepped_agent CONFIG STATE_DIR VMM PLACEMENT LISTEN STEP_FILE
//
// When STEP_FILE appears and holds a number N, the process is killed between the steps N and N + 1 that
// follow (0: before the next one). The file is removed first, so that whoever waits can tell the reason. It
// must appear whole, by a rename.
#include <grpcpp/channel.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "common/file.h"
#include "common/log.h"
#include "compute-agent/service/server.h"
#include "placement/client/channel.h"

namespace {

int Fail(const berth::Status& status) {
  std::fprintf(stderr, "stepped_agent: %s\n", status.ToString().c_str());
  return 1;
}

// Counts the steps since the file appeared.
class StepKiller {
 public:
  explicit StepKiller(std::string file) : file_(std::move(file)) {}

  void operator()() {
    if (left_ < 0) {
      berth::Result<std::string> text = berth::ReadFile(file_);
      if (!text.has_value()) return;
      left_ = std::atoi(text->c_str());
    }
    if (left_-- > 0) return;
    ::unlink(file_.c_str());
    ::kill(::getpid(), SIGKILL);
  }

 private:
  std::string file_;
  int left_ = -1;
};

}  // namespace

int main(int argc, char** argv) {
  using namespace berth;
  if (argc != 7) return 2;
  ::setenv("GRPC_VERBOSITY", "NONE", 0);
  InitLogging("stepped_agent", LogLevel::kInfo);
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  auto config = agent::ReadAgentConfig(argv[1]);
  if (!config.has_value()) return Fail(config.error());
  agent::AgentServer::Options options;
  options.config = *std::move(config);
  options.config.state_dir = argv[2];
  options.config.vmm = argv[3];
  options.between_steps = StepKiller(argv[6]);
  auto server = agent::AgentServer::Create(options);
  if (!server.has_value()) return Fail(server.error());
  if (Status listening = (*server)->Listen(argv[5]); !listening.ok()) return Fail(listening);
  (*server)->Begin(placement::MakeChannel(argv[4]), argv[5]);
  std::printf("stepped_agent ready\n");
  std::fflush(stdout);
  int signal = 0;
  sigwait(&signals, &signal);
  (*server)->Stop();
  return 0;
}
