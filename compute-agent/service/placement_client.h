#pragma once

#include <grpcpp/channel.h>

#include <memory>
#include <string>
#include <vector>

#include "berth/v1/placement.grpc.pb.h"
#include "common/status.h"
#include "common/uuid.h"
#include "compute-agent/instances/reconciler.h"
#include "placement/client/event_watch.h"
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
  // Placement does not have the host: somebody took it out while its agent runs, or it was not reported yet.
  virtual void OnHostDeleted() = 0;
};

// Placement over gRPC, as an agent uses it. Calls end after 5 s with kDeadlineExceeded. Thread-safe.
class PlacementClient final : public ClaimReporter, private placement::EventSink {
 public:
  // Shared: the channel is gRPC's and may serve other clients too.
  PlacementClient(std::shared_ptr<grpc::Channel> channel, const Uuid& host);
  ~PlacementClient() override;  // stops the watch

  // Warnings: what placement keeps because claims hold it although the report lacks it.
  Result<std::vector<std::string>> ReportHost(const placement::HostReport& report);
  Status ReportStatus(const Uuid& consumer, const placement::InstanceStatus& status) override;
  Status FinalizeClaim(const Uuid& consumer) override;
  std::string EncodeClaim(const placement::Claim& claim) const override { return ClaimText(claim); }
  Status RestoreClaim(const std::string& encoded) override;
  Status DropDevice(const Uuid& consumer, const PciAddress& device) override;
  // The claim as JSON of its message.
  static std::string ClaimText(const placement::Claim& claim);

  // Follows the claims of this host until StopWatch: a snapshot, then each change; after a loss it resumes
  // where it was, or begins with a new snapshot when placement no longer keeps the events. Call once; `sink`
  // must live until StopWatch.
  void StartWatch(ClaimSink& sink);
  void StopWatch();

 private:
  void OnReset() override;
  Status OnEvent(const v1::Event& event) override;

  std::unique_ptr<v1::Placement::Stub> stub_;
  const Uuid host_;

  // Of the watch's thread.
  ClaimSink* sink_ = nullptr;
  bool in_snapshot_ = false;
  bool host_in_snapshot_ = false;
  std::vector<placement::Claim> snapshot_;

  placement::EventWatch watch_;
};

}  // namespace berth::agent
