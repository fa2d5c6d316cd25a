#pragma once

#include <cstdint>
#include <vector>

#include "scheduler/fit/assignment.h"
#include "scheduler/fit/cell_fit.h"
#include "scheduler/fit/cell_sets.h"
#include "scheduler/fit/fit_host.h"
#include "scheduler/fit/request_plan.h"

namespace berth::scheduler {

// What a host can lack, in the order in which it is looked for.
enum class LackCode : uint8_t {
  kNothing,  // no proof of a lack was found
  kNoKvm,
  kSmt,              // SMT is not as the flavor's trait asks
  kHostVcpus,        // floating vCPUs that the shared CPUs carry in all
  kHostMemory,       // base-page memory in all
  kHostDisk,         // disk in all
  kCells,            // host cells
  kCell,             // what the nearest host cell lacks for one guest cell: `cell`
  kCellsDistinct,    // distinct host cells for all guest cells
  kNetwork,          // host cells that are tied to the guest's networks
  kDevices,          // free devices that match one request
  kDevicesTogether,  // for all requests at once
  kDomain,           // devices that share a domain
  kPciNuma,          // devices that are near enough, for one request
  kPciNumaTogether,  // for all requests at once
};

// The first thing that a host lacks for a request, as figures: cheap to find on many hosts, see Describe.
struct Lack {
  static constexpr uint32_t kNobody = UINT32_MAX;

  LackCode code = LackCode::kNothing;
  CellLack cell = CellLack::kNothing;  // of kCell
  uint32_t subject = kNobody;          // guest cell of kCell; PCI request of kDevices and kPciNuma
  uint32_t node = kNobody;             // of kCell: the nearest host cell
  uint64_t have = 0;                   // CPUs, cores, devices, cells or bytes
  uint64_t need = 0;
  uint64_t page_size_bytes = 0;  // of kCell: of the pages that are missing
  uint64_t taken = 0;            // of kHostVcpus: shared CPUs that pinning takes
};

// The code that people and programs see ("cpus_dedicated"); docs/scheduling.md lists them.
const char* CodeOf(const Lack& lack);
// The whole in words.
Reason Describe(const Lack& lack, const RequestSpec& spec);

// Finds the first lack on one host after another. `plan` must outlive it. Not thread-safe.
class LackFinder {
 public:
  explicit LackFinder(const RequestPlan& plan) : plan_(plan), spec_(plan.spec()) {}

  // Of a host on which the request does not fit.
  Lack Find(const FitHost& host);

 private:
  // Devices of one family that may serve the request in question.
  struct FamilyCount {
    uint32_t parents = 0;
    uint32_t children = 0;
  };
  // Where the guest may sit: sets of host cells, by index, and their neighbours on the same sockets.
  struct Place {
    uint64_t cells = 0;
    uint64_t socket = 0;
  };

  Lack FindInCells(const FitHost& host);
  Lack NearestCell(const FitHost& host, const CellNeed& need) const;
  Lack FindInDevices(const FitHost& host);
  bool DomainsAreMissing(const FitHost& host) const;
  bool ServedTogether(const FitHost& host) const;
  void ListPlaces(const FitHost& host);
  // The most devices that one request alone could get. `place`: nullptr: wherever the guest sits.
  uint32_t MostDevices(const FitHost& host, size_t request, const Place* place);

  const RequestPlan& plan_;
  const RequestSpec& spec_;
  uint64_t usable_ = 0;  // host cells that hold some guest cell
  std::vector<Place> places_;
  std::vector<FamilyCount> families_;
};

}  // namespace berth::scheduler
