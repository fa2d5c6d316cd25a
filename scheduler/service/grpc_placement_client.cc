#include "scheduler/service/grpc_placement_client.h"

#include <chrono>
#include <utility>

#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>

#include "common/log.h"
#include "placement/wire/claim.h"
#include "placement/wire/fields.h"
#include "placement/wire/host.h"
#include "placement/wire/status.h"

namespace berth::scheduler {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kCallTimeout(10'000);
constexpr milliseconds kFirstPause(50);
constexpr milliseconds kLongestPause(2'000);

void SetDeadline(grpc::ClientContext& context) {
  context.set_deadline(std::chrono::system_clock::now() + kCallTimeout);
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

std::shared_ptr<grpc::Channel> MakePlacementChannel(const std::string& endpoint) {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 100);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 1000);
  arguments.SetMaxReceiveMessageSize(64 << 20);
  return grpc::CreateCustomChannel(endpoint, grpc::InsecureChannelCredentials(), arguments);
}

GrpcPlacementClient::GrpcPlacementClient(std::shared_ptr<grpc::Channel> channel)
    : stub_(v1::Placement::NewStub(std::move(channel))) {}

GrpcPlacementClient::~GrpcPlacementClient() {
  StopWatch();
}

void GrpcPlacementClient::StartWatch(std::function<void(PlacementEvent)> sink) {
  CHECK(!thread_.joinable());
  sink_ = std::move(sink);
  thread_ = std::thread([this] { WatchLoop(); });
}

void GrpcPlacementClient::StopWatch() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
    if (stream_ != nullptr) stream_->TryCancel();
    changed_.notify_all();
  }
  if (thread_.joinable()) thread_.join();
}

// False when stopping.
bool GrpcPlacementClient::Pause(milliseconds time) {
  std::unique_lock lock(mutex_);
  return !changed_.wait_for(lock, time, [this] { return stopping_; });
}

void GrpcPlacementClient::WatchLoop() {
  uint64_t last = 0;
  milliseconds pause = kFirstPause;
  bool told = false;  // an outage is logged once
  do {
    uint64_t before = last;
    Status status = WatchOnce(last);
    // A position that is no longer kept, or an event that can not be read: begin anew.
    if (status.code() == StatusCode::kOutOfRange || status.code() == StatusCode::kInvalidArgument) last = 0;
    bool progress = last != before;
    pause = progress ? kFirstPause : std::min(pause * 2, kLongestPause);
    if (progress) told = false;
    if (!told && !status.ok() && status.code() != StatusCode::kCancelled) {
      LOG(kWarning, "placement_watch_lost", {{"why", status}});
      told = true;
    }
  } while (Pause(pause));
}

Status GrpcPlacementClient::WatchOnce(uint64_t& last) {
  grpc::ClientContext context;
  context.set_wait_for_ready(
      true);  // while placement is away, wait for it instead of failing again and again
  {
    std::lock_guard lock(mutex_);
    if (stopping_) return OkStatus();
    stream_ = &context;
  }
  v1::WatchRequest request;
  request.set_after_sequence(last);
  request.set_snapshot(last == 0);
  if (last == 0) sink_(PlacementEvent{});
  auto reader = stub_->Watch(&context, request);
  v1::Event event;
  Status failure;
  while (failure.ok() && reader->Read(&event)) failure = Deliver(event, last);
  if (!failure.ok()) context.TryCancel();
  Status end = wire::FromGrpc(reader->Finish(), context);
  std::lock_guard lock(mutex_);
  stream_ = nullptr;
  return failure.ok() ? end : failure;
}

Status GrpcPlacementClient::Deliver(const v1::Event& event, uint64_t& last) {
  TRY_ASSIGN(PlacementEvent one, EventFromProto(event));
  bool synced = one.kind == PlacementEvent::Kind::kSynced;
  sink_(std::move(one));
  // Until the snapshot is complete there is nothing to resume from.
  if (last != 0 || synced) last = event.sequence();
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
  return state;
}

}  // namespace berth::scheduler
