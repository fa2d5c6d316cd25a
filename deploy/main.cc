// berth: placement, scheduler and agent of one machine in one process.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>

#include "common/log.h"
#include "deploy/all_in_one.h"

namespace {

int Fail(const berth::Status& status) {
  std::fprintf(stderr, "berth: %s\n", status.ToString().c_str());
  return 1;
}

// /etc/berth, or the examples of the source tree from which this program was built in build/PRESET/bin.
std::string DefaultConfig() {
  std::error_code error;
  if (std::filesystem::is_directory("/etc/berth", error)) return "/etc/berth";
  std::filesystem::path program = std::filesystem::read_symlink("/proc/self/exe", error);
  std::filesystem::path examples = program.parent_path() / "../../../deploy/config";
  if (std::filesystem::is_directory(examples, error)) return std::filesystem::canonical(examples, error);
  return "/etc/berth";
}

int Run(const berth::AllInOne::Options& options) {
  // Signals are waited for by this thread alone: the mask is inherited by all that start later.
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  std::signal(SIGPIPE, SIG_IGN);  // a client that has gone is an error of its call
  auto all = berth::AllInOne::Start(options);
  if (!all.has_value()) return Fail(all.error());
  const berth::placement::HostReport& host = (*all)->host();
  std::string rest = (*all)->rest_endpoint();
  if (!rest.empty()) rest = " (Placement API on " + rest + ")";
  std::printf("berth ready on %s%s: host %s, %zu NUMA cells, %zu devices, KVM %s\n",
              (*all)->endpoint().c_str(), rest.c_str(), host.name.c_str(), host.cells.size(),
              host.devices.size(), host.can_run_guests ? "usable" : "not usable");
  std::fflush(stdout);

  int signal = 0;
  sigwait(&signals, &signal);
  LOG(kInfo, "berth_stopping", {{"signal", signal}});
  (*all)->Stop();
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  berth::AllInOne::Options options;
  ::setenv("GRPC_VERBOSITY", "NONE", 0);  // its errors come back as statuses
  options.config = DefaultConfig();
  options.rest_listen = "127.0.0.1:8779";
  std::string level = "info";
  CLI::App app("Placement, scheduler and agent of this machine in one process, on an embedded store.",
               "berth");
  app.footer(
      "Running VMs survive the end of berth; the next one finds them again.\n"
      "Example: berth --state-dir /var/lib/berth --config /etc/berth");
  app.add_option("--state-dir", options.state_dir,
                 "folder for the store and the instances, at most 42 characters")
      ->capture_default_str();
  app.add_option(
         "--config", options.config,
         "folder with flavors*.yaml, aliases*.yaml and agent.yaml, or the agent's file beside the others")
      ->capture_default_str();
  app.add_option("--listen", options.listen, "HOST:PORT to serve all services on")->capture_default_str();
  app.add_option(
         "--rest-listen", options.rest_listen,
         "HOST:PORT of the OpenStack Placement API, without authentication: a loopback address; \"\": none")
      ->capture_default_str();
  app.add_option("--root", options.root, "folder with sys/, proc/, etc/ and dev/ of the host")
      ->capture_default_str();
  app.add_option("--vmm", options.vmm, "the VMM program [berth-vmm beside this program]");
  app.add_option("--log-level", level, "debug, info, warning or error")->capture_default_str();
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  auto parsed = berth::ParseLogLevel(level);
  if (!parsed.has_value()) return Fail(parsed.error());
  berth::InitLogging("berth", *parsed);
  return Run(options);
}
