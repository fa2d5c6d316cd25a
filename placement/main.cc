// berth-placement: the source of truth as a program of its own.
#include <grpcpp/grpcpp.h>
#include <signal.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "common/log.h"
#include "placement/placement_config.h"
#include "placement/rest_front.h"
#include "placement/server.h"
#include "placement/store/db_command.h"

namespace {

using berth::Result;
using berth::Status;
using berth::placement::PlacementConfig;
using berth::placement::PlacementServer;
using berth::placement::RestFront;

constexpr std::chrono::seconds kGrace{10};

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

int Serve(const PlacementConfig& config, const sigset_t& signals) {
  auto placement = PlacementServer::Open(config.placement);
  if (!placement) return Fail(placement.error());
  grpc::EnableDefaultHealthCheckService(true);
  grpc::ServerBuilder builder;
  int port = 0;
  builder.AddListeningPort(config.grpc_listen, grpc::InsecureServerCredentials(), &port);
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  builder.SetMaxReceiveMessageSize(16 << 20);
  builder.RegisterService((*placement)->service());
  std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  if (!server || port == 0) {
    return Fail(Status(berth::StatusCode::kUnavailable, "cannot listen on \"" + config.grpc_listen + "\"",
                       "grpc-listen", "is the port free, and the address one of this machine?"));
  }
  std::unique_ptr<RestFront> rest;
  if (!config.rest.listen.empty()) {
    Result<std::unique_ptr<RestFront>> started = RestFront::Start(config.rest, **placement);
    if (!started) return Fail(started.error());
    rest = *std::move(started);
  }
  std::string host = config.grpc_listen.substr(0, config.grpc_listen.rfind(':'));
  std::string rest_text = rest ? " rest " + rest->endpoint() : "";
  std::printf("berth-placement ready: grpc %s:%d%s store %s\n", host.c_str(), port, rest_text.c_str(),
              config.placement.store.c_str());
  std::fflush(stdout);

  int signal_number = 0;
  sigwait(&signals, &signal_number);
  LOG(kInfo, "shutdown_requested", {{"signal", signal_number}});
  if (rest) rest->Stop(kGrace);  // what it has accepted still reaches the writer
  (*placement)->PrepareShutdown();
  server->Shutdown(std::chrono::system_clock::now() + kGrace);
  return 0;
}

// The configuration file, if the command line names one: its values are what the options default to.
Result<PlacementConfig> ReadConfigOf(int argc, char** argv) {
  constexpr std::string_view kOption = "--config";
  for (int i = 1; i < argc; ++i) {
    std::string_view argument = argv[i];
    if (argument == kOption && i + 1 < argc) return berth::placement::ReadPlacementConfig(argv[i + 1]);
    if (argument.starts_with("--config=")) {
      return berth::placement::ReadPlacementConfig(std::string(argument.substr(kOption.size() + 1)));
    }
  }
  return PlacementConfig{};
}

void AddOptions(CLI::App& app, PlacementConfig& config, std::string& auth) {
  auto& placement = config.placement;
  app.add_option("--rest-listen", config.rest.listen,
                 "Address and port of the OpenStack Placement API; port 0: any free one; empty: none")
      ->capture_default_str();
  app.add_option("--grpc-listen", config.grpc_listen,
                 "Address and port of the gRPC service; port 0: any free one")
      ->capture_default_str();
  app.add_option("--store", placement.store, "Where the state is kept: sqlite:PATH")->capture_default_str();
  app.add_option("--auth", auth,
                 "Who may use the REST API: none (loopback only), token-file, keystone (needs --config)");
  app.add_option("--token-file", config.rest.token_file,
                 "Tokens with their users, projects and roles (YAML)");
  app.add_flag("--auth-none-anywhere", config.rest.allow_auth_none_anywhere,
               "Allow --auth none on any address: everybody may do everything");
  app.add_option("--rest-listener", config.rest.listener,
                 "The HTTP library of the REST API: cpprestsdk, or beast (faster and stricter)")
      ->transform(CLI::CheckedTransformer(std::map<std::string, RestFront::Listener>{
          {"cpprestsdk", RestFront::Listener::kCpprest}, {"beast", RestFront::Listener::kBeast}}));
  app.add_option("--rest-prefix", config.rest.prefix, "Path under which the REST API is, such as /placement");
  app.add_option("--policy-file", config.rest.policy_file, "Rules that replace the default ones (YAML)");
  app.add_flag("--policy-new-defaults", config.rest.policy_new_defaults,
               "Only Placement's new default rules count, not the old ones (role:admin)");
  app.add_option("--events-kept", placement.events_kept, "Events that a watcher may resume from")
      ->check(CLI::Range(size_t{16}, size_t{1} << 24))
      ->capture_default_str();
  app.add_option("--queue-limit", placement.queue_limit, "Commands that may wait for the store")
      ->check(CLI::Range(size_t{1}, size_t{1} << 24))
      ->capture_default_str();
  app.add_option("--store-max-pages", placement.store_max_pages,
                 "Largest size of the store in pages of 4 KiB; 0: no limit of its own")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  app.add_option("--log-level", config.log_level, "debug, info, warning or error")->capture_default_str();
}

// `berth-placement db VERB [FILE]`, with --store before or behind it.
void AddDbCommands(CLI::App& app, std::string& verb, std::string& file) {
  CLI::App* db = app.add_subcommand("db", "Look after a store that no service uses");
  // A verb that is none is told by RunDbCommand, by its name.
  db->fallthrough()->require_subcommand(0, 1);
  auto add = [&](const char* name, const char* what) {
    CLI::App* command = db->add_subcommand(name, what)->fallthrough();
    command->callback([&verb, name] { verb = name; });
    return command;
  };
  add("check", "Count everything anew from the stored records and tell what does not agree");
  add("export", "Write the state as JSON lines")
      ->add_option("FILE", file, "Standard output if not given or -");
  add("import", "Read such lines into an empty store")->add_option("FILE", file, "Standard input likewise");
}

}  // namespace

