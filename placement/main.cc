// berth-placement: the source of truth as a program of its own.
#include <grpcpp/grpcpp.h>
#include <signal.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>

#include "common/log.h"
#include "placement/server.h"

namespace {

using berth::Status;
using berth::placement::PlacementServer;

struct Flags {
  std::string listen = "127.0.0.1:7701";
  PlacementServer::Options placement{.store = "sqlite:placement.db"};
  std::string log_level = "info";
};

int Fail(const Status& status) {
  std::fprintf(stderr, "berth-placement: %s\n", status.ToString().c_str());
  return 1;
}

// SIGTERM and SIGINT are taken by sigwait, so that no handler runs in the middle of something.
sigset_t BlockSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  signal(SIGPIPE, SIG_IGN);
  return signals;
}

int Serve(const Flags& flags, const sigset_t& signals) {
  auto placement = PlacementServer::Open(flags.placement);
  if (!placement) return Fail(placement.error());
  grpc::EnableDefaultHealthCheckService(true);
  grpc::ServerBuilder builder;
  int port = 0;
  builder.AddListeningPort(flags.listen, grpc::InsecureServerCredentials(), &port);
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  builder.SetMaxReceiveMessageSize(16 << 20);
  builder.RegisterService((*placement)->service());
  std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  if (!server || port == 0) {
    return Fail(
        berth::Unavailable("cannot listen on " + flags.listen + ": in use, or no address of this machine"));
  }
  std::string host = flags.listen.substr(0, flags.listen.rfind(':'));
  std::printf("berth-placement ready: grpc %s:%d store %s\n", host.c_str(), port,
              flags.placement.store.c_str());
  std::fflush(stdout);

  int signal_number = 0;
  sigwait(&signals, &signal_number);
  LOG(kInfo, "shutdown_requested", {{"signal", signal_number}});
  (*placement)->PrepareShutdown();
  server->Shutdown(std::chrono::system_clock::now() + std::chrono::seconds(10));
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  Flags flags;
  CLI::App app("Berth's source of truth: hosts, their devices, and who holds what");
  app.add_option("--grpc-listen", flags.listen, "Address and port of the gRPC service; port 0: any free one")
      ->capture_default_str();
  app.add_option("--store", flags.placement.store, "Where the state is kept: sqlite:PATH")
      ->capture_default_str();
  app.add_option("--events-kept", flags.placement.events_kept, "Events that a watcher may resume from")
      ->check(CLI::Range(size_t{16}, size_t{1} << 24))
      ->capture_default_str();
  app.add_option("--queue-limit", flags.placement.queue_limit, "Commands that may wait for the store")
      ->check(CLI::Range(size_t{1}, size_t{1} << 24))
      ->capture_default_str();
  app.add_option("--store-max-pages", flags.placement.store_max_pages,
                 "Largest size of the store in pages of 4 KiB; 0: no limit of its own")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  app.add_option("--log-level", flags.log_level, "debug, info, warning or error")->capture_default_str();
  app.footer(
      "Example:\n  berth-placement --grpc-listen 127.0.0.1:7701 --store sqlite:/var/lib/berth/placement.db");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;  // 0: --help
  }

  berth::Result<berth::LogLevel> level = berth::ParseLogLevel(flags.log_level);
  if (!level) return Fail(std::move(level).error().WithField("--log-level"));
  sigset_t signals = BlockSignals();
  berth::InitLogging("berth-placement", *level);
  return Serve(flags, signals);
}
