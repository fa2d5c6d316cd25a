#include "tests/scheduler/whatif/judge_answer.h"

#include <nlohmann/json.hpp>

#include "tests/scheduler/judge/naive.h"
#include "tests/scheduler/judge/scenario.h"

namespace berth::scheduler::whatif {
namespace {

using OrderedJson = nlohmann::json;

Assignment ReadAssignment(const OrderedJson& json) {
  Assignment out;
  for (const OrderedJson& cell : json["cells"]) {
    CellAssignment one;
    one.guest = cell["guest"].get<uint32_t>();
    one.host = cell["host"].get<uint32_t>();
    if (!cell["pagesize_kb"].is_null()) one.page_size_bytes = cell["pagesize_kb"].get<uint64_t>() << 10;
    for (const auto& [vcpu, cpu] : cell["pinning"].items()) {
      one.pinning.emplace_back(static_cast<uint32_t>(std::stoul(vcpu)), cpu.get<uint32_t>());
    }
    for (const OrderedJson& cpu : cell["reserved"]) one.reserved.Add(cpu.get<uint32_t>());
    out.cells.push_back(std::move(one));
  }
  for (const OrderedJson& device : json["devices"]) {
    DeviceAssignment one;
    one.request = device["request"].get<uint32_t>();
    one.address = PciAddress::Parse(device["address"].get<std::string>()).value();
    if (!device["numa_node"].is_null()) one.numa_node = device["numa_node"].get<uint32_t>();
    out.devices.push_back(one);
  }
  out.non_local = json["non_affine"].get<uint32_t>();
  return out;
}

std::string JudgeHost(const ScenarioHost& host, const RequestSpec& spec, const OrderedJson& answer,
                      bool brute_force, Tally& tally) {
  ++tally.hosts;
  if (!host.refused.empty()) {
    return answer.value("refused", "") == host.refused ? "" : "should be refused: " + host.refused;
  }
  if (answer.contains("undecided")) return "undecided";
  bool pass = answer["pass"].get<bool>();
  if (pass) {
    ++tally.fitting;
    Assignment assignment = ReadAssignment(answer);
    if (std::string fault = FindFault(host.host, spec, assignment); !fault.empty()) return fault;
    if (!brute_force) return "";
    auto best = SolveByBruteForce(host.host, spec);
    if (!best) return "a yes where brute force finds nothing";
    return assignment.non_local == *best ? "" : "not the fewest non-local devices";
  }
  bool explained = !answer.value("why", "").empty() && answer.contains("reasons") &&
                   answer["reasons"].size() == 1 && !answer["reasons"][0]["code"].get<std::string>().empty();
  if (!explained) return "a no without reason";
  return brute_force && SolveByBruteForce(host.host, spec) ? "a no where brute force finds a way" : "";
}

}  // namespace

std::string JudgeAnswer(std::string_view scenario, std::string_view answer, bool brute_force, Tally& tally) {
  auto known = ReadScenario(scenario);
  if (!known.has_value()) return known.error().ToString();
  OrderedJson json = OrderedJson::parse(answer);
  if (json["id"] != known->id) return "wrong id";
  if (!known->spec.has_value()) {
    ++tally.errors;
    return json.value("request_error", "").starts_with(known->spec.error().message()) ? ""
                                                                                      : "no request_error";
  }
  if (json.contains("request_error")) return json["request_error"];
  if (json["hosts"].size() != known->hosts.size()) return "wrong number of hosts";
  for (const ScenarioHost& host : known->hosts) {
    if (!json["hosts"].contains(host.name)) return "host " + host.name + " is missing";
    std::string fault = JudgeHost(host, *known->spec, json["hosts"][host.name], brute_force, tally);
    if (!fault.empty()) return host.name + ": " + fault;
  }
  return "";
}

}  // namespace berth::scheduler::whatif
