// An agent without network, for tests that kill it: instances_agent STATE_DIR PLACEMENT_FOLDER VMM [STEP]
// With STEP it kills itself between the steps STEP and STEP + 1 of all that it does.
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <thread>

#include "common/log.h"
#include "tests/compute-agent/instances/file_placement.h"

int main(int argc, char** argv) {
  using namespace berth;
  if (argc != 4 && argc != 5) return 2;
  InitLogging("instances_agent", LogLevel::kError);
  agent::FilePlacement placement(argv[2]);
  agent::ConsoleHub consoles;
  agent::ReconcilerOptions options;
  options.state_dir = argv[1];
  options.vmm_path = argv[3];
  options.shutdown_timeout = std::chrono::milliseconds(200);
  options.terminate_timeout = std::chrono::milliseconds(200);
  if (argc == 5) {
    options.between_steps = [left = std::atoi(argv[4])]() mutable {
      if (left-- == 0) ::kill(::getpid(), SIGKILL);
    };
  }
  auto reconciler = agent::Reconciler::Open(options, placement, consoles);
  if (!reconciler.has_value()) {
    std::fprintf(stderr, "%s\n", reconciler.error().ToString().c_str());
    return 1;
  }
  (*reconciler)->SetHost(agent::TestHost(), {});
  (*reconciler)->Start();
  std::vector<placement::Claim> last;
  for (bool first = true;; first = false) {
    std::vector<placement::Claim> claims = placement.Claims();
    if (first || claims != last) (*reconciler)->ReplaceClaims(claims);
    last = std::move(claims);
    placement.PassActions(**reconciler);
    std::this_thread::sleep_for(std::chrono::milliseconds(5));  // the folder is polled: it cannot notify
  }
}
