#include "common/metrics.h"

#include <gtest/gtest.h>

namespace berth {
namespace {

TEST(Metrics, SerialisesInPrometheusText) {
  MetricsRegistry registry;
  registry.AddCounter("berth_claims_total", "Claims", {{"result", "ok"}}).Increment();
  registry.AddCounter("berth_claims_total", "Claims", {{"result", "ok"}}).Increment(2);

  EXPECT_NE(registry.ToPrometheusText().find("berth_claims_total{result=\"ok\"} 3"), std::string::npos);
}

}  // namespace
}  // namespace berth
