#include "compute-agent/service/placement_client.h"

#include <google/protobuf/util/json_util.h>
#include <grpcpp/client_context.h>

#include <chrono>
#include <utility>

#include "placement/wire/claim.h"
#include "placement/wire/fields.h"
#include "placement/wire/host.h"
#include "placement/wire/status.h"

namespace berth::agent {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kCallTimeout{5'000};

void SetDeadline(grpc::ClientContext& context) {
  context.set_deadline(std::chrono::system_clock::now() + kCallTimeout);
}

}  // namespace

PlacementClient::PlacementClient(std::shared_ptr<grpc::Channel> channel, const Uuid& host)
    : stub_(v1::Placement::NewStub(std::move(channel))), host_(host), watch_(*stub_, host.ToString()) {}

PlacementClient::~PlacementClient() {
  watch_.Stop();
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
  request.set_host(host_.ToString());
  v1::ReportStatusResponse response;
  return wire::FromGrpc(stub_->ReportStatus(&context, request, &response), context);
}

Status PlacementClient::FinalizeClaim(const Uuid& consumer) {
  grpc::ClientContext context;
  SetDeadline(context);
  v1::FinalizeClaimRequest request;
  request.set_consumer(consumer.ToString());
  request.set_host(host_.ToString());
  v1::FinalizeClaimResponse response;
  return wire::FromGrpc(stub_->FinalizeClaim(&context, request, &response), context);
}

std::string PlacementClient::ClaimText(const placement::Claim& claim) {
  v1::Claim message;
  wire::ClaimToProto(claim, &message);
  std::string text;
  return google::protobuf::util::MessageToJsonString(message, &text).ok() ? text : std::string();
}

Status PlacementClient::RestoreClaim(const std::string& encoded) {
  v1::CreateClaimRequest request;
  google::protobuf::util::JsonParseOptions options;
  options.ignore_unknown_fields = true;  // of a later version
  if (!google::protobuf::util::JsonStringToMessage(encoded, request.mutable_claim(), options).ok()) {
    return DataLoss("the instance's record does not hold its claim");
  }
  grpc::ClientContext context;
  SetDeadline(context);
  v1::CreateClaimResponse response;
  return wire::FromGrpc(stub_->CreateClaim(&context, request, &response), context);
}

Status PlacementClient::DropDevice(const Uuid& consumer, const PciAddress& device) {
  grpc::ClientContext context;
  SetDeadline(context);
  v1::ChangeDeviceRequest request;
  request.set_consumer(consumer.ToString());
  request.set_change(v1::DEVICE_CHANGE_DROP);
  request.mutable_device()->set_address(device.ToString());
  v1::ChangeDeviceResponse response;
  return wire::FromGrpc(stub_->ChangeDevice(&context, request, &response), context);
}

void PlacementClient::StartWatch(ClaimSink& sink) {
  sink_ = &sink;
  watch_.Start(*this);
}

void PlacementClient::StopWatch() {
  watch_.Stop();
}

void PlacementClient::OnReset() {
  in_snapshot_ = true;
  host_in_snapshot_ = false;
  snapshot_.clear();
}

Status PlacementClient::OnEvent(const v1::Event& event) {
  switch (event.kind()) {
    case v1::EVENT_KIND_SYNCED:
      // Deleted before this watch began, or not reported yet: no event will tell.
      if (in_snapshot_ && !host_in_snapshot_) sink_->OnHostDeleted();
      in_snapshot_ = false;
      sink_->OnSnapshot(std::exchange(snapshot_, {}));
      break;
    case v1::EVENT_KIND_CLAIM_CHANGED: {
      TRY_ASSIGN(placement::Claim claim, wire::ClaimFromProto(event.claim()));
      if (in_snapshot_) {
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
    case v1::EVENT_KIND_HOST_DELETED:
      if (!in_snapshot_) sink_->OnHostDeleted();
      break;
    case v1::EVENT_KIND_HOST_CHANGED:
      host_in_snapshot_ = true;  // what it is: this agent knows it best
      break;
    default:
      break;
  }
  return OkStatus();
}

}  // namespace berth::agent
