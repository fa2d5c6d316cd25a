#include "compute-agent/service/placement_client.h"

#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>

#include <algorithm>
#include <utility>

#include "common/log.h"
#include "placement/wire/claim.h"
#include "placement/wire/fields.h"
#include "placement/wire/host.h"
#include "placement/wire/status.h"

namespace berth::agent {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kCallTimeout{5'000};
constexpr milliseconds kFirstPause{50};
constexpr milliseconds kLongestPause{2'000};
constexpr int kMaxMessage = 64 << 20;

void SetDeadline(grpc::ClientContext& context) {
  context.set_deadline(std::chrono::system_clock::now() + kCallTimeout);
}

}  // namespace

std::shared_ptr<grpc::Channel> MakeChannel(const std::string& endpoint) {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 100);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 1000);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 60'000);
  arguments.SetMaxReceiveMessageSize(kMaxMessage);
  return grpc::CreateCustomChannel(endpoint, grpc::InsecureChannelCredentials(), arguments);
}

PlacementClient::PlacementClient(std::shared_ptr<grpc::Channel> channel, const Uuid& host)
    : stub_(v1::Placement::NewStub(std::move(channel))), host_(host.ToString()) {}

PlacementClient::~PlacementClient() {
  StopWatch();
}

Result<std::vector<std::string>> PlacementClient::ReportHost(const placement::HostReport& report) {
  grpc::ClientContext context;
  SetDeadline(context);
  v1::ReportHostRequest request;
  wire::HostToProto(report, request.mutable_host());
  v1::ReportHostResponse response;
  TRY(wire::FromGrpc(stub_->ReportHost(&context, request, &response), context));
  return std::vector<std::string>(response.warnings().begin(), response.warnings().end());
}

Status PlacementClient::ReportStatus(const Uuid& consumer, const placement::InstanceStatus& status) {
  grpc::ClientContext context;
  SetDeadline(context);
  v1::ReportStatusRequest request;
  request.set_consumer(consumer.ToString());
  wire::InstanceStatusToProto(status, request.mutable_status());
  v1::ReportStatusResponse response;
  return wire::FromGrpc(stub_->ReportStatus(&context, request, &response), context);
}

Status PlacementClient::FinalizeClaim(const Uuid& consumer) {
  grpc::ClientContext context;
  SetDeadline(context);
  v1::FinalizeClaimRequest request;
  request.set_consumer(consumer.ToString());
  v1::FinalizeClaimResponse response;
  return wire::FromGrpc(stub_->FinalizeClaim(&context, request, &response), context);
}

void PlacementClient::StartWatch(ClaimSink& sink) {
  CHECK(!thread_.joinable());
  sink_ = &sink;
  thread_ = std::thread([this] { WatchLoop(); });
}

void PlacementClient::StopWatch() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
    if (stream_ != nullptr) stream_->TryCancel();
    changed_.notify_all();
  }
  if (thread_.joinable()) thread_.join();
}

// False when stopping.
bool PlacementClient::Pause(milliseconds time) {
  std::unique_lock lock(mutex_);
  return !changed_.wait_for(lock, time, [this] { return stopping_; });
}

void PlacementClient::WatchLoop() {
  milliseconds pause = kFirstPause;
  do {
    uint64_t before = last_;
    Status status = WatchOnce();
    // Events that are no longer kept, or that cannot be read: begin with the present state.
    if (status.code() == StatusCode::kOutOfRange || status.code() == StatusCode::kInvalidArgument)
      synced_ = false;
    bool first = pause == kFirstPause;
    pause = last_ != before ? kFirstPause : std::min(pause * 2, kLongestPause);
    if (first && !status.ok() && status.code() != StatusCode::kCancelled) {
      LOG(kWarning, "placement_watch_lost", {{"error", status}});
    }
  } while (Pause(pause));
}

Status PlacementClient::WatchOnce() {
  grpc::ClientContext context;
  context.set_wait_for_ready(
      true);  // while placement is away, wait for it instead of failing again and again
  {
    std::lock_guard lock(mutex_);
    if (stopping_) return OkStatus();
    stream_ = &context;
  }
  v1::WatchRequest request;
  request.set_host(host_);
  request.set_after_sequence(synced_ ? last_ : 0);
  request.set_snapshot(!synced_);
  snapshot_.clear();
  auto reader = stub_->Watch(&context, request);
  v1::Event event;
  Status failure;
  while (failure.ok() && reader->Read(&event)) failure = Deliver(event);
  if (!failure.ok()) context.TryCancel();
  Status end = wire::FromGrpc(reader->Finish(), context);
  std::lock_guard lock(mutex_);
  stream_ = nullptr;
  return failure.ok() ? end : failure;
}

Status PlacementClient::Deliver(const v1::Event& event) {
  switch (event.kind()) {
    case v1::EVENT_KIND_SYNCED:
      sink_->OnSnapshot(std::move(snapshot_));
      snapshot_.clear();
      last_ = event.sequence();
      synced_ = true;
      return OkStatus();
    case v1::EVENT_KIND_CLAIM_CHANGED: {
      TRY_ASSIGN(placement::Claim claim, wire::ClaimFromProto(event.claim()));
      if (!synced_) {
        snapshot_.push_back(std::move(claim));
      } else {
        sink_->OnClaim(std::move(claim));
      }
      break;
    }
    case v1::EVENT_KIND_CLAIM_DELETED: {
      TRY_ASSIGN(Uuid consumer, wire::ReadUuid(event.claim().consumer(), "claim.consumer"));
      sink_->OnClaimDeleted(consumer);
      break;
    }
    default:
      break;  // the host itself: this agent knows it best
  }
  if (synced_) last_ = event.sequence();
  return OkStatus();
}

}  // namespace berth::agent
