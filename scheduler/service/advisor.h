#pragma once

#include <memory>
#include <string>
#include <vector>

#include "common/status.h"
#include "scheduler/explain/capacity.h"
#include "scheduler/explain/changes.h"
#include "scheduler/explain/reasons.h"
#include "scheduler/request/catalogue.h"
#include "scheduler/service/fleet.h"
#include "scheduler/service/scheduler.h"

namespace berth::scheduler {

// What people ask about the fleet, as it is at that moment. `host`: only this one (name or UUID).
struct Question {
  std::string flavor;
  Properties image_properties;
  std::vector<PortRequest> ports;
  std::string host;
  std::string availability_zone = {};
  std::string project = {};
};

// A host that a filter does not keep, whether or not the request would fit on it.
struct FilteredOut {
  std::string host;
  Reason reason;
};

// Hosts of one picture of the fleet, which it keeps alive.
struct KnownFleet {
  std::shared_ptr<const Fleet> fleet;
  KnownHosts hosts;                    // that the filters keep
  std::vector<const HostView*> views;  // of `hosts`, in their order
  std::vector<FilteredOut> filtered;   // ascending by name
};

// Why, what would help, how many more. Reads the scheduler's mirror and changes nothing. Thread-safe.
class Advisor {
 public:
  // `scheduler` must outlive the advisor.
  explicit Advisor(const Scheduler& scheduler) : scheduler_(scheduler) {}

  struct Explanation {
    KnownFleet fleet;
    RequestSpec spec;
    Reasons reasons;
    Changes changes;  // if asked for and nothing fits
    std::vector<std::string> notes;
  };
  struct Capacity {
    struct Host {
      std::string name;
      HostRoom room;
    };
    uint64_t instances = 0;
    std::vector<Host> hosts;  // that take any, ascending by name
    struct Aggregate {
      std::string name;  // "zone:NAME" of an availability zone
      uint64_t instances = 0;
      uint32_t hosts = 0;  // that take any
    };
    std::vector<Aggregate> aggregates;  // of which some host takes any, ascending by name
    uint32_t hosts_total = 0;
    uint32_t undecided = 0;
  };

  // kInvalidArgument: the question; kNotFound: the host; kUnavailable: the fleet is not known yet.
  Result<Explanation> Explain(const Question& question, bool changes) const;
  Result<Capacity> Count(const Question& question) const;

 private:
  Result<Wish> WishOf(const Question& question) const;
  Result<RequestSpec> SpecOf(const Question& question, const Wish& wish) const;
  Result<KnownFleet> Hosts(const std::string& only, const RequestSpec& spec) const;

  const Scheduler& scheduler_;
};

}  // namespace berth::scheduler
