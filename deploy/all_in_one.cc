#include "deploy/all_in_one.h"

#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server_builder.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <filesystem>
#include <utility>

#include "common/host_port.h"
#include "common/log.h"
#include "placement/client/channel.h"

namespace berth {
namespace {

constexpr int kMaxMessage = 64 << 20;

Status PrepareStateDir(const std::string& state_dir) {
  if (!state_dir.starts_with('/'))
    return InvalidArgument("\"" + state_dir + "\" is not absolute", "state-dir");
  std::error_code error;
  std::filesystem::create_directories(state_dir, error);
  if (error) return ErrnoStatus("make the state folder " + state_dir, error.value()).WithField("state-dir");
  if (::access(state_dir.c_str(), R_OK | W_OK | X_OK) != 0) {
    return ErrnoStatus("write to the state folder " + state_dir, errno).WithField("state-dir");
  }
  return OkStatus();
}

// By their form, before anything is locked or opened.
Result<placement::RestFront::Options> CheckAddresses(const AllInOne::Options& options) {
  TRY(ParseListen(options.listen, "listen").status());
  placement::RestFront::Options rest{.listen = options.rest_listen};
  if (rest.listen.empty()) return rest;
  TRY_ASSIGN(HostPort address, ParseListen(rest.listen, "rest-listen"));
  if (!IsLoopback(address.host)) {
    return InvalidArgument(
        "\"" + rest.listen + "\" is no loopback address, and this API asks nobody who he is", "rest-listen",
        "use 127.0.0.1:PORT or [::1]:PORT; berth-placement serves others, with tokens");
  }
  if (address.is_ipv6()) rest.listener = placement::RestFront::Listener::kBeast;  // cpprestsdk's has no IPv6
  return rest;
}

struct ConfigPaths {
  std::string folder;
  std::string agent_file;  // empty: none
};

Result<ConfigPaths> FindConfig(const std::string& config) {
  std::error_code error;
  std::filesystem::path path(config);
  if (std::filesystem::is_directory(path, error)) {
    std::filesystem::path agent = path / "agent.yaml";
    bool has_agent = std::filesystem::exists(agent, error);
    return ConfigPaths{path.string(), has_agent ? agent.string() : std::string()};
  }
  if (std::filesystem::is_regular_file(path, error)) {
    std::filesystem::path parent = path.parent_path();
    return ConfigPaths{parent.empty() ? "." : parent.string(), path.string()};
  }
  return NotFound("there is no folder or file \"" + config + "\"", "config");
}

Result<agent::AgentServer::Options> AgentOptions(const AllInOne::Options& options, const ConfigPaths& paths) {
  agent::AgentServer::Options agent;
  agent.root = options.root;
  if (!paths.agent_file.empty()) {
    TRY_ASSIGN(agent.config, agent::ReadAgentConfig(paths.agent_file));
  }
  agent.config.state_dir = options.state_dir + "/agent";
  if (!options.vmm.empty()) agent.config.vmm = options.vmm;
  return agent;
}

}  // namespace

Result<std::unique_ptr<AllInOne>> AllInOne::Start(const Options& options) {
  TRY_ASSIGN(placement::RestFront::Options rest, CheckAddresses(options));
  TRY(PrepareStateDir(options.state_dir));
  TRY_ASSIGN(ConfigPaths paths, FindConfig(options.config));
  TRY_ASSIGN(agent::AgentServer::Options agent_options, AgentOptions(options, paths));
  std::string socket = "unix:" + options.state_dir + "/berth.sock";
  std::unique_ptr<AllInOne> all(new AllInOne);
  // First the agent, which locks the state folder: a second `berth` must not open the store, since who opens
  // it becomes its only writer.
  TRY_ASSIGN(all->agent_, agent::AgentServer::Create(agent_options));
  TRY_ASSIGN(all->placement_,
             placement::PlacementServer::Open({.store = "sqlite:" + options.state_dir + "/placement.db"}));
  TRY_ASSIGN(all->scheduler_, scheduler::SchedulerServer::Start({.listen = "", .config_folder = paths.folder},
                                                                placement::MakeChannel(socket)));
  TRY(all->Serve(options, socket));
  TRY(all->agent_->ServeMetrics());
  if (!rest.listen.empty()) {
    TRY_ASSIGN(all->rest_, placement::RestFront::Start(rest, *all->placement_));
  }
  all->agent_->Begin(placement::MakeChannel(socket), all->endpoint_);
  return all;
}

Status AllInOne::Serve(const Options& options, const std::string& socket) {
  int port = 0;
  int socket_port = 0;
  grpc::ServerBuilder builder;
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);  // two servers on one port would share the calls
  builder.SetMaxReceiveMessageSize(kMaxMessage);
  builder.AddListeningPort(options.listen, grpc::InsecureServerCredentials(), &port);
  ::mode_t mask = ::umask(0077);  // the socket is for this user
  builder.AddListeningPort(socket, grpc::InsecureServerCredentials(), &socket_port);
  builder.RegisterService(placement_->service());
  builder.RegisterService(&scheduler_->service());
  builder.RegisterService(&agent_->service());
  server_ = builder.BuildAndStart();
  ::umask(mask);
  if (server_ == nullptr || port == 0) {
    server_.reset();
    return {StatusCode::kUnavailable, "cannot listen on \"" + options.listen + "\"", "listen",
            "is the port free, and the address one of this machine?"};
  }
  std::string host = options.listen.substr(0, options.listen.rfind(':'));
  endpoint_ = host + ":" + std::to_string(port);
  return OkStatus();
}

AllInOne::~AllInOne() {
  Stop();
}

void AllInOne::Stop() {
  if (agent_ != nullptr) agent_->Stop();
  if (scheduler_ != nullptr) scheduler_->Stop();
  if (rest_ != nullptr) rest_->Stop(std::chrono::seconds(1));
  rest_.reset();
  if (placement_ != nullptr) placement_->PrepareShutdown();
  if (server_ != nullptr) server_->Shutdown(std::chrono::system_clock::now() + std::chrono::seconds(1));
  server_.reset();  // waits for the calls: the services must outlive it
  agent_.reset();
  scheduler_.reset();
  placement_.reset();
}

}  // namespace berth
