#pragma once

#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <tuple>

#include "common/metrics.h"

namespace berth::placement::rest {

// What the service counts about its requests. Thread-safe.
class RestMetrics {
 public:
  explicit RestMetrics(MetricsRegistry& registry) : registry_(registry) {}

  // `route`: the path of the table, "other" for none of them.
  void Count(std::string_view method, std::string_view route, int status, double seconds);
  // A write that came too late: 409 placement.concurrent_update.
  void CountConflict(std::string_view route);
  std::string ToText() const { return registry_.ToPrometheusText(); }

 private:
  MetricsRegistry& registry_;
  std::mutex mutex_;  // guards the maps
  std::map<std::tuple<std::string, std::string, int>, Counter*> requests_;
  std::map<std::pair<std::string, std::string>, Histogram*> seconds_;
  std::map<std::string, Counter*> conflicts_;
};

}  // namespace berth::placement::rest
