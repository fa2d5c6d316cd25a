#include <gtest/gtest.h>

#include "placement/model/usage.h"
#include "scheduler/fit/bind.h"
#include "scheduler/fit/fit.h"
#include "scheduler/fit/fit_digest.h"
#include "scheduler/fit/quick_fit.h"
#include "tests/scheduler/fit/random_host.h"
#include "tests/scheduler/judge/naive.h"

namespace berth::scheduler {
namespace {

constexpr uint32_t kCases = 24000;

TEST(FitProperty, AnswersAndNonLocalCountsEqualBruteForceOnRandomSmallHosts) {
  uint32_t fitting = 0;
  for (uint32_t seed = 1; seed <= kCases; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    RandomCase random(seed);
    FitHost host = random.Host();
    RequestSpec spec = random.Request();

    FitResult result = Fit(host, spec);

    std::optional<uint32_t> expected = SolveByBruteForce(host, spec);
    ASSERT_NE(result.verdict, Verdict::kUndecided);
    ASSERT_EQ(result.verdict == Verdict::kFits, expected.has_value()) << result.reason.text;
    if (expected) {
      ++fitting;
      ASSERT_EQ(result.assignment.non_local, *expected);
      ASSERT_EQ(FindFault(host, spec, result.assignment), "");
    } else {
      ASSERT_FALSE(result.reason.code.empty());
      ASSERT_FALSE(result.reason.text.empty());
    }
  }
  EXPECT_GT(fitting, kCases / 10);  // both answers are exercised
  EXPECT_LT(fitting, kCases * 9 / 10);
}

TEST(FitProperty, CountingAndSearchingAgree) {
  uint32_t counted = 0;
  FitOptions search;
  search.search_only = true;
  for (uint32_t seed = 1; seed <= kCases / 2; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    RandomCase random(seed);
    FitHost host = random.Host();
    RequestSpec spec = random.Request();

    QuickFit quick = FitQuickly(host, RequestPlan(spec, *host.types));

    FitResult result = Fit(host, spec, search);
    ASSERT_NE(result.verdict, Verdict::kUndecided);
    if (result.verdict == Verdict::kFits) {
      ASSERT_EQ(FindFault(host, spec, result.assignment), "");
    }
    if (quick.verdict == Verdict::kUndecided) continue;
    ++counted;
    ASSERT_EQ(quick.verdict, result.verdict);
    if (quick.verdict != Verdict::kFits) continue;
    ASSERT_EQ(quick.non_local, result.assignment.non_local);
    ASSERT_EQ(quick.waste, result.assignment.waste);
  }
  EXPECT_GT(counted, kCases * 4 / 10);
}

TEST(FitProperty, RenumberingAndReorderingNeverChangeTheAnswer) {
  for (uint32_t seed = 1; seed <= 6000; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    RandomCase random(seed);
    FitHost host = random.Host();
    RequestSpec spec = random.Request();
    FitResult before = Fit(host, spec);

    FitResult after = Fit(Renumbered(host, random.engine()), Reordered(spec, random.engine()));

    ASSERT_EQ(after.verdict, before.verdict);
    ASSERT_EQ(after.assignment.non_local, before.assignment.non_local);
  }
}

// A live host from a random one; pools may overlap in part.
placement::HostReport ReportOf(RandomCase& random) {
  FitHost host = random.Host();
  placement::HostReport report;
  report.name = "h";
  report.can_run_guests = true;
  report.cpu_allocation_ratio = host.cpu_ratio;
  report.ram_allocation_ratio = host.ram_ratio;
  for (const FitCell& cell : host.cells) {
    placement::Cell out;
    out.id = cell.id;
    out.socket = cell.socket;
    out.shared_cpus = cell.shared_cpus;
    out.dedicated_cpus = cell.free_dedicated;
    for (uint32_t cpu : cell.shared_cpus.ToVector()) {
      if (random.Chance(20)) out.dedicated_cpus.Add(cpu);
    }
    out.siblings = cell.siblings;
    out.memory_bytes = cell.memory_bytes;
    for (const FitPages& pages : cell.pages) {
      out.pages.push_back({pages.size_bytes, pages.total, pages.total - pages.free});
      if (out.pages.size() > 1) out.memory_bytes += pages.free * pages.size_bytes;
    }
    report.cells.push_back(std::move(out));
  }
  for (const FitDevice& device : host.devices) {
    if (device.kind == DeviceKind::kVdpa) continue;
    placement::Device out;
    out.address = device.address;
    out.vendor_id = device.vendor_id;
    out.product_id = device.product_id;
    out.type = device.kind == DeviceKind::kPci  ? placement::DeviceType::kPci
               : device.kind == DeviceKind::kPf ? placement::DeviceType::kPf
                                                : placement::DeviceType::kVf;
    out.parent = device.parent;
    out.numa_node = device.numa_node;
    out.assignable = true;
    out.physical_network = device.network;
    out.trusted = device.trusted;
    out.remote_managed = device.remote_managed;
    out.resource_class = device.resource_class;
    out.traits = device.traits;
    report.devices.push_back(std::move(out));
  }
  return report;
}

// Live hosts that fill with claims: `decide(host, spec)` answers for one request after another, and placement
// must accept each place that it finds. Returns how many it found.
template <class Decide>
uint32_t FillLiveHosts(Decide decide) {
  uint32_t claims = 0;
  for (uint32_t seed = 1; seed <= 4000; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    RandomCase random(seed);
    placement::HostReport report = ReportOf(random);
    placement::HostUsage usage;
    for (uint32_t i = 0; i < 6; ++i) {
      RequestSpec spec = random.Request();
      if (spec.cells.empty()) spec.memory_bytes = uint64_t{1 + random.Below(8)} << 20;
      FitResult result = decide(FromHost(report, usage), spec);
      if (result.verdict != Verdict::kFits) continue;
      placement::Claim claim;
      claim.consumer = Uuid::FromName(Uuid{}, std::to_string(i));
      BindAssignment(spec, result.assignment, claim);
      Status status = placement::CheckClaim(report, usage, claim);
      EXPECT_TRUE(status.ok()) << status.ToString();
      placement::AddClaim(claim, usage);
      ++claims;
    }
  }
  return claims;
}

// What the digest of a host lacks is lacking by proof, and most of what does not fit is seen by it.
TEST(FitProperty, DigestsRefuseOnlyWhatDoesNotFit) {
  uint32_t refused = 0;
  uint32_t claims = FillLiveHosts([&](const FitHost& host, const RequestSpec& spec) {
    FitOptions searched;
    searched.search_only = true;
    searched.explain = false;
    FitResult result = Fit(host, spec, searched);
    if (LeastNeeds(spec).Exceed(DigestOf(host))) {
      ++refused;
      EXPECT_EQ(result.verdict, Verdict::kNo);
    }
    return result;
  });
  EXPECT_GT(refused, 5000u);
  EXPECT_GT(claims, 2000u);
}

TEST(FitProperty, PlacementAcceptsEveryAssignmentOnLiveHosts) {
  uint32_t undecided = 0;
  uint32_t claims = FillLiveHosts([&](const FitHost& host, const RequestSpec& spec) {
    FitResult result = Fit(host, spec);
    undecided += result.verdict == Verdict::kUndecided ? 1 : 0;
    return result;
  });
  EXPECT_GT(claims, 2000u);
  EXPECT_LT(undecided, 30u);  // only where pools overlap in part
}

}  // namespace
}  // namespace berth::scheduler
