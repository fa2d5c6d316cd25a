#pragma once

#include <string>

#include "berth/v1/scheduler.pb.h"
#include "common/status.h"

namespace berth::cli {

// A network port as the value of --port:
// "id=p1,vnic=direct,network=physnet0,trusted=on,mac=52:54:00:00:00:01,
// vlan=100,spoof-check=off,numa-policy=required". vnic is direct unless named, id is `default_id`. Errors:
// kInvalidArgument, field "port".
Result<v1::Port> ParsePort(const std::string& text, const std::string& default_id);

}  // namespace berth::cli
