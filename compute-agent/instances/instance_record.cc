#include "compute-agent/instances/instance_record.h"

#include <exception>
#include <nlohmann/json.hpp>
#include <utility>

namespace berth::agent {
namespace {

using nlohmann::json;

constexpr int kFormat = 1;
constexpr std::pair<Phase, const char*> kPhases[] = {{Phase::kPreparing, "preparing"},
                                                     {Phase::kStarting, "starting"},
                                                     {Phase::kRunning, "running"},
                                                     {Phase::kExited, "exited"}};

constexpr std::pair<Goal, const char*> kGoals[] = {
    {Goal::kRunning, "running"}, {Goal::kStopped, "stopped"}, {Goal::kPaused, "paused"}};

const char* GoalName(Goal goal) {
  for (const auto& [value, name] : kGoals) {
    if (value == goal) return name;
  }
  return "";
}

const char* PhaseName(Phase phase) {
  for (const auto& [value, name] : kPhases) {
    if (value == phase) return name;
  }
  return "";
}

// Throws what nlohmann::json throws, as do the other readers.
Status ReadWishes(const json& root, InstanceRecord& record) {
  const std::string wanted =
      root.value("goal", std::string("running"));  // not in records of earlier versions
  bool known = false;
  for (const auto& [goal, name] : kGoals) {
    if (wanted != name) continue;
    record.goal = goal;
    known = true;
  }
  if (!known) return DataLoss("unknown goal of an instance record");
  record.reboot = root.value("reboot", false);
  record.reset = root.value("reset", false);
  record.taps = root.value("taps", std::vector<std::string>());
  for (const json& disk : root.value("disks", json::array())) {
    record.disks.push_back({disk.at("id").get<std::string>(), disk.at("path").get<std::string>(),
                            disk.at("readonly").get<bool>(), disk.at("direct").get<bool>(),
                            disk.at("serial").get<std::string>(), disk.at("leaving").get<bool>()});
  }
  return OkStatus();
}

// Throws what nlohmann::json throws; only FromJson calls it.
Result<InstanceRecord> Read(const json& root) {
  if (root.at("format").get<int>() != kFormat) return DataLoss("unknown format of an instance record");
  InstanceRecord record;
  TRY_ASSIGN(record.consumer, Uuid::Parse(root.at("consumer").get<std::string>()));
  record.name = root.at("name").get<std::string>();
  bool known = false;
  for (const auto& [phase, name] : kPhases) {
    if (root.at("phase").get<std::string>() != name) continue;
    record.phase = phase;
    known = true;
  }
  if (!known) return DataLoss("unknown phase of an instance record");
  record.attempts = root.at("attempts").get<uint32_t>();
  record.restarts = root.value("restarts", uint32_t{0});  // not in records of earlier versions
  record.claim = root.value("claim", std::string());
  const json& process = root.at("process");
  record.process = {process.at("pid").get<pid_t>(), process.at("start_time").get<uint64_t>(),
                    process.at("boot_id").get<std::string>()};
  record.arguments = root.at("arguments").get<std::vector<std::string>>();
  for (const json& device : root.at("devices")) {
    TRY_ASSIGN(PciAddress address, PciAddress::Parse(device.at("address").get<std::string>()));
    record.devices.push_back({address, device.at("original_driver").get<std::string>(),
                              device.value("managed", true), device.value("port", false)});
  }
  for (const json& pages : root.at("huge_pages")) {
    PoolKey key{pages.at("node").get<uint32_t>(), pages.at("size_bytes").get<uint64_t>()};
    record.huge_pages[key] = pages.at("count").get<uint64_t>();
  }
  record.note = root.at("note").get<std::string>();
  TRY(ReadWishes(root, record));
  if (root.contains("outcome")) {
    const json& outcome = root.at("outcome");
    auto state = placement::ParseInstanceState(outcome.at("state").get<std::string>());
    if (!state.has_value()) return DataLoss("unknown state of an instance record");
    record.outcome = Outcome{*state, outcome.at("detail").get<std::string>()};
  }
  return record;
}

}  // namespace

std::string InstanceRecord::ToJson() const {
  json root = {
      {"format", kFormat},
      {"consumer", consumer.ToString()},
      {"name", name},
      {"phase", PhaseName(phase)},
      {"goal", GoalName(goal)},
      {"reboot", reboot},
      {"reset", reset},
      {"disks", json::array()},
      {"attempts", attempts},
      {"restarts", restarts},
      {"process", {{"pid", process.pid}, {"start_time", process.start_time}, {"boot_id", process.boot_id}}},
      {"arguments", arguments},
      {"devices", json::array()},
      {"taps", taps},
      {"huge_pages", json::array()},
      {"claim", claim},
      {"note", note}};
  for (const BoundDevice& device : devices) {
    root["devices"].push_back({{"address", device.address.ToString()},
                               {"original_driver", device.original_driver},
                               {"managed", device.managed},
                               {"port", device.port}});
  }
  for (const DiskAttachment& disk : disks) {
    root["disks"].push_back({{"id", disk.id},
                             {"path", disk.path},
                             {"readonly", disk.readonly},
                             {"direct", disk.direct},
                             {"serial", disk.serial},
                             {"leaving", disk.leaving}});
  }
  for (const auto& [key, count] : huge_pages) {
    root["huge_pages"].push_back({{"node", key.first}, {"size_bytes", key.second}, {"count", count}});
  }
  if (outcome.has_value()) {
    root["outcome"] = {{"state", placement::InstanceStateName(outcome->state)}, {"detail", outcome->detail}};
  }
  // Names and details come from outside and may hold any bytes.
  return root.dump(2, ' ', false, json::error_handler_t::replace) + "\n";
}

Result<InstanceRecord> InstanceRecord::FromJson(std::string_view text) {
  try {
    return Read(json::parse(text));
  } catch (const std::exception& error) {
    return DataLoss(std::string("not an instance record: ") + error.what());
  }
}

}  // namespace berth::agent
