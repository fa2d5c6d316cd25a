#pragma once

#include <string>

#include "berth/v1/claim.pb.h"
#include "common/status.h"
#include "placement/model/port_settings.h"

namespace berth::wire {

void PortSettingsToProto(const placement::PortSettings& settings, v1::PortSettings* out);
// Sets in `out` what `in` has. kInvalidArgument with the field below `at`.
Status PortSettingsFromProto(const v1::PortSettings& in, const std::string& at, placement::PortSettings& out);

}  // namespace berth::wire
