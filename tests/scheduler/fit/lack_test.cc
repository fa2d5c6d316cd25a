#include "scheduler/fit/lack.h"

#include <gtest/gtest.h>

#include "scheduler/fit/fit.h"
#include "tests/scheduler/fit/random_host.h"

namespace berth::scheduler {
namespace {

// The request with only PCI request `r`, for `count` devices.
RequestSpec Only(const RequestSpec& spec, size_t r, uint32_t count) {
  RequestSpec one = spec;
  one.domains.clear();
  one.pci = {spec.pci[r]};
  one.pci[0].count = count;
  return one;
}

bool Fits(const FitHost& host, const RequestSpec& spec) {
  FitOptions options;
  options.explain = false;
  return Fit(host, spec, options).verdict == Verdict::kFits;
}

TEST(Lack, FiguresAreWhatTheSolverProves) {
  uint32_t devices = 0;
  uint32_t near = 0;
  uint32_t cells = 0;
  for (uint32_t seed = 1; seed <= 12000; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    RandomCase random(seed);
    FitHost host = random.Host();
    RequestSpec spec = random.Request();
    if (Fits(host, spec)) continue;

    RequestPlan plan(spec, *host.types);
    Lack lack = LackFinder(plan).Find(host);

    ASSERT_NE(lack.code, LackCode::kNothing);
    ASSERT_FALSE(Describe(lack, spec).text.empty());
    if (lack.code == LackCode::kDevices) {
      // Without topology, so that only devices count.
      RequestSpec anywhere = Only(spec, lack.subject, static_cast<uint32_t>(lack.have));
      anywhere.cells.clear();
      ASSERT_LT(lack.have, lack.need);
      ++anywhere.pci[0].count;
      ASSERT_FALSE(Fits(host, anywhere));
      if (lack.have > 0) {
        --anywhere.pci[0].count;
        ASSERT_TRUE(Fits(host, anywhere));
      }
      ++devices;
    }
    if (lack.code == LackCode::kPciNuma) {
      auto have = static_cast<uint32_t>(lack.have);
      ASSERT_LT(lack.have, lack.need);
      ASSERT_FALSE(Fits(host, Only(spec, lack.subject, have + 1)));
      if (have > 0) {
        ASSERT_TRUE(Fits(host, Only(spec, lack.subject, have)));
      }
      ++near;
    }
    if (lack.code != LackCode::kCell) continue;
    // The guest cell fits on none of the host cells, and its need is not met by the nearest.
    for (size_t c = 0; c < host.cells.size(); ++c)
      ASSERT_FALSE(CheckCell(host, spec, lack.subject, c).fits());
    ASSERT_NE(lack.have, lack.need);
    ++cells;
  }
  EXPECT_GT(devices, 500u);
  EXPECT_GT(near, 20u);
  EXPECT_GT(cells, 500u);
}

}  // namespace
}  // namespace berth::scheduler
