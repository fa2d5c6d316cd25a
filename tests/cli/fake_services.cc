#include "tests/cli/fake_services.h"

#include "common/status.h"
#include "placement/wire/status.h"

namespace berth::cli {
namespace {

const v1::Claim* FindClaim(const FakeCloud& cloud, const std::string& name) {
  for (const v1::Claim& claim : cloud.host.claims()) {
    if (claim.name() == name || claim.consumer() == name) return &claim;
  }
  return nullptr;
}

}  // namespace

class FakeServices::PlacementService final : public v1::Placement::Service {
 public:
  explicit PlacementService(FakeCloud& cloud) : cloud_(cloud) {}

  grpc::Status ListHosts(grpc::ServerContext*, const v1::ListHostsRequest*,
                         v1::ListHostsResponse* response) override {
    *response->add_hosts() = cloud_.host.host();
    return grpc::Status::OK;
  }
  grpc::Status GetHost(grpc::ServerContext* context, const v1::GetHostRequest* request,
                       v1::GetHostResponse* response) override {
    if (request->host() != cloud_.host.host().name()) {
      return wire::ToGrpc(context, NotFound("no host \"" + request->host() + "\"", "host"));
    }
    *response = cloud_.host;
    return grpc::Status::OK;
  }
  grpc::Status DeleteHost(grpc::ServerContext* context, const v1::DeleteHostRequest* request,
                          v1::DeleteHostResponse*) override {
    if (cloud_.host.claims_size() > 0)
      return wire::ToGrpc(context, FailedPrecondition("it has claims", "host"));
    if (request->host() == cloud_.host.host().uuid()) cloud_.forgotten.push_back(request->host());
    return grpc::Status::OK;
  }
  grpc::Status ListDevices(grpc::ServerContext*, const v1::ListDevicesRequest*,
                           v1::ListDevicesResponse* response) override {
    for (const v1::Device& device : cloud_.host.host().devices()) {
      auto* entry = response->add_devices();
      entry->set_host_uuid(cloud_.host.host().uuid());
      entry->set_host_name(cloud_.host.host().name());
      *entry->mutable_device() = device;
    }
    return grpc::Status::OK;
  }
  grpc::Status ListClaims(grpc::ServerContext*, const v1::ListClaimsRequest*,
                          v1::ListClaimsResponse* response) override {
    *response->mutable_claims() = cloud_.host.claims();
    return grpc::Status::OK;
  }

 private:
  FakeCloud& cloud_;
};

class FakeServices::SchedulerService final : public v1::Scheduler::Service {
 public:
  explicit SchedulerService(FakeCloud& cloud) : cloud_(cloud) {}

