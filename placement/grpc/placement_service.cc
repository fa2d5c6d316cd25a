#include "placement/grpc/placement_service.h"

#include <atomic>
#include <memory>

#include "common/log.h"
#include "placement/grpc/host_facts.h"
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

void FillHost(const HostVersion& host, const ResourceView& view, v1::Host* out) {
  wire::HostToProto(*host.report, host.usage, host.generation, out);
  HostFactsToProto(view, host.uuid(), out);
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

Result<std::vector<placement::CreateClaim>> ReadCreates(const v1::CreateClaimsRequest& request) {
  TRY(wire::CheckCount(request.claims_size(), wire::kMaxClaims, "claims", "claims"));
  if (request.claims_size() == 0) return InvalidArgument("no claims", "claims");
  std::vector<placement::CreateClaim> claims;
  claims.reserve(static_cast<size_t>(request.claims_size()));
  for (int i = 0; i < request.claims_size(); ++i) {
    auto claim = ReadCreate(request.claims(i));
    if (!claim) {
      std::string at = wire::Indexed("claims", i) + "." + claim.error().field();
      return std::move(claim.error()).WithField(std::move(at));
    }
    claims.push_back(*std::move(claim));
  }
  return claims;
}

void ResultToProto(const Result<Outcome>& outcome, v1::CreateClaimsResponse::ClaimResult* out) {
  if (outcome) {
    out->set_generation(outcome->generation);
    out->set_created_at_ms(outcome->claim->created_at_ms);
    return;
  }
  out->set_code(wire::ToGrpc(nullptr, outcome.status()).error_code());
  out->set_message(outcome.status().message());
  out->set_field(outcome.status().field());
}

// The call of several claims that are made one by one: finished by the last of them.
struct ClaimsCall {
  grpc::ServerUnaryReactor* reactor = nullptr;
  std::atomic<int> left = 0;
};

Result<placement::SetHostStatus> ReadHostStatus(const v1::SetHostStatusRequest& request) {
  TRY_ASSIGN(std::string host, wire::ReadName(request.host(), "host"));
  TRY(wire::ReadText(request.reason(), wire::kMaxText, "reason"));
  return placement::SetHostStatus{std::move(host), request.enabled()};
}

Result<placement::ReleaseClaim> ReadRelease(const v1::ReleaseClaimRequest& request) {
  TRY_ASSIGN(std::string consumer, wire::ReadName(request.consumer(), "consumer"));
  return placement::ReleaseClaim{std::move(consumer)};
}

Result<std::optional<Uuid>> ReadHost(const std::string& host) {
  if (host.empty()) return std::optional<Uuid>();
  TRY_ASSIGN(Uuid uuid, wire::ReadUuid(host, "host"));
  return std::optional<Uuid>(uuid);
}

Result<placement::FinalizeClaim> ReadFinalize(const v1::FinalizeClaimRequest& request) {
  TRY_ASSIGN(Uuid consumer, wire::ReadUuid(request.consumer(), "consumer"));
  TRY_ASSIGN(std::optional<Uuid> host, ReadHost(request.host()));
  return placement::FinalizeClaim{consumer, host};
}

Result<placement::ChangeDevice> ReadDeviceChange(const v1::ChangeDeviceRequest& request) {
  placement::ChangeDevice command;
  TRY_ASSIGN(command.consumer, wire::ReadUuid(request.consumer(), "consumer"));
  TRY_ASSIGN(command.device, wire::DeviceBindingFromProto(request.device(), "device"));
  if (request.has_expected_generation()) command.expected_generation = request.expected_generation();
  switch (request.change()) {
    case v1::DEVICE_CHANGE_ADD:
      command.change = placement::ChangeDevice::Change::kAdd;
      return command;
    case v1::DEVICE_CHANGE_LEAVE:
      command.change = placement::ChangeDevice::Change::kLeave;
      return command;
    case v1::DEVICE_CHANGE_DROP:
      command.change = placement::ChangeDevice::Change::kDrop;
      return command;
    default:
      return InvalidArgument("change " + std::to_string(static_cast<int>(request.change())) + " is unknown",
                             "change", "allowed: ADD, LEAVE, DROP");
  }
}

Result<placement::SwapClaims> ReadSwap(const v1::SwapClaimsRequest& request) {
  placement::SwapClaims command;
  TRY_ASSIGN(command.consumer, wire::ReadUuid(request.consumer(), "consumer"));
  TRY_ASSIGN(command.reservation, wire::ReadUuid(request.reservation(), "reservation"));
  command.swapped = request.swapped();
  return command;
}

Result<placement::ReportStatus> ReadStatus(const v1::ReportStatusRequest& request) {
  TRY_ASSIGN(Uuid consumer, wire::ReadUuid(request.consumer(), "consumer"));
  TRY_ASSIGN(InstanceStatus status, wire::InstanceStatusFromProto(request.status(), "status"));
  TRY_ASSIGN(std::optional<Uuid> host, ReadHost(request.host()));
  return placement::ReportStatus{.consumer = consumer, .status = std::move(status), .host = host};
}

}  // namespace

PlacementService::PlacementService(Writer& writer, const Fleet& fleet, EventHub& hub, Clock clock)
    : writer_(writer),
      fleet_(fleet),
      hub_(hub),
      streams_(Unavailable("placement is shutting down")),
      clock_(std::move(clock)) {}

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

