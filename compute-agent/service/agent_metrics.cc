#include "compute-agent/service/agent_metrics.h"

#include <algorithm>
#include <cctype>

namespace berth::agent {
namespace {

using placement::InstanceState;

constexpr InstanceState kStates[] = {
    InstanceState::kPending, InstanceState::kBuilding, InstanceState::kRunning, InstanceState::kStopped,
    InstanceState::kFailed,  InstanceState::kDeleting, InstanceState::kPaused};
constexpr DeviceState kDeviceStates[] = {DeviceState::kFree, DeviceState::kHeld, DeviceState::kMissing,
                                         DeviceState::kWithheld, DeviceState::kParent};

std::string Lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return text;
}

template <class Map, class Key>
double At(const Map& map, const Key& key) {
  auto found = map.find(key);
  return found == map.end() ? 0 : static_cast<double>(found->second);
}

}  // namespace

const char* DeviceStateName(DeviceState state) {
  switch (state) {
    case DeviceState::kFree:
      return "free";
    case DeviceState::kHeld:
      return "held";
    case DeviceState::kMissing:
      return "missing";
    case DeviceState::kWithheld:
      return "withheld";
    case DeviceState::kParent:
      return "parent";
  }
  return "unknown";
}

std::map<DeviceState, size_t> CountDevices(const std::vector<placement::Device>& devices,
                                           const std::set<PciAddress>& held) {
  std::map<DeviceState, size_t> counts;
  std::set<PciAddress> missing = held;
  std::set<PciAddress> parents;
  for (const placement::Device& device : devices) {
    if (device.parent.has_value()) parents.insert(*device.parent);
  }
  for (const placement::Device& device : devices) {
    const bool taken = missing.erase(device.address) > 0;
    ++counts[taken                              ? DeviceState::kHeld
             : device.assignable                ? DeviceState::kFree
             : parents.contains(device.address) ? DeviceState::kParent
                                                : DeviceState::kWithheld];
  }
  if (!missing.empty()) counts[DeviceState::kMissing] = missing.size();
  return counts;
}

// A registry's counters only go up: by what has been counted since the last time.
void AgentMetrics::Raise(const char* name, const char* help, uint64_t to, const MetricLabels& labels) {
  Counter& counter = registry_.AddCounter(name, help, labels);
  counter.Increment(std::max(0.0, static_cast<double>(to) - counter.Value()));
}

void AgentMetrics::SetGauges(const AgentSnapshot& now) {
  for (InstanceState state : kStates) {
    registry_
        .AddGauge("agent_instances", "Instances of this host",
                  {{"state", Lower(placement::InstanceStateName(state))}})
        .Set(At(now.instances.by_state, state));
  }
  registry_.AddGauge("agent_instances_unclaimed", "Instances that placement does not know")
      .Set(static_cast<double>(now.instances.unclaimed));
  for (const auto& [verdict, count] :
       {std::pair("proven", now.instances.proven), std::pair("different", now.instances.different),
        std::pair("unproven", now.instances.unproven)}) {
    registry_
        .AddGauge("agent_placement_proofs",
                  "Running instances by the verdict of the last comparison of their claim with the truth",
                  {{"verdict", verdict}})
        .Set(static_cast<double>(count));
  }
  for (DeviceState state : kDeviceStates) {
    registry_.AddGauge("agent_devices", "PCI devices of device_spec", {{"state", DeviceStateName(state)}})
        .Set(At(now.devices, state));
  }
  for (const auto& [node, bytes] : now.available_memory) {
    const MetricLabels labels = {{"node", std::to_string(node)}};
    registry_
        .AddGauge("agent_node_memory_available_bytes", "Ordinary memory that programs can still have", labels)
        .Set(static_cast<double>(bytes));
    registry_.AddGauge("agent_node_memory_low", "1: below confidential.nonsecure_headroom", labels)
        .Set(now.low_memory.contains(node) ? 1 : 0);
  }
  registry_.AddGauge("agent_host_warnings", "Warnings of this host's report")
      .Set(static_cast<double>(now.warnings));
  registry_.AddGauge("agent_host_reported", "1: placement has this host's present report")
      .Set(now.reported ? 1 : 0);
}

void AgentMetrics::SetCounters() {
  Raise("agent_vmms_started_total", "VMMs that this agent started", events_.started);
  Raise("agent_vmms_adopted_total", "Running VMMs of an earlier agent that this one found", events_.adopted);
  Raise("agent_instances_restarted_total", "Restarts by policy", events_.restarted);
  Raise("agent_instances_failed_total", "Instances that became FAILED", events_.failed);
  Raise("agent_guest_swiotlb_full_total", "Times that a guest told that its bounce buffer is full",
        events_.swiotlb_full);
  Raise("agent_vmms_out_of_memory_total", "VMMs that the kernel ended for lack of memory",
        events_.out_of_memory);
  Raise("agent_device_restore_failures_total", "Tries to give a device back to its driver that failed",
        events_.device_faults);
  const char* healed = "Claims that placement had lost, by whether they could be made again";
  Raise("agent_claims_healed_total", healed, events_.claims_restored, {{"result", "restored"}});
  Raise("agent_claims_healed_total", healed, events_.claims_not_restored, {{"result", "refused"}});
  Raise("agent_leftovers_removed_total", "Instances without a claim that were cleaned up",
        events_.leftovers_removed);
}

std::string AgentMetrics::Text(const AgentSnapshot& snapshot) {
  std::lock_guard lock(mutex_);
  SetGauges(snapshot);
  SetCounters();
  return registry_.ToPrometheusText();
}

}  // namespace berth::agent