  grpc::Status CreateInstance(grpc::ServerContext* context, const v1::CreateInstanceRequest* request,
                              v1::CreateInstanceResponse* response) override {
    cloud_.created = *request;
    if (request->flavor() == "huge") {
      context->AddTrailingMetadata("berth-no-fit-bin", cloud_.no_fit.SerializeAsString());
      return wire::ToGrpc(context, ResourceExhausted("no host fits instance " + request->name()));
    }
    if (request->flavor() == "huge-dry") {  // a dry run is answered all the same
      *response->mutable_verdicts() = cloud_.no_fit.hosts();
      return grpc::Status::OK;
    }
    *response->mutable_claim() = cloud_.host.claims(0);
    response->mutable_claim()->mutable_status()->set_state(v1::INSTANCE_STATE_PENDING);
    response->set_host_name(cloud_.host.host().name());
    if (request->dry_run()) {
      v1::HostVerdict& verdict = *response->add_verdicts();
      verdict.set_host(cloud_.host.host().name());
      verdict.set_fits(true);
    }
    return grpc::Status::OK;
  }
  grpc::Status GetInstance(grpc::ServerContext* context, const v1::GetInstanceRequest* request,
                           v1::GetInstanceResponse* response) override {
    const v1::Claim* claim = FindClaim(cloud_, request->instance());
    if (claim == nullptr || !cloud_.deleted.empty()) {
      return wire::ToGrpc(context, NotFound("no instance \"" + request->instance() + "\"", "instance"));
    }
    *response->mutable_claim() = *claim;
    if (!cloud_.states.empty()) {
      response->mutable_claim()->mutable_status()->set_state(cloud_.states.front());
      if (cloud_.states.size() > 1) cloud_.states.erase(cloud_.states.begin());
    }
    response->set_host_name(cloud_.host.host().name());
    return grpc::Status::OK;
  }
  grpc::Status ActOnInstance(grpc::ServerContext*, const v1::ActOnInstanceRequest* request,
                             v1::ActOnInstanceResponse*) override {
    cloud_.started.push_back(request->instance());
    return grpc::Status::OK;
  }
  grpc::Status ListInstances(grpc::ServerContext*, const v1::ListInstancesRequest*,
                             v1::ListInstancesResponse* response) override {
    for (const v1::Claim& claim : cloud_.host.claims()) {
      auto* entry = response->add_instances();
      *entry->mutable_claim() = claim;
      entry->set_host_name(cloud_.host.host().name());
    }
    return grpc::Status::OK;
  }
  grpc::Status DeleteInstance(grpc::ServerContext*, const v1::DeleteInstanceRequest* request,
                              v1::DeleteInstanceResponse*) override {
    cloud_.deleted.push_back(request->instance());
    return grpc::Status::OK;
  }
  grpc::Status ListFlavors(grpc::ServerContext*, const v1::ListFlavorsRequest*,
                           v1::ListFlavorsResponse* response) override {
    *response = cloud_.flavors;
    return grpc::Status::OK;
  }
  grpc::Status ListAliases(grpc::ServerContext*, const v1::ListAliasesRequest*,
                           v1::ListAliasesResponse* response) override {
    *response = cloud_.aliases;
    return grpc::Status::OK;
  }
  grpc::Status Explain(grpc::ServerContext*, const v1::ExplainRequest* request,
                       v1::ExplainResponse* response) override {
    cloud_.explained = *request;
    *response = cloud_.explanation;
    if (!request->verdicts()) response->clear_verdicts();
    if (!request->changes()) response->clear_changes();
    return grpc::Status::OK;
  }
  grpc::Status GetCapacity(grpc::ServerContext* context, const v1::GetCapacityRequest* request,
                           v1::GetCapacityResponse* response) override {
    if (request->wish().flavor() != "numa2")
      return wire::ToGrpc(context, InvalidArgument("flavor is not defined", "flavor"));
    *response = cloud_.capacity;
    return grpc::Status::OK;
  }

 private:
  FakeCloud& cloud_;
};

class FakeServices::AgentService final : public v1::Agent::Service {
 public:
  explicit AgentService(FakeCloud& cloud) : cloud_(cloud) {}

  grpc::Status Console(grpc::ServerContext*,
                       grpc::ServerReaderWriter<v1::ConsoleOutput, v1::ConsoleInput>* stream) override {
    v1::ConsoleInput input;
    if (!stream->Read(&input) || FindClaim(cloud_, input.instance()) == nullptr) {
      return {grpc::StatusCode::NOT_FOUND, "no such instance here"};
    }
    v1::ConsoleOutput output;
    output.set_data(cloud_.console_greeting);
    stream->Write(output);
    while (stream->Read(&input)) {
      output.set_data(input.data());
      stream->Write(output);
    }
    return grpc::Status::OK;
  }
  grpc::Status GetInstanceRuntime(grpc::ServerContext*, const v1::GetInstanceRuntimeRequest*,
                                  v1::GetInstanceRuntimeResponse* response) override {
    *response = cloud_.runtime;
    return grpc::Status::OK;
  }

 private:
  FakeCloud& cloud_;
};

FakeServices::FakeServices(FakeCloud& cloud)
    : placement_(std::make_unique<PlacementService>(cloud)),
      scheduler_(std::make_unique<SchedulerService>(cloud)),
      agent_(std::make_unique<AgentService>(cloud)) {
  int port = 0;
  grpc::ServerBuilder builder;
  builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
  builder.RegisterService(placement_.get());
  builder.RegisterService(scheduler_.get());
  builder.RegisterService(agent_.get());
  server_ = builder.BuildAndStart();
  CHECK(server_ != nullptr);
  endpoint_ = "127.0.0.1:" + std::to_string(port);
}

FakeServices::~FakeServices() {
  server_->Shutdown(std::chrono::system_clock::now());
  server_->Wait();
}

}  // namespace berth::cli
