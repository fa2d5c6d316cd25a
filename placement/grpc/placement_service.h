#pragma once

#include <functional>
#include <memory>

#include "berth/v1/placement.grpc.pb.h"
#include "placement/engine/event_hub.h"
#include "placement/engine/fleet.h"
#include "placement/engine/writer.h"
#include "placement/grpc/watch_source.h"

namespace berth::placement {

// The gRPC face of the engine: translates, hands commands to the writer, answers reads from the published
// versions. Calls that change something are finished from the writer's thread after the commit; nothing
// blocks a gRPC thread. Thread-safe. The engine's parts outlive the service, and the grpc::Server is shut
// down before the service goes.
class PlacementService final : public v1::Placement::CallbackService {
 public:
  // Unix time in milliseconds for commands.
  using Clock = std::function<uint64_t()>;

  PlacementService(Writer& writer, const Fleet& fleet, EventHub& hub, Clock clock);

  // Ends every open Watch with UNAVAILABLE, and refuses new ones: a server that waits for its calls can then
  // end.
  void EndWatches() { streams_.EndAll(); }

  grpc::ServerUnaryReactor* ReportHost(grpc::CallbackServerContext* context,
                                       const v1::ReportHostRequest* request,
                                       v1::ReportHostResponse* response) override;
  grpc::ServerUnaryReactor* ListHosts(grpc::CallbackServerContext* context,
                                      const v1::ListHostsRequest* request,
                                      v1::ListHostsResponse* response) override;
  grpc::ServerUnaryReactor* GetHost(grpc::CallbackServerContext* context, const v1::GetHostRequest* request,
                                    v1::GetHostResponse* response) override;
  grpc::ServerUnaryReactor* DeleteHost(grpc::CallbackServerContext* context,
                                       const v1::DeleteHostRequest* request,
                                       v1::DeleteHostResponse* response) override;
  grpc::ServerUnaryReactor* ListDevices(grpc::CallbackServerContext* context,
                                        const v1::ListDevicesRequest* request,
                                        v1::ListDevicesResponse* response) override;
  grpc::ServerUnaryReactor* CreateClaim(grpc::CallbackServerContext* context,
                                        const v1::CreateClaimRequest* request,
                                        v1::CreateClaimResponse* response) override;
  grpc::ServerUnaryReactor* CreateClaims(grpc::CallbackServerContext* context,
                                         const v1::CreateClaimsRequest* request,
                                         v1::CreateClaimsResponse* response) override;
  grpc::ServerUnaryReactor* SetHostStatus(grpc::CallbackServerContext* context,
                                          const v1::SetHostStatusRequest* request,
                                          v1::SetHostStatusResponse* response) override;
  grpc::ServerUnaryReactor* ReleaseClaim(grpc::CallbackServerContext* context,
                                         const v1::ReleaseClaimRequest* request,
                                         v1::ReleaseClaimResponse* response) override;
  grpc::ServerUnaryReactor* FinalizeClaim(grpc::CallbackServerContext* context,
                                          const v1::FinalizeClaimRequest* request,
                                          v1::FinalizeClaimResponse* response) override;
  grpc::ServerUnaryReactor* ChangeDevice(grpc::CallbackServerContext* context,
                                         const v1::ChangeDeviceRequest* request,
                                         v1::ChangeDeviceResponse* response) override;
  grpc::ServerUnaryReactor* SwapClaims(grpc::CallbackServerContext* context,
                                       const v1::SwapClaimsRequest* request,
                                       v1::SwapClaimsResponse* response) override;
  grpc::ServerUnaryReactor* ReportStatus(grpc::CallbackServerContext* context,
                                         const v1::ReportStatusRequest* request,
                                         v1::ReportStatusResponse* response) override;
  grpc::ServerUnaryReactor* GetClaim(grpc::CallbackServerContext* context, const v1::GetClaimRequest* request,
                                     v1::GetClaimResponse* response) override;
  grpc::ServerUnaryReactor* ListClaims(grpc::CallbackServerContext* context,
                                       const v1::ListClaimsRequest* request,
                                       v1::ListClaimsResponse* response) override;
  grpc::ServerWriteReactor<v1::Event>* Watch(grpc::CallbackServerContext* context,
                                             const v1::WatchRequest* request) override;

 private:
  // Hands a command over; `fill` writes the response of a good outcome, on the writer's thread.
  template <class Body, class Fill>
  grpc::ServerUnaryReactor* Submit(grpc::CallbackServerContext* context, Result<Body> body, Fill fill);

  Writer& writer_;
  const Fleet& fleet_;
  EventHub& hub_;
  wire::EventStreams<v1::Event> streams_;
  const Clock clock_;
};

}  // namespace berth::placement
