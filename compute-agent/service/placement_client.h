#pragma once

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>

#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "berth/v1/placement.grpc.pb.h"
#include "common/status.h"
#include "common/uuid.h"
#include "compute-agent/instances/reconciler.h"
#include "placement/model/claim.h"
#include "placement/model/host.h"

namespace berth::agent {

// Takes what placement says about this host's claims. Called from the watch's thread.
class ClaimSink {
 public:
  virtual ~ClaimSink() = default;
  virtual void OnSnapshot(std::vector<placement::Claim> claims) = 0;  // all there are
  virtual void OnClaim(placement::Claim claim) = 0;
  virtual void OnClaimDeleted(const Uuid& consumer) = 0;
};

// Placement over gRPC, as an agent uses it. Calls end after 5 s with kDeadlineExceeded. Thread-safe.
class PlacementClient final : public ClaimReporter {
 public:
  // Shared: the channel is gRPC's and may serve other clients too.
  PlacementClient(std::shared_ptr<grpc::Channel> channel, const Uuid& host);
  ~PlacementClient() override;  // stops the watch

  // Warnings: what placement keeps because claims hold it although the report lacks it.
  Result<std::vector<std::string>> ReportHost(const placement::HostReport& report);
  Status ReportStatus(const Uuid& consumer, const placement::InstanceStatus& status) override;
  Status FinalizeClaim(const Uuid& consumer) override;

  // Follows the claims of this host until StopWatch: a snapshot, then each change; after a loss it resumes
  // where it was, or begins with a new snapshot when placement no longer keeps the events. Call once; `sink`
  // must live until StopWatch.
  void StartWatch(ClaimSink& sink);
  void StopWatch();

 private:
  void WatchLoop();
  Status WatchOnce();
  Status Deliver(const v1::Event& event);
  bool Pause(std::chrono::milliseconds time);

  std::unique_ptr<v1::Placement::Stub> stub_;
  const std::string host_;

  // Of the watch's thread.
  ClaimSink* sink_ = nullptr;
  bool synced_ = false;  // a snapshot is complete: resume after last_
  uint64_t last_ = 0;    // sequence number of the last event, 0 in an empty store
  std::vector<placement::Claim> snapshot_;

  std::mutex mutex_;  // guards the two below
  bool stopping_ = false;
  grpc::ClientContext* stream_ = nullptr;  // of the open stream; to cancel it
  std::condition_variable changed_;
  std::thread thread_;
};

// A channel to "host:port" or "unix:/path" that reconnects within a second.
std::shared_ptr<grpc::Channel> MakeChannel(const std::string& endpoint);

}  // namespace berth::agent
