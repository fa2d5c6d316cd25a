#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/status.h"
#include "scheduler/fit/fit_host.h"
#include "scheduler/request/request_spec.h"

namespace berth::scheduler {

// What a solved scenario says of one host.
struct ExpectedHost {
  bool pass = false;
  std::optional<uint32_t> non_affine;
  std::string refused;
};

struct ScenarioHost {
  std::string name;
  std::string refused;  // why the host would not start with this device_spec; empty: it does
  FitHost host;
};

// One line of a "whatif/1" file, resolved.
struct Scenario {
  std::string id;
  Result<RequestSpec> spec = RequestSpec{};  // the error is the request's
  std::vector<ScenarioHost> hosts;
  std::string expected_error;
  std::map<std::string, ExpectedHost> expected;
};

// Reads one scenario. Errors: kInvalidArgument when the line is no scenario.
Result<Scenario> ReadScenario(std::string_view line);

}  // namespace berth::scheduler
