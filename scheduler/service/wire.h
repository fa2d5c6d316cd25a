#pragma once

#include <string>

#include "berth/v1/scheduler.pb.h"
#include "common/status.h"
#include "scheduler/request/catalogue.h"
#include "scheduler/service/decide.h"
#include "scheduler/service/scheduler.h"

// Scheduler messages between the wire and values.
namespace berth::scheduler {

// Checks counts and lengths; kInvalidArgument names the field.
Result<InstanceRequest> RequestFromProto(const v1::CreateInstanceRequest& in);

// Every verdict, ascending by host name.
void VerdictsToProto(const Decision& decision, google::protobuf::RepeatedPtrField<v1::HostVerdict>* out);

// The verdicts as a serialized berth.v1.NoFit of at most `limit` bytes: the texts are left out first, then
// hosts from the end, because gRPC bounds all metadata of a call.
std::string NoFitDetail(const Decision& decision, size_t limit);
inline constexpr const char* kNoFitKey = "berth-no-fit-bin";

void FlavorsToProto(const Catalogue& catalogue, v1::ListFlavorsResponse* out);
void AliasesToProto(const Catalogue& catalogue, v1::ListAliasesResponse* out);

// Several at once. Errors: kInvalidArgument with the field.
Result<BatchRequest> BatchFromProto(const google::protobuf::RepeatedPtrField<v1::CreateInstanceRequest>& in,
                                    bool all_or_nothing);
void ResultToProto(const InstanceAnswer& answer, v1::InstanceResult* out);

// `instances`: ascending by name; `only`: a group's name, empty: all.
void GroupsToProto(const std::vector<Mirror::Group>& groups, const std::vector<Mirror::FoundClaim>& instances,
                   const std::string& only, v1::ListGroupsResponse* out);

}  // namespace berth::scheduler
