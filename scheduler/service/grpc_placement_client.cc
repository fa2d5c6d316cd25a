#include "scheduler/service/grpc_placement_client.h"

#include <grpcpp/client_context.h>

#include <chrono>
#include <utility>

#include "common/log.h"
#include "placement/wire/claim.h"
#include "placement/wire/fields.h"
#include "placement/wire/host.h"
#include "placement/wire/status.h"

namespace berth::scheduler {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kCallTimeout(10'000);
// An outage that is over sooner is not worth a line.
constexpr std::chrono::seconds kPatience(3);

void SetDeadline(grpc::ClientContext& context) {
  context.set_deadline(std::chrono::system_clock::now() + kCallTimeout);
}

// What the Placement model says of a host.
Status FactsFromProto(const v1::Host& in, std::vector<std::string>& traits, std::vector<Uuid>& aggregates) {
  traits.assign(in.traits().begin(), in.traits().end());
  for (const std::string& aggregate : in.aggregates()) {
    TRY_ASSIGN(Uuid uuid, wire::ReadUuid(aggregate, "aggregates"));
    aggregates.push_back(uuid);
  }
  return OkStatus();
}

Result<PlacementEvent> EventFromProto(const v1::Event& in) {
  PlacementEvent event;
  event.generation = in.generation();
  if (in.kind() == v1::EVENT_KIND_SYNCED) {
    event.kind = PlacementEvent::Kind::kSynced;
    return event;
  }
  TRY_ASSIGN(event.host, wire::ReadUuid(in.host(), "host"));
  switch (in.kind()) {
    case v1::EVENT_KIND_HOST_CHANGED: {
      event.kind = PlacementEvent::Kind::kHostChanged;
      TRY_ASSIGN(event.report, wire::HostFromProto(in.host_state()));
      TRY(FactsFromProto(in.host_state(), event.traits, event.aggregates));
      return event;
    }
    case v1::EVENT_KIND_HOST_DELETED:
      event.kind = PlacementEvent::Kind::kHostDeleted;
      return event;
    case v1::EVENT_KIND_CLAIM_CHANGED: {
      event.kind = PlacementEvent::Kind::kClaimChanged;
      TRY_ASSIGN(event.claim, wire::ClaimFromProto(in.claim()));
      return event;
    }
    case v1::EVENT_KIND_CLAIM_DELETED: {
      event.kind = PlacementEvent::Kind::kClaimDeleted;
      event.claim.emplace();
      TRY_ASSIGN(event.claim->consumer, wire::ReadUuid(in.claim().consumer(), "claim.consumer"));
      event.claim->name = in.claim().name();
      event.claim->host = event.host;
      return event;
    }
    default:
      return InvalidArgument("unknown event kind " + std::to_string(static_cast<int>(in.kind())), "kind");
  }
}

}  // namespace

GrpcPlacementClient::GrpcPlacementClient(std::shared_ptr<grpc::Channel> channel, std::string endpoint)
    : channel_(std::move(channel)),
      endpoint_(std::move(endpoint)),
      stub_(v1::Placement::NewStub(channel_)),
      watch_(*stub_, "") {}

GrpcPlacementClient::~GrpcPlacementClient() {
  watch_.Stop();
}

void GrpcPlacementClient::StartWatch(std::function<void(PlacementEvent)> sink) {
  sink_ = std::move(sink);
  watch_.Start(*this);
  reach_.emplace(channel_, kPatience, [this](bool reachable) {
    if (reachable) {
      LOG(kInfo, "placement_reached", {{"endpoint", endpoint_}});
    } else {
      LOG(kWarning, "placement_unreachable", {{"endpoint", endpoint_}, {"seconds", kPatience.count()}});
    }
  });
}

void GrpcPlacementClient::StopWatch() {
  reach_.reset();
  watch_.Stop();
}

void GrpcPlacementClient::OnReset() {
  sink_(PlacementEvent{});
}

Status GrpcPlacementClient::OnEvent(const v1::Event& event) {
  TRY_ASSIGN(PlacementEvent one, EventFromProto(event));
  sink_(std::move(one));
  return OkStatus();
}

Result<CreatedClaim> GrpcPlacementClient::CreateClaim(const placement::Claim& claim,
                                                      uint64_t expected_generation) {
  grpc::ClientContext context;
  SetDeadline(context);
  v1::CreateClaimRequest request;
  wire::ClaimToProto(claim, request.mutable_claim());
  request.set_expected_generation(expected_generation);
  v1::CreateClaimResponse response;
  TRY(wire::FromGrpc(stub_->CreateClaim(&context, request, &response), context));
  CreatedClaim created;
  TRY_ASSIGN(created.claim, wire::ClaimFromProto(response.claim()));
  created.generation = response.generation();
  return created;
}

Result<std::vector<ClaimResult>> GrpcPlacementClient::CreateClaims(const std::vector<AskedClaim>& claims,
                                                                   bool all_or_nothing) {
  grpc::ClientContext context;
  SetDeadline(context);
  v1::CreateClaimsRequest request;
  request.set_all_or_nothing(all_or_nothing);
  for (const AskedClaim& asked : claims) {
    v1::CreateClaimRequest* one = request.add_claims();
    wire::ClaimToProto(asked.claim, one->mutable_claim());
    one->set_expected_generation(asked.expected_generation);
  }
  v1::CreateClaimsResponse response;
  TRY(wire::FromGrpc(stub_->CreateClaims(&context, request, &response), context));
  if (response.results_size() != request.claims_size())
    return Internal("placement answered " + std::to_string(response.results_size()) + " of " +
                    std::to_string(request.claims_size()) + " claims");
  std::vector<ClaimResult> results;
  results.reserve(claims.size());
  for (const auto& result : response.results()) {
    ClaimResult one;
    if (result.code() != 0) {
      grpc::Status refused(static_cast<grpc::StatusCode>(result.code()), result.message());
      one.status = wire::FromGrpc(refused, context).WithField(result.field());
    }
    one.generation = result.generation();
    one.created_at_ms = result.created_at_ms();
    results.push_back(std::move(one));
  }
  return results;
}

Status GrpcPlacementClient::SetHostStatus(const std::string& host, bool enabled, const std::string& reason) {
  grpc::ClientContext context;
  SetDeadline(context);
  v1::SetHostStatusRequest request;
  request.set_host(host);
  request.set_enabled(enabled);
  request.set_reason(reason);
  v1::SetHostStatusResponse response;
  return wire::FromGrpc(stub_->SetHostStatus(&context, request, &response), context);
}

Result<std::vector<placement::Claim>> GrpcPlacementClient::ListGroup(const std::string& group) {
  grpc::ClientContext context;
  SetDeadline(context);
  v1::ListClaimsRequest request;
  request.set_group(group);
  v1::ListClaimsResponse response;
  TRY(wire::FromGrpc(stub_->ListClaims(&context, request, &response), context));
  std::vector<placement::Claim> members;
  for (const v1::Claim& claim : response.claims()) {
    TRY_ASSIGN(placement::Claim one, wire::ClaimFromProto(claim));
    members.push_back(std::move(one));
  }
  return members;
}

Result<placement::Claim> GrpcPlacementClient::GetClaim(const std::string& instance) {
  grpc::ClientContext context;
  SetDeadline(context);
  v1::GetClaimRequest request;
  request.set_consumer(instance);
  v1::GetClaimResponse response;
  TRY(wire::FromGrpc(stub_->GetClaim(&context, request, &response), context));
  return wire::ClaimFromProto(response.claim());
}

Result<placement::Claim> GrpcPlacementClient::ReleaseClaim(const std::string& instance) {
  grpc::ClientContext context;
  SetDeadline(context);
  v1::ReleaseClaimRequest request;
  request.set_consumer(instance);
  v1::ReleaseClaimResponse response;
  TRY(wire::FromGrpc(stub_->ReleaseClaim(&context, request, &response), context));
  return wire::ClaimFromProto(response.claim());
}

Result<placement::Claim> GrpcPlacementClient::ChangeDevice(const Uuid& consumer, DeviceChange change,
                                                           const placement::DeviceBinding& device,
                                                           std::optional<uint64_t> expected_generation) {
  grpc::ClientContext context;
  SetDeadline(context);
  v1::ChangeDeviceRequest request;
  request.set_consumer(consumer.ToString());
  request.set_change(change == DeviceChange::kAdd ? v1::DEVICE_CHANGE_ADD : v1::DEVICE_CHANGE_LEAVE);
  wire::DeviceBindingToProto(device, request.mutable_device());
  if (expected_generation) request.set_expected_generation(*expected_generation);
  v1::ChangeDeviceResponse response;
  TRY(wire::FromGrpc(stub_->ChangeDevice(&context, request, &response), context));
  return wire::ClaimFromProto(response.claim());
}

Result<placement::Claim> GrpcPlacementClient::SwapClaims(const Uuid& consumer, const Uuid& reservation,
                                                         bool swapped) {
  grpc::ClientContext context;
  SetDeadline(context);
  v1::SwapClaimsRequest request;
  request.set_consumer(consumer.ToString());
  request.set_reservation(reservation.ToString());
  request.set_swapped(swapped);
  v1::SwapClaimsResponse response;
  TRY(wire::FromGrpc(stub_->SwapClaims(&context, request, &response), context));
  return wire::ClaimFromProto(response.claim());
}

Result<HostState> GrpcPlacementClient::GetHost(const Uuid& host) {
  grpc::ClientContext context;
  SetDeadline(context);
  v1::GetHostRequest request;
  request.set_host(host.ToString());
  v1::GetHostResponse response;
  TRY(wire::FromGrpc(stub_->GetHost(&context, request, &response), context));
  HostState state;
  TRY_ASSIGN(state.report, wire::HostFromProto(response.host()));
  for (const v1::Claim& claim : response.claims()) {
    TRY_ASSIGN(placement::Claim one, wire::ClaimFromProto(claim));
    state.claims.push_back(std::move(one));
  }
  state.generation = response.host().generation();
  TRY(FactsFromProto(response.host(), state.traits, state.aggregates));
  return state;
}

}  // namespace berth::scheduler
