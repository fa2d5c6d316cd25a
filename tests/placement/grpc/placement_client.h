#pragma once

#include <grpcpp/grpcpp.h>

#include <chrono>
#include <memory>
#include <string>
#include <utility>

#include "berth/v1/placement.grpc.pb.h"
#include "placement/wire/claim.h"
#include "placement/wire/host.h"
#include "placement/wire/status.h"

namespace berth::placement::testing {

// Blocking calls with our Status, for tests. Every call has a deadline of 20 s.
class PlacementClient {
 public:
  explicit PlacementClient(const std::shared_ptr<grpc::Channel>& channel)
      : stub_(v1::Placement::NewStub(channel)) {}

  // One method of the stub: Call(&Stub::GetHost, request).
  template <class Request, class Response>
  Result<Response> Call(grpc::Status (v1::Placement::Stub::*method)(grpc::ClientContext*, const Request&,
                                                                    Response*),
                        const Request& request) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(20));
    Response response;
    grpc::Status status = (stub_.get()->*method)(&context, request, &response);
    if (!status.ok()) return wire::FromGrpc(status, context);
    return response;
  }

  Result<v1::ReportHostResponse> ReportHost(const HostReport& report) {
    v1::ReportHostRequest request;
    wire::HostToProto(report, request.mutable_host());
    return Call(&v1::Placement::Stub::ReportHost, request);
  }
  Result<v1::CreateClaimResponse> CreateClaim(const Claim& claim, std::optional<uint64_t> generation = {}) {
    v1::CreateClaimRequest request;
    wire::ClaimToProto(claim, request.mutable_claim());
    if (generation) request.set_expected_generation(*generation);
    return Call(&v1::Placement::Stub::CreateClaim, request);
  }
  Result<v1::ReleaseClaimResponse> ReleaseClaim(const std::string& consumer) {
    v1::ReleaseClaimRequest request;
    request.set_consumer(consumer);
    return Call(&v1::Placement::Stub::ReleaseClaim, request);
  }
  Result<v1::FinalizeClaimResponse> FinalizeClaim(const std::string& consumer) {
    v1::FinalizeClaimRequest request;
    request.set_consumer(consumer);
    return Call(&v1::Placement::Stub::FinalizeClaim, request);
  }
  Result<v1::GetHostResponse> GetHost(const std::string& host) {
    v1::GetHostRequest request;
    request.set_host(host);
    return Call(&v1::Placement::Stub::GetHost, request);
  }
  Result<v1::ListClaimsResponse> ListClaims(const std::string& host = "") {
    v1::ListClaimsRequest request;
    request.set_host(host);
    return Call(&v1::Placement::Stub::ListClaims, request);
  }
  v1::Placement::Stub& stub() { return *stub_; }

 private:
  std::unique_ptr<v1::Placement::Stub> stub_;
};

// One open Watch.
class WatchClient {
 public:
  WatchClient(PlacementClient& client, uint64_t after, bool snapshot, const std::string& host = "") {
    v1::WatchRequest request;
    request.set_after_sequence(after);
    request.set_snapshot(snapshot);
    request.set_host(host);
    context_.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(20));
    reader_ = client.stub().Watch(&context_, request);
  }
  // false: the stream has ended.
  bool Next(v1::Event* event) { return reader_->Read(event); }
  Status Finish() {
    grpc::Status status = reader_->Finish();
    return wire::FromGrpc(status, context_);
  }
  void Cancel() { context_.TryCancel(); }
  void AwaitConnected() { reader_->WaitForInitialMetadata(); }

 private:
  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientReader<v1::Event>> reader_;
};

}  // namespace berth::placement::testing
