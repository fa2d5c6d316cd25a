#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "common/status.h"
#include "placement/model/host.h"
#include "placement/model/usage.h"
#include "scheduler/fit/fit_host.h"
#include "scheduler/fit/quick_fit.h"
#include "scheduler/request/request_spec.h"

namespace berth::scheduler {

// One host on which a request fits, as weighers see it: before the request is placed there.
struct WeighedHost {
  const placement::HostReport& report;
  const placement::HostUsage& usage;
  const FitHost& fit;
  const QuickFit& quick;     // of the request here
  uint32_t failures = 0;     // instances that failed there since one last ran
  bool backing_off = false;  // since a failure, for a while
};

// What makes one host better than another. One small class in one file of this folder, with one line in
// registry.cc. Pure and immutable, so thread-safe.
class Weigher {
 public:
  virtual ~Weigher() = default;
  // 0 (worst) to 1 (best). Of this host alone, whatever the others are like: a class of requests keeps what
  // each host is worth and asks again only those that changed.
  virtual double Weigh(const WeighedHost& host, const RequestSpec& spec) const = 0;
  // The same weigher with whatever it can tell beforehand of requests equal to this one; nullptr: nothing.
  virtual std::shared_ptr<const Weigher> Prepared(const RequestSpec& /*spec*/) const { return nullptr; }
};

// The weighers of one configuration. Immutable.
class WeigherSet {
 public:
  // None: the built-in order decides.
  WeigherSet() = default;
  // By name with its multiplier, -1e6 to 1e6; a negative one turns the preference round. kInvalidArgument: an
  // unknown name with the nearest known one as hint, a name that is there twice.
  static Result<WeigherSet> Make(const std::vector<std::pair<std::string, double>>& multipliers);
  static const std::vector<std::string>& Names();

  // One alone, that no configuration names. Shared by copies of the set.
  static WeigherSet Of(std::shared_ptr<const Weigher> weigher);
  // For requests equal to this one only: answers the same, faster.
  WeigherSet Prepared(const RequestSpec& spec) const;

  bool empty() const { return entries_.empty(); }
  // The sum of weights times multipliers, over the sum of the multipliers' sizes: -1 to 1, more is better.
  double Weigh(const WeighedHost& host, const RequestSpec& spec) const;

 private:
  struct Entry {
    std::shared_ptr<const Weigher> weigher;  // shared by copies of the set
    double multiplier = 1;
  };
  std::vector<Entry> entries_;
  double total_ = 0;
};

}  // namespace berth::scheduler
