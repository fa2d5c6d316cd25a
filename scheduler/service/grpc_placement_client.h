#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include <grpcpp/channel.h>

#include "berth/v1/placement.grpc.pb.h"
#include "placement/client/channel_watch.h"
#include "placement/client/event_watch.h"
#include "scheduler/service/placement_client.h"

namespace berth::scheduler {

// Placement over gRPC. Calls end after 10 s with kDeadlineExceeded. Thread-safe.
class GrpcPlacementClient final : public PlacementClient, private placement::EventSink {
 public:
  // Shared: the channel is gRPC's, and may serve other clients too (also one inside the process).
  // `endpoint`: where the channel leads, for the log, which tells once that placement cannot be reached and
  // once that it can again.
  explicit GrpcPlacementClient(std::shared_ptr<grpc::Channel> channel, std::string endpoint = {});
  ~GrpcPlacementClient() override;

  void StartWatch(std::function<void(PlacementEvent)> sink) override;
  void StopWatch() override;
  Result<CreatedClaim> CreateClaim(const placement::Claim& claim, uint64_t expected_generation) override;
  Result<std::vector<ClaimResult>> CreateClaims(const std::vector<AskedClaim>& claims,
                                                bool all_or_nothing) override;
  Status SetHostStatus(const std::string& host, bool enabled, const std::string& reason) override;
  Result<std::vector<placement::Claim>> ListGroup(const std::string& group) override;
  Result<placement::Claim> GetClaim(const std::string& instance) override;
  Result<placement::Claim> ReleaseClaim(const std::string& instance) override;
  Result<placement::Claim> ChangeDevice(const Uuid& consumer, DeviceChange change,
                                        const placement::DeviceBinding& device,
                                        std::optional<uint64_t> expected_generation) override;
  Result<placement::Claim> SwapClaims(const Uuid& consumer, const Uuid& reservation, bool swapped) override;
  Result<HostState> GetHost(const Uuid& host) override;

 private:
  void OnReset() override;
  Status OnEvent(const v1::Event& event) override;

  const std::shared_ptr<grpc::Channel> channel_;
  const std::string endpoint_;
  std::unique_ptr<v1::Placement::Stub> stub_;
  std::function<void(PlacementEvent)> sink_;
  placement::EventWatch watch_;
  std::optional<placement::ChannelWatch> reach_;  // while events are watched
};

}  // namespace berth::scheduler
