#pragma once

#include "berth/v1/claim.pb.h"
#include "common/status.h"
#include "placement/model/claim.h"

// Claims between the wire and the model. Reading checks every length, count and enum value
// (placement/wire/limits.h); whether the claim fits a host is CheckClaim's question. Errors are
// kInvalidArgument and name the field from the message on ("cells[1].pinning[0].host").
namespace berth::wire {

// `out` is cleared first.
void ClaimToProto(const placement::Claim& claim, v1::Claim* out);
void ServerGroupToProto(const placement::ServerGroup& group, v1::ServerGroup* out);
// `at` is the field path of the group in its message.
Result<placement::ServerGroup> ServerGroupFromProto(const v1::ServerGroup& in, const std::string& at);
void InstanceStatusToProto(const placement::InstanceStatus& status, v1::InstanceStatus* out);

void DeviceBindingToProto(const placement::DeviceBinding& device, v1::DeviceBinding* out);
// `at` is the field path of the device in its message.
Result<placement::DeviceBinding> DeviceBindingFromProto(const v1::DeviceBinding& in, const std::string& at);

// An unspecified phase reads as active, an absent or unspecified state as pending.
Result<placement::Claim> ClaimFromProto(const v1::Claim& in);
// `at` is the field path of the status in its message.
Result<placement::InstanceStatus> InstanceStatusFromProto(const v1::InstanceStatus& in,
                                                          const std::string& at);

}  // namespace berth::wire
