#include "placement/grpc/placement_service.h"

#include "common/log.h"
#include "placement/wire/claim.h"
#include "placement/wire/fields.h"
#include "placement/wire/host.h"
#include "placement/wire/limits.h"
#include "placement/wire/status.h"

namespace berth::placement {
namespace {

grpc::ServerUnaryReactor* Finish(grpc::CallbackServerContext* context, const Status& status) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  reactor->Finish(wire::ToGrpc(context, status));
  return reactor;
}

void FillHost(const HostVersion& host, v1::Host* out) {
  wire::HostToProto(*host.report, host.usage, host.generation, out);
}

Status UnknownHost(const std::string& name) {
  return NotFound("no host \"" + name.substr(0, wire::kMaxName) + "\"", "host");
}

// One host by UUID or name, or all of them for an empty name.
Result<std::vector<Fleet::Version>> Select(const Fleet& fleet, const std::string& name) {
  if (name.empty()) return fleet.Hosts();
  Fleet::Version host = fleet.FindHost(name);
  if (!host) return UnknownHost(name);
  return std::vector<Fleet::Version>{std::move(host)};
}

Result<placement::ReportHost> ReadReport(const v1::ReportHostRequest& request) {
  TRY_ASSIGN(HostReport report, wire::HostFromProto(request.host()));
  return placement::ReportHost{std::move(report)};
}

Result<placement::DeleteHost> ReadDelete(const v1::DeleteHostRequest& request) {
  TRY_ASSIGN(Uuid host, wire::ReadUuid(request.host(), "host"));
  return placement::DeleteHost{host};
}

Result<placement::CreateClaim> ReadCreate(const v1::CreateClaimRequest& request) {
  TRY_ASSIGN(Claim claim, wire::ClaimFromProto(request.claim()));
  placement::CreateClaim command{.claim = std::move(claim), .expected_generation = {}};
  if (request.has_expected_generation()) command.expected_generation = request.expected_generation();
  return command;
}

Result<placement::ReleaseClaim> ReadRelease(const v1::ReleaseClaimRequest& request) {
  TRY_ASSIGN(std::string consumer, wire::ReadName(request.consumer(), "consumer"));
  return placement::ReleaseClaim{std::move(consumer)};
}

Result<placement::FinalizeClaim> ReadFinalize(const v1::FinalizeClaimRequest& request) {
  TRY_ASSIGN(Uuid consumer, wire::ReadUuid(request.consumer(), "consumer"));
  return placement::FinalizeClaim{consumer};
}

Result<placement::ReportStatus> ReadStatus(const v1::ReportStatusRequest& request) {
  TRY_ASSIGN(Uuid consumer, wire::ReadUuid(request.consumer(), "consumer"));
  TRY_ASSIGN(InstanceStatus status, wire::InstanceStatusFromProto(request.status(), "status"));
  return placement::ReportStatus{.consumer = consumer, .status = std::move(status)};
}

}  // namespace

PlacementService::PlacementService(Writer& writer, const Fleet& fleet, EventHub& hub, Clock clock)
    : writer_(writer), fleet_(fleet), streams_(hub), clock_(std::move(clock)) {}

template <class Body, class Fill>
grpc::ServerUnaryReactor* PlacementService::Submit(grpc::CallbackServerContext* context, Result<Body> body,
                                                   Fill fill) {
  if (!body) return Finish(context, body.error());
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  Command command{.at_ms = clock_(), .body = *std::move(body)};
  writer_.Submit(std::move(command), [context, reactor, fill](const Result<Outcome>& outcome) {
    if (outcome) fill(*outcome);
    reactor->Finish(wire::ToGrpc(context, outcome.status()));
  });
  return reactor;
}

grpc::ServerUnaryReactor* PlacementService::ReportHost(grpc::CallbackServerContext* context,
                                                       const v1::ReportHostRequest* request,
                                                       v1::ReportHostResponse* response) {
  return Submit(context, ReadReport(*request), [request, response](const Outcome& outcome) {
    response->set_generation(outcome.generation);
    for (const std::string& warning : outcome.warnings) {
      response->add_warnings(warning);
      if (!outcome.changed) continue;  // told before
      LOG(kWarning, "claimed_thing_kept", {{"host", request->host().name()}, {"warning", warning}});
    }
  });
}

grpc::ServerUnaryReactor* PlacementService::DeleteHost(grpc::CallbackServerContext* context,
                                                       const v1::DeleteHostRequest* request,
                                                       v1::DeleteHostResponse*) {
  return Submit(context, ReadDelete(*request), [](const Outcome&) {});
}

