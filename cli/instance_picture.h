#pragma once

#include <string>

#include "berth/v1/agent.pb.h"
#include "berth/v1/scheduler.pb.h"
#include "cli/tree.h"
#include "common/status.h"

namespace berth::cli {

std::string InstanceStateText(v1::InstanceState state);  // "RUNNING"; "UNKNOWN" for none

// The exact bindings of an instance: guest cell -> host cell, vCPU -> CPU, memory, devices.
TreeItem InstancePicture(const v1::Claim& claim, const std::string& host_name);

// What the agent sees on the machine (threads, memory per node), with the verdict of the placement proof; or
// why the agent could not say.
TreeItem RuntimePicture(const Result<v1::GetInstanceRuntimeResponse>& runtime);

// Per host, what is missing with have and need. `hosts` of a refused create or of a dry run.
std::string VerdictsTable(const google::protobuf::RepeatedPtrField<v1::HostVerdict>& hosts);

}  // namespace berth::cli
