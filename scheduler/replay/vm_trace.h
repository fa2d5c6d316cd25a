#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "common/status.h"

namespace berth::scheduler::replay {

// One VM that comes and goes.
struct TraceVm {
  uint32_t batch = 0;  // VMs of one batch are asked for together and follow each other
  uint32_t vcpus = 0;  // in the trace's units, see VmTrace
  uint64_t memory_bytes = 0;
  double start = 0;                                      // in the trace's unit of time
  double end = std::numeric_limits<double>::infinity();  // never gone
};

struct VmTrace {
  std::vector<TraceVm> vms;     // ascending by start
  uint32_t vcpus_per_core = 1;  // units of a core
  bool batches = false;         // batches are all or nothing
};

// azure-packing-2020-sample: FOLDER/vm_sample_batched.csv.gz. VMs of hundredths of a core; each is a batch.
Result<VmTrace> ReadPackingTrace(const std::string& folder);
// azure-vm-2017: a split ("dev" or "test") with lifetimes, FOLDER/v1.SPLIT.txt. Time in seconds.
Result<VmTrace> ReadArrivalsTrace(const std::string& folder, const std::string& split);

// The most cores in use at one time if nothing were refused.
double PeakCores(const VmTrace& trace);

}  // namespace berth::scheduler::replay