grpc::ServerUnaryReactor* PlacementService::CreateClaim(grpc::CallbackServerContext* context,
                                                        const v1::CreateClaimRequest* request,
                                                        v1::CreateClaimResponse* response) {
  return Submit(context, ReadCreate(*request), [response](const Outcome& outcome) {
    wire::ClaimToProto(*outcome.claim, response->mutable_claim());
    response->set_generation(outcome.generation);
  });
}

grpc::ServerUnaryReactor* PlacementService::ReleaseClaim(grpc::CallbackServerContext* context,
                                                         const v1::ReleaseClaimRequest* request,
                                                         v1::ReleaseClaimResponse* response) {
  return Submit(context, ReadRelease(*request), [response](const Outcome& outcome) {
    wire::ClaimToProto(*outcome.claim, response->mutable_claim());
  });
}

grpc::ServerUnaryReactor* PlacementService::FinalizeClaim(grpc::CallbackServerContext* context,
                                                          const v1::FinalizeClaimRequest* request,
                                                          v1::FinalizeClaimResponse*) {
  return Submit(context, ReadFinalize(*request), [](const Outcome&) {});
}

grpc::ServerUnaryReactor* PlacementService::ReportStatus(grpc::CallbackServerContext* context,
                                                         const v1::ReportStatusRequest* request,
                                                         v1::ReportStatusResponse*) {
  return Submit(context, ReadStatus(*request), [](const Outcome&) {});
}

grpc::ServerUnaryReactor* PlacementService::ListHosts(grpc::CallbackServerContext* context,
                                                      const v1::ListHostsRequest*,
                                                      v1::ListHostsResponse* response) {
  for (const Fleet::Version& host : fleet_.Hosts()) FillHost(*host, response->add_hosts());
  return Finish(context, OkStatus());
}

grpc::ServerUnaryReactor* PlacementService::GetHost(grpc::CallbackServerContext* context,
                                                    const v1::GetHostRequest* request,
                                                    v1::GetHostResponse* response) {
  Fleet::Version host = fleet_.FindHost(request->host());
  if (!host) return Finish(context, UnknownHost(request->host()));
  FillHost(*host, response->mutable_host());
  for (const auto& claim : Fleet::ClaimsOf({host})) wire::ClaimToProto(*claim, response->add_claims());
  return Finish(context, OkStatus());
}

grpc::ServerUnaryReactor* PlacementService::ListDevices(grpc::CallbackServerContext* context,
                                                        const v1::ListDevicesRequest* request,
                                                        v1::ListDevicesResponse* response) {
  Result<std::vector<Fleet::Version>> hosts = Select(fleet_, request->host());
  if (!hosts) return Finish(context, hosts.error());
  for (const Fleet::Version& host : *hosts) {
    v1::Host filled;
    FillHost(*host, &filled);
    for (v1::Device& device : *filled.mutable_devices()) {
      v1::ListDevicesResponse::Entry* entry = response->add_devices();
      entry->set_host_uuid(filled.uuid());
      entry->set_host_name(filled.name());
      *entry->mutable_device() = std::move(device);
    }
  }
  return Finish(context, OkStatus());
}

grpc::ServerUnaryReactor* PlacementService::GetClaim(grpc::CallbackServerContext* context,
                                                     const v1::GetClaimRequest* request,
                                                     v1::GetClaimResponse* response) {
  auto claim = fleet_.FindClaim(request->consumer());
  if (!claim) {
    return Finish(context, NotFound("no claim of \"" + request->consumer().substr(0, wire::kMaxName) + "\"",
                                    "consumer"));
  }
  wire::ClaimToProto(*claim, response->mutable_claim());
  return Finish(context, OkStatus());
}

grpc::ServerUnaryReactor* PlacementService::ListClaims(grpc::CallbackServerContext* context,
                                                       const v1::ListClaimsRequest* request,
                                                       v1::ListClaimsResponse* response) {
  Result<std::vector<Fleet::Version>> hosts = Select(fleet_, request->host());
  if (!hosts) return Finish(context, hosts.error());
  for (const auto& claim : Fleet::ClaimsOf(*hosts)) wire::ClaimToProto(*claim, response->add_claims());
  return Finish(context, OkStatus());
}

grpc::ServerWriteReactor<v1::Event>* PlacementService::Watch(grpc::CallbackServerContext* context,
                                                             const v1::WatchRequest* request) {
  WatchRequest asked{
      .after_sequence = request->after_sequence(), .snapshot = request->snapshot(), .host = {}};
  if (!request->host().empty()) {
    Result<Uuid> host = wire::ReadUuid(request->host(), "host");
    if (!host) return streams_.Refuse(context, host.error());
    asked.host = *host;
  }
  return streams_.Open(context, asked);
}

}  // namespace berth::placement
