#pragma once

#include <nlohmann/json.hpp>

#include "compute-agent/preflight/preflight.h"

namespace berth::agent {

// The findings for programs: "confidential_type", "secure_memory" (node, bytes), "passed" (by scope) and
// "findings" with the fields of Finding; "repair" is null where nothing is to be done. The keys are stable.
nlohmann::ordered_json ToJson(const PreflightReport& report);

}  // namespace berth::agent
