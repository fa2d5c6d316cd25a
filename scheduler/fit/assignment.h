#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "common/cpu_set.h"
#include "common/pci_address.h"
#include "scheduler/fit/fit_host.h"

namespace berth::scheduler {

// One guest cell's place.
struct CellAssignment {
  uint32_t guest = 0;
  NumaNode host = 0;
  uint64_t page_size_bytes = 0;                        // 0: not asked for
  std::vector<std::pair<uint32_t, uint32_t>> pinning;  // guest CPU -> host CPU, ascending
  CpuSet reserved;                                     // for the emulator, or blocked as siblings

  friend bool operator==(const CellAssignment&, const CellAssignment&) = default;
};

struct DeviceAssignment {
  uint32_t request = 0;
  PciAddress address;
  std::optional<NumaNode> numa_node;

  friend bool operator==(const DeviceAssignment&, const DeviceAssignment&) = default;
};

struct Assignment {
  std::vector<CellAssignment> cells;      // by guest cell; empty without topology
  std::vector<DeviceAssignment> devices;  // by request, then address
  uint32_t non_local = 0;                 // devices whose node is not one of the guest's host cells
  uint64_t waste = 0;                     // smaller is better; compares assignments of one request

  friend bool operator==(const Assignment&, const Assignment&) = default;
};

// The first thing that is missing. Codes are stable (docs/scheduling.md lists them).
struct Reason {
  std::string code;   // "cpus_dedicated"
  std::string have;   // "3"
  std::string need;   // "4"
  std::string where;  // "guest cell 1"
  std::string text;   // one sentence for people

  friend bool operator==(const Reason&, const Reason&) = default;
};

enum class Verdict {
  kFits,
  kNo,         // proved
  kUndecided,  // the step budget ran out before a proof; to be counted, never taken for yes or no
};

}  // namespace berth::scheduler
