#pragma once

#include "common/http/server.h"
#include "common/metrics.h"

namespace berth::placement {

class PlacementServer;

// The figures of a placement service that are read when they are asked for: what it holds, what its writer
// has done, what its listener has refused, its memory. One thread at a time.
class StoreMetrics {
 public:
  StoreMetrics(MetricsRegistry& registry, PlacementServer& placement);
  ~StoreMetrics();
  StoreMetrics(const StoreMetrics&) = delete;
  StoreMetrics& operator=(const StoreMetrics&) = delete;
  void Collect(const http::Server::Counters& listener);

 private:
  // Brings a counter to a total that is counted elsewhere.
  struct Total {
    Counter* counter;
    void To(uint64_t value) { counter->Increment(static_cast<double>(value) - counter->Value()); }
  };

  PlacementServer& placement_;
  Gauge& providers_;
  Gauge& consumers_;
  Gauge& allocations_;
  Gauge& memory_;
  Gauge& connections_;
  Gauge& in_work_;
  Total commands_;
  Total commits_;
  Total failed_commits_;
  Total rejected_;
  Total refused_busy_;
  Total refused_body_;
  Total closed_slow_;
  Total closed_oversized_;
  Total closed_excess_;
};

}  // namespace berth::placement
