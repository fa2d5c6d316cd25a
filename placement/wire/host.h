#pragma once

#include "berth/v1/host.pb.h"
#include "common/status.h"
#include "placement/model/host.h"
#include "placement/model/usage.h"

// Hosts between the wire and the model. Reading checks every length, count and enum value
// (placement/wire/limits.h); whether the host makes sense as a whole is ValidateReport's question. Errors are
// kInvalidArgument and name the field from the message on ("cells[1].siblings[0]").
namespace berth::wire {

// The inventory alone, as a report carries it. `out` is cleared first.
void HostToProto(const placement::HostReport& host, v1::Host* out);
// With usage, consumers, blocked devices and generation, as answers carry it.
void HostToProto(const placement::HostReport& host, const placement::HostUsage& usage, uint64_t generation,
                 v1::Host* out);
void DeviceToProto(const placement::Device& device, v1::Device* out);

// Fields that only answers carry are ignored; the generation is read from the message by whoever needs it.
Result<placement::HostReport> HostFromProto(const v1::Host& in);
// `at` is the field path of the device in its message.
Result<placement::Device> DeviceFromProto(const v1::Device& in, const std::string& at);

}  // namespace berth::wire