grpc::ServerUnaryReactor* PlacementService::CreateClaims(grpc::CallbackServerContext* context,
                                                         const v1::CreateClaimsRequest* request,
                                                         v1::CreateClaimsResponse* response) {
  auto claims = ReadCreates(*request);
  if (!claims) return Finish(context, claims.error());
  if (request->all_or_nothing()) {
    Result<placement::CreateClaims> all = placement::CreateClaims{*std::move(claims)};
    return Submit(context, std::move(all), [response](const Outcome& outcome) {
      for (const Outcome::Made& made : outcome.made) {
        auto* result = response->add_results();
        result->set_generation(made.generation);
        result->set_created_at_ms(made.claim->created_at_ms);
      }
    });
  }
  for (size_t i = 0; i < claims->size(); ++i) response->add_results();
  auto call = std::make_shared<ClaimsCall>();
  call->reactor = context->DefaultReactor();
  call->left = static_cast<int>(claims->size());
  const uint64_t now = clock_();
  for (size_t i = 0; i < claims->size(); ++i) {
    auto* result = response->mutable_results(static_cast<int>(i));
    writer_.Submit({.at_ms = now, .body = std::move((*claims)[i])},
                   [call, result](const Result<Outcome>& outcome) {
                     ResultToProto(outcome, result);
                     if (call->left.fetch_sub(1) == 1) call->reactor->Finish(grpc::Status::OK);
                   });
  }
  return call->reactor;
}

grpc::ServerUnaryReactor* PlacementService::SetHostStatus(grpc::CallbackServerContext* context,
                                                          const v1::SetHostStatusRequest* request,
                                                          v1::SetHostStatusResponse* response) {
  auto body = ReadHostStatus(*request);
  if (!body) return Finish(context, body.error());
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  Command command{.at_ms = clock_(), .actor = request->reason(), .body = *std::move(body)};
  writer_.Submit(std::move(command), [context, reactor, response](const Result<Outcome>& outcome) {
    if (outcome) response->set_generation(outcome->generation);
    reactor->Finish(wire::ToGrpc(context, outcome.status()));
  });
  return reactor;
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

grpc::ServerUnaryReactor* PlacementService::ChangeDevice(grpc::CallbackServerContext* context,
                                                         const v1::ChangeDeviceRequest* request,
                                                         v1::ChangeDeviceResponse* response) {
  return Submit(context, ReadDeviceChange(*request), [response](const Outcome& outcome) {
    wire::ClaimToProto(*outcome.claim, response->mutable_claim());
    response->set_generation(outcome.generation);
  });
}

grpc::ServerUnaryReactor* PlacementService::SwapClaims(grpc::CallbackServerContext* context,
                                                       const v1::SwapClaimsRequest* request,
                                                       v1::SwapClaimsResponse* response) {
  return Submit(context, ReadSwap(*request), [response](const Outcome& outcome) {
    wire::ClaimToProto(*outcome.claim, response->mutable_claim());
  });
}

grpc::ServerUnaryReactor* PlacementService::ReportStatus(grpc::CallbackServerContext* context,
                                                         const v1::ReportStatusRequest* request,
                                                         v1::ReportStatusResponse*) {
  return Submit(context, ReadStatus(*request), [](const Outcome&) {});
}

grpc::ServerUnaryReactor* PlacementService::ListHosts(grpc::CallbackServerContext* context,
                                                      const v1::ListHostsRequest*,
                                                      v1::ListHostsResponse* response) {
  auto view = fleet_.resources();
  for (const Fleet::Version& host : fleet_.Hosts()) FillHost(*host, *view, response->add_hosts());
  return Finish(context, OkStatus());
}

grpc::ServerUnaryReactor* PlacementService::GetHost(grpc::CallbackServerContext* context,
                                                    const v1::GetHostRequest* request,
                                                    v1::GetHostResponse* response) {
  Fleet::Version host = fleet_.FindHost(request->host());
  if (!host) return Finish(context, UnknownHost(request->host()));
  FillHost(*host, *fleet_.resources(), response->mutable_host());
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
    wire::HostToProto(*host->report, host->usage, host->generation, &filled);
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
  for (const auto& claim : Fleet::ClaimsOf(*hosts)) {
    bool asked = request->group().empty() || (claim->group && claim->group->name == request->group());
    if (asked) wire::ClaimToProto(*claim, response->add_claims());
  }
  return Finish(context, OkStatus());
}

grpc::ServerWriteReactor<v1::Event>* PlacementService::Watch(grpc::CallbackServerContext* context,
                                                             const v1::WatchRequest* request) {
  using Events = wire::EventStreams<v1::Event>;
  return streams_.Open(context, [&](std::function<void()> wake) -> Result<Events::Source> {
    WatchRequest asked{
        .after_sequence = request->after_sequence(), .snapshot = request->snapshot(), .host = {}};
    if (!request->host().empty()) {
      TRY_ASSIGN(asked.host, wire::ReadUuid(request->host(), "host"));
    }
    return WatchEvents(hub_, fleet_, asked, std::move(wake));
  });
}

}  // namespace berth::placement
