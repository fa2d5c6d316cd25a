#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "common/status.h"
#include "scheduler/fit/fit_host.h"
#include "scheduler/request/request_spec.h"
#include "scheduler/whatif/json_fields.h"

namespace berth::scheduler::whatif {

// One host of a scenario.
struct ScenarioHost {
  std::string name;
  std::string refused;  // why the host would not start with this device_spec: "DependentDevices"; or empty
  std::string refused_why;  // a sentence
  FitHost host;
};

// One line of a "whatif/1" file, ready for the solver.
struct Scenario {
  std::string id;
  Result<RequestSpec> request = RequestSpec{};  // an error rejects the request before any host
  std::vector<ScenarioHost> hosts;              // empty when the request is rejected
};

// Reads a scenario from parsed JSON. Keys that the form does not know are ignored, so are extra specs and
// image properties beyond its list. Errors: kInvalidArgument when this is no scenario.
// `types` must outlive the scenario.
Result<Scenario> ReadScenario(const Json& json, DeviceTypes& types);

// Parts of ReadScenario, in files of their own; errors go to `fields`.
Result<RequestSpec> ReadRequest(const Json& scenario, JsonFields& fields);
ScenarioHost ReadHost(const Json& host, bool refuse_pf_and_vf, DeviceTypes& types, JsonFields& fields);
// What device_spec makes of pci_devices: fills the free and assignable devices, or says why the host refuses.
void ReadDevices(const Json& host, bool refuse_pf_and_vf, JsonFields& fields, ScenarioHost& out);

}  // namespace berth::scheduler::whatif
