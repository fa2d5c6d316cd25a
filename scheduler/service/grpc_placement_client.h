#pragma once

#include <functional>
#include <memory>
#include <string>

#include <grpcpp/channel.h>

#include "berth/v1/placement.grpc.pb.h"
#include "placement/client/event_watch.h"
#include "scheduler/service/placement_client.h"

namespace berth::scheduler {

// Placement over gRPC. Calls end after 10 s with kDeadlineExceeded. Thread-safe.
class GrpcPlacementClient final : public PlacementClient, private placement::EventSink {
 public:
  // Shared: the channel is gRPC's, and may serve other clients too (also one inside the process).
  explicit GrpcPlacementClient(std::shared_ptr<grpc::Channel> channel);
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

  std::unique_ptr<v1::Placement::Stub> stub_;
  std::function<void(PlacementEvent)> sink_;
  placement::EventWatch watch_;
};

}  // namespace berth::scheduler
