#pragma once

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>

#include "berth/v1/placement.grpc.pb.h"
#include "scheduler/service/placement_client.h"

namespace berth::scheduler {

// Placement over gRPC. Calls end after 10 s with kDeadlineExceeded. Thread-safe.
class GrpcPlacementClient final : public PlacementClient {
 public:
  // Shared: the channel is gRPC's, and may serve other clients too (also one inside the process).
  explicit GrpcPlacementClient(std::shared_ptr<grpc::Channel> channel);
  ~GrpcPlacementClient() override;

  void StartWatch(std::function<void(PlacementEvent)> sink) override;
  void StopWatch() override;
  Result<CreatedClaim> CreateClaim(const placement::Claim& claim, uint64_t expected_generation) override;
  Result<placement::Claim> GetClaim(const std::string& instance) override;
  Result<placement::Claim> ReleaseClaim(const std::string& instance) override;
  Result<HostState> GetHost(const Uuid& host) override;

 private:
  void WatchLoop();
  // One stream until it ends. `last` is the sequence number to resume after; 0: begin with the present state.
  Status WatchOnce(uint64_t& last);
  Status Deliver(const v1::Event& event, uint64_t& last);
  bool Pause(std::chrono::milliseconds time);

  std::unique_ptr<v1::Placement::Stub> stub_;
  std::function<void(PlacementEvent)> sink_;
  std::mutex mutex_;  // guards stopping_ and stream_
  std::condition_variable changed_;
  bool stopping_ = false;
  grpc::ClientContext* stream_ = nullptr;  // of the stream that is open; to cancel it
  std::thread thread_;
};

// A channel to "host:port" or "unix:/path" without encryption that reconnects within a second.
std::shared_ptr<grpc::Channel> MakePlacementChannel(const std::string& endpoint);

}  // namespace berth::scheduler
