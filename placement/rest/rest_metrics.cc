#include "placement/rest/rest_metrics.h"

namespace berth::placement::rest {
namespace {

const std::vector<double> kSeconds = {0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01,
                                      0.025,  0.05,    0.1,    0.25,  0.5,    1,     5};

// Methods are the clients' to choose: labels come from a closed set.
std::string MethodLabel(std::string_view method) {
  for (std::string_view known : {"GET", "PUT", "POST", "DELETE", "OPTIONS", "HEAD", "PATCH"}) {
    if (method == known) return std::string(known);
  }
  return "other";
}

}  // namespace

void RestMetrics::Count(std::string_view method, std::string_view route, int status, double seconds) {
  std::string verb = MethodLabel(method), path(route);
  Counter* counter = nullptr;
  Histogram* histogram = nullptr;
  {
    std::lock_guard lock(mutex_);
    Counter*& known = requests_[{verb, path, status}];
    if (!known) {
      known = &registry_.AddCounter("placement_rest_requests_total", "Requests by method, route and status",
                                    {{"method", verb}, {"route", path}, {"status", std::to_string(status)}});
    }
    counter = known;
    Histogram*& timed = seconds_[{verb, path}];
    if (!timed) {
      timed = &registry_.AddHistogram("placement_rest_request_seconds",
                                      "From the request's arrival to its answer, by method and route",
                                      kSeconds, {{"method", verb}, {"route", path}});
    }
    histogram = timed;
  }
  counter->Increment();
  histogram->Observe(seconds);
}

void RestMetrics::CountConflict(std::string_view route) {
  Counter* counter = nullptr;
  {
    std::lock_guard lock(mutex_);
    Counter*& known = conflicts_[std::string(route)];
    if (!known) {
      known = &registry_.AddCounter("placement_generation_conflicts_total",
                                    "Writes refused because a generation was not the one given",
                                    {{"route", std::string(route)}});
    }
    counter = known;
  }
  counter->Increment();
}

}  // namespace berth::placement::rest
