#include "scheduler/whatif/scenario.h"

#include <utility>

namespace berth::scheduler::whatif {
namespace {

Status NoScenario(const std::string& why) {
  return InvalidArgument("not a scenario: " + why);
}

}  // namespace

Result<Scenario> ReadScenario(const Json& json, DeviceTypes& types) {
  if (!json.IsObject()) return NoScenario("must be a JSON object");
  JsonFields fields;
  if (std::string schema = fields.Text(json, "schema"); !schema.empty() && schema != "whatif/1") {
    return NoScenario("schema is \"" + schema + "\", must be \"whatif/1\"");
  }
  Scenario scenario;
  scenario.id = fields.Text(json, "id");
  const Json* flavor = Find(json, "flavor");
  if (flavor == nullptr || !flavor->IsObject()) return NoScenario("flavor must be an object");
  const Json* hosts = Find(json, "hosts");
  if (hosts == nullptr || !hosts->IsArray()) return NoScenario("hosts must be a list");
  scenario.request = ReadRequest(json, fields);
  if (!fields.ok()) return NoScenario(fields.error());
  const Json* config = Find(json, "config");
  bool refuse = config == nullptr || !config->IsObject() || fields.Bool(*config, "refuse_pf_and_vf", true);
  // Hosts are read even if the request is rejected: a malformed line is told as such whatever it asks.
  for (const Json& host : hosts->GetArray()) {
    if (!host.IsObject()) return NoScenario("hosts must be objects");
    scenario.hosts.push_back(ReadHost(host, refuse, types, fields));
    if (!fields.ok()) {
      return NoScenario("host \"" + scenario.hosts.back().name + "\": " + fields.error());
    }
  }
  return scenario;
}

}  // namespace berth::scheduler::whatif
