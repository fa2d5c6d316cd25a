#include "scheduler/service/server.h"

#include <chrono>
#include <utility>

#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server_builder.h>

#include "common/host_port.h"
#include "common/log.h"
#include "scheduler/service/grpc_placement_client.h"

namespace berth::scheduler {
namespace {

uint64_t NowMs() {
  auto now = std::chrono::system_clock::now().time_since_epoch();
  return static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::milliseconds>(now).count());
}

// Errors of the files tell file, line and field in their text: the field is not said twice.
template <class T>
Result<T> OfFiles(Result<T> loaded) {
  if (loaded.has_value() || loaded.error().code() != StatusCode::kInvalidArgument) return loaded;
  return std::move(loaded).error().WithField("");
}

}  // namespace

SchedulerServer::SchedulerServer(std::shared_ptr<const Catalogue> catalogue, HostPolicy policy,
                                 std::unique_ptr<PlacementClient> placement)
    : placement_(std::move(placement)),
      scheduler_(std::move(catalogue), *placement_, metrics_, NowMs, std::move(policy)),
      service_(scheduler_) {}

Result<std::unique_ptr<SchedulerServer>> SchedulerServer::Start(const Options& options,
                                                                std::unique_ptr<PlacementClient> placement) {
  if (!options.listen.empty()) TRY(ParseListen(options.listen, "grpc-listen").status());
  TRY_ASSIGN(Catalogue catalogue, OfFiles(LoadCatalogueFolder(options.config_folder)));
  LOG(kInfo, "catalogue_loaded",
      {{"flavors", catalogue.flavors.size()}, {"aliases", catalogue.aliases.size()}});
  TRY_ASSIGN(HostPolicy policy, OfFiles(LoadPolicy(options.config_folder)));
  std::unique_ptr<SchedulerServer> server(new SchedulerServer(
      std::make_shared<const Catalogue>(std::move(catalogue)), std::move(policy), std::move(placement)));
  if (!options.listen.empty()) TRY(server->Listen(options.listen));
  return server;
}

Result<std::unique_ptr<SchedulerServer>> SchedulerServer::Start(const Options& options,
                                                                std::shared_ptr<grpc::Channel> placement) {
  return Start(options, std::make_unique<GrpcPlacementClient>(std::move(placement), options.placement));
}

SchedulerServer::~SchedulerServer() {
  Stop();
}

Status SchedulerServer::Listen(const std::string& address) {
  grpc::ServerBuilder builder;
  // Two servers on one port would share the calls by chance.
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  builder.SetMaxReceiveMessageSize(16 << 20);  // a batch of instances
  builder.AddListeningPort(address, grpc::InsecureServerCredentials(), &port_);
  builder.RegisterService(&service_);
  server_ = builder.BuildAndStart();
  if (server_ == nullptr || port_ == 0) {
    server_.reset();
    return Status(StatusCode::kUnavailable, "cannot listen on \"" + address + "\"", "grpc-listen",
                  "is the port free, and the address one of this machine?");
  }
  LOG(kInfo, "scheduler_listening", {{"address", address}, {"port", port_}});
  return OkStatus();
}

void SchedulerServer::Stop() {
  service_.Stop();
  if (server_ != nullptr) server_->Shutdown(std::chrono::system_clock::now() + std::chrono::seconds(2));
  server_.reset();
}

}  // namespace berth::scheduler
