// "parent" as a kind of domain: devices of one PF. It must agree with domains that are written out.
#include <gtest/gtest.h>

#include "scheduler/fit/domain_choice.h"
#include "scheduler/fit/fit.h"
#include "tests/scheduler/fit/random_host.h"

namespace berth::scheduler {
namespace {

TEST(ParentDomain, AgreesWithDomainsThatAreWrittenOut) {
  int yes = 0;
  int no = 0;
  for (uint32_t seed = 0; seed < 4000; ++seed) {
    RandomCase random(seed);
    FitHost host = random.Host();
    RequestSpec spec = random.Request();
    if (spec.pci.empty()) continue;
    spec.pci.resize(1);
    spec.pci.front().count = 1 + random.Below(3);
    spec.domains = {{kParentDomain, 1}};
    FitHost written = host;
    for (FitDevice& device : written.devices)
      device.domains.push_back("written:" + device.parent.value_or(device.address).ToString());
    RequestSpec same = spec;
    same.domains = {{"written", 1}};

    FitResult quick = Fit(host, spec);
    FitResult search = Fit(written, same);

    ASSERT_EQ(quick.verdict, search.verdict) << seed;
    (quick.verdict == Verdict::kFits ? yes : no) += 1;
    if (quick.verdict != Verdict::kFits) continue;
    EXPECT_EQ(quick.assignment.non_local, search.assignment.non_local) << seed;
    std::string parent;
    for (const DeviceAssignment& one : quick.assignment.devices) {
      for (const FitDevice& device : host.devices) {
        if (device.address != one.address) continue;
        std::string here = device.parent.value_or(device.address).ToString();
        EXPECT_TRUE(parent.empty() || parent == here) << seed;
        parent = here;
      }
    }
  }
  EXPECT_GT(yes, 100);
  EXPECT_GT(no, 100);
}

}  // namespace
}  // namespace berth::scheduler
