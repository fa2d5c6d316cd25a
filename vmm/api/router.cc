#include "vmm/api/router.h"

#include <unistd.h>

#include <nlohmann/json.hpp>

#include "vmm/config/json_config.h"
#include "vmm/config/version.h"

namespace berth::vmm {
namespace {

using Json = nlohmann::ordered_json;

struct Handler {
  ApiVerb verb;
  HttpResponse (*run)(VmControl&);
};

HttpResponse Answer(const Json& json) {
  return {200, json.dump(-1, ' ', false, Json::error_handler_t::replace), {}};
}

int HttpStatus(StatusCode code) {
  switch (code) {
    case StatusCode::kInvalidArgument:
    case StatusCode::kOutOfRange:
      return 400;
    case StatusCode::kNotFound:
      return 404;
    case StatusCode::kFailedPrecondition:
    case StatusCode::kAborted:
    case StatusCode::kAlreadyExists:
      return 409;
    default:
      return 500;
  }
}

HttpResponse Ping(VmControl&) {
  return Answer({{"version", kVersion},
                 {"build_version", "berth-vmm " + std::string(kVersion)},
                 {"pid", getpid()},
                 {"features", Json::array()}});
}

HttpResponse Info(VmControl& control) {
  VmFacts facts = control.Facts();
  Json runtime = {{"pid", getpid()}};
  runtime["vcpus"] = Json::array();
  for (const VcpuFacts& vcpu : facts.vcpus)
    runtime["vcpus"].push_back(
        {{"id", vcpu.id}, {"tid", vcpu.tid}, {"host_cpus", vcpu.host_cpus.ToString()}});
  uint64_t memory = 0;
  runtime["memory_regions"] = Json::array();
  for (const MemoryRegionFacts& region : facts.memory_regions) {
    memory += region.size;
    runtime["memory_regions"].push_back(
        {{"zone", region.zone},
         {"base", region.base},
         {"size", region.size},
         {"host_address", region.host_address},
         {"host_numa_node", region.host_numa_node ? Json(*region.host_numa_node) : Json()}});
  }
  runtime["threads"] = Json::array();
  for (const ThreadFacts& thread : facts.threads)
    runtime["threads"].push_back({{"name", thread.name}, {"tid", thread.tid}});
  return Answer({{"config", Json::parse(ConfigToJson(control.config()))},
                 {"state", VmStateName(facts.state)},
                 {"memory_actual_size", memory},
                 {"runtime", runtime}});
}

HttpResponse Counters(VmControl& control) {
  Json json = Json::object();
  for (const auto& [device, counters] : control.Counters()) {
    json[device] = Json::object();
    for (const auto& [name, value] : counters) json[device][name] = value;
  }
  return Answer(json);
}

template <VmAction action>
HttpResponse Act(VmControl& control) {
  Status status = control.Perform(action);
  if (status.ok()) return {204, {}, {}};
  return {HttpStatus(status.code()),
          ErrorBody(StatusCodeName(status.code()), status.message(), status.field(), status.hint()),
          {}};
}

const Handler kHandlers[] = {
    {{"vmm.ping", "GET", "version and process id"}, Ping},
    {{"vm.info", "GET", "configuration, state, threads and memory"}, Info},
    {{"vm.counters", "GET", "what the devices have done"}, Counters},
    {{"vm.power-button", "PUT", "press the power button"}, Act<VmAction::kPowerButton>},
    {{"vm.pause", "PUT", "stop the vCPUs for a while"}, Act<VmAction::kPause>},
    {{"vm.resume", "PUT", "let them run again"}, Act<VmAction::kResume>},
    {{"vm.reboot", "PUT", "reset the machine"}, Act<VmAction::kReboot>},
    {{"vm.shutdown", "PUT", "stop the machine without asking the guest"}, Act<VmAction::kShutdown>},
    {{"vmm.shutdown", "PUT", "stop the machine and end the process"}, Act<VmAction::kExit>},
};

}  // namespace

const std::vector<ApiVerb>& ApiVerbs() {
  static const std::vector<ApiVerb> verbs = [] {
    std::vector<ApiVerb> list;
    for (const Handler& handler : kHandlers) list.push_back(handler.verb);
    return list;
  }();
  return verbs;
}

HttpResponse Route(const HttpRequest& request, VmControl& control) {
  std::string_view target = request.target;
  if (target.starts_with(kApiBase)) {
    target.remove_prefix(kApiBase.size());
    for (const Handler& handler : kHandlers) {
      if (handler.verb.name != target) continue;
      if (handler.verb.method != request.method) {
        return {405,
                ErrorBody("METHOD_NOT_ALLOWED", "called by " + request.method, "method",
                          "use " + std::string(handler.verb.method)),
                std::string(handler.verb.method)};
      }
      if (!request.body.empty())
        return {400, ErrorBody("INVALID_ARGUMENT", std::string(target) + " takes no body", "body"), {}};
      return handler.run(control);
    }
  }
  return {404, ErrorBody("NOT_FOUND", "no such path: " + request.target), {}};
}

}  // namespace berth::vmm
