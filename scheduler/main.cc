// berth-scheduler: finds exact places for instances and claims them in placement.
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <string>

#include <CLI/CLI.hpp>

#include "common/host_port.h"
#include "common/log.h"
#include "placement/client/channel.h"
#include "scheduler/service/server.h"

namespace {

int Fail(const berth::Status& status) {
  std::fprintf(stderr, "berth-scheduler: %s\n", status.ToString().c_str());
  return 1;
}

int Run(const std::string& listen, const std::string& placement, const std::string& config) {
  // Signals are waited for, by this thread alone: the mask is inherited by all that start later.
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  auto server = berth::scheduler::SchedulerServer::Start({listen, config, placement},
                                                         berth::placement::MakeChannel(placement));
  if (!server.has_value()) return Fail(server.error());
  int signal = 0;
  sigwait(&signals, &signal);
  LOG(kInfo, "scheduler_stopping", {{"signal", signal}});
  (*server)->Stop();
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  ::setenv("GRPC_VERBOSITY", "NONE", 0);  // its errors come back as statuses
  std::string listen = "127.0.0.1:7702";
  std::string placement = "127.0.0.1:7701";
  std::string config = "/etc/berth";
  std::string level = "info";
  CLI::App app("Finds exact places for instances and claims them in placement.", "berth-scheduler");
  app.add_option("--grpc-listen", listen, "HOST:PORT to serve on")->capture_default_str();
  app.add_option("--placement", placement, "HOST:PORT of placement")->capture_default_str();
  app.add_option("--config", config, "folder with flavors*.yaml, aliases*.yaml and scheduler.yaml")
      ->capture_default_str();
  app.add_option("--log-level", level, "debug, info, warning or error")->capture_default_str();
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  auto parsed = berth::ParseLogLevel(level);
  if (!parsed.has_value()) return Fail(parsed.error());
  for (const auto& address :
       {berth::ParseListen(listen, "grpc-listen"), berth::ParsePeer(placement, "placement")}) {
    if (!address.has_value()) return Fail(address.error());
  }
  berth::InitLogging("berth-scheduler", *parsed);
  return Run(listen, placement, config);
}
