#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "common/metrics.h"
#include "compute-agent/instances/instance_events.h"
#include "compute-agent/instances/reconciler.h"
#include "placement/model/host.h"

namespace berth::agent {

// What becomes of a device of the host's report.
enum class DeviceState {
  kFree,      // may be handed out
  kHeld,      // an instance has it, by claim or record
  kMissing,   // an instance has it, but the host does not show it any more
  kWithheld,  // it is known but not handed out: it failed, was used, or its IOMMU group is not viable
  kParent,    // a PF whose VFs are handed out
};
const char* DeviceStateName(DeviceState state);  // "free", "held", "missing", "withheld", "parent"

// Of each device; those that `held` names are missing when the report does not have them.
std::map<DeviceState, size_t> CountDevices(const std::vector<placement::Device>& devices,
                                           const std::set<PciAddress>& held);

// What an agent shows of itself at one moment.
struct AgentSnapshot {
  InstanceSummary instances;
  std::map<DeviceState, size_t> devices;
  std::map<placement::NumaNode, uint64_t> available_memory;  // ordinary memory, bytes
  std::set<placement::NumaNode> low_memory;
  size_t warnings = 0;    // of the last report
  bool reported = false;  // placement has this host's report, and it is the present one
};

// The agent's metrics in Prometheus' text form. Thread-safe.
class AgentMetrics {
 public:
  // Counters continue with what `events` has counted, which must outlive the metrics.
  explicit AgentMetrics(const InstanceEvents& events) : events_(events) {}

  std::string Text(const AgentSnapshot& snapshot);

 private:
  void SetGauges(const AgentSnapshot& snapshot);
  void SetCounters();
  void Raise(const char* name, const char* help, uint64_t to, const MetricLabels& labels = {});

  const InstanceEvents& events_;
  std::mutex mutex_;  // one collection at a time: gauges of one moment belong together
  MetricsRegistry registry_;
};

}  // namespace berth::agent