int main(int argc, char** argv) {
  ::setenv("GRPC_VERBOSITY", "NONE", 0);  // its errors come back as statuses
  Result<PlacementConfig> config = ReadConfigOf(argc, argv);
  if (!config) return Fail(config.error());
  CLI::App app("Berth's source of truth: hosts, their devices, and who holds what");
  std::string config_file, auth;
  bool check = false;
  app.add_option("--config", config_file, "YAML file with all of this; options win over it");
  app.add_flag("--check", check, "Only check the configuration");
  AddOptions(app, *config, auth);
  std::string db_verb, db_file;
  AddDbCommands(app, db_verb, db_file);
  app.footer(
      "Example:\n  berth-placement --rest-listen 127.0.0.1:8778 --grpc-listen 127.0.0.1:7701 "
      "--store sqlite:/var/lib/berth/placement.db --auth none");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    const std::vector<std::string> unknown = app.remaining(true);
    const bool extras = error.get_exit_code() == static_cast<int>(CLI::ExitCodes::ExtrasError);
    if (extras && app.got_subcommand("db") && !unknown.empty() &&
        app.get_subcommand("db")->get_subcommands().empty()) {
      return berth::placement::RunDbCommand(unknown.front(), config->placement.store, "");
    }
    return app.exit(error) == 0 ? 0 : 2;  // 0: --help
  }
  if (!auth.empty()) {
    Result<RestFront::Auth> parsed = berth::placement::ParseAuth(auth);
    if (!parsed) return Fail(std::move(parsed).error().WithField("--auth"));
    config->rest.auth = *parsed;
  }
  Result<berth::LogLevel> level = berth::ParseLogLevel(config->log_level);
  if (!level) return Fail(std::move(level).error().WithField("--log-level"));
  if (app.got_subcommand("db")) {
    berth::InitLogging("berth-placement", berth::LogLevel::kError);
    return berth::placement::RunDbCommand(db_verb, config->placement.store, db_file);
  }
  Status valid = berth::placement::CheckPlacementConfig(*config);
  if (!valid.ok()) return Fail(valid);
  if (check) {
    std::printf("the configuration is valid\n");
    return 0;
  }
  sigset_t signals = BlockSignals();
  berth::InitLogging("berth-placement", *level);
  return Serve(*config, signals);
}
