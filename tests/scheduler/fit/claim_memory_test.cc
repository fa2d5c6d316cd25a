// Memory on live hosts: the solver answers what placement answers to some claim, and never otherwise.
#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "placement/model/usage.h"
#include "scheduler/fit/bind.h"
#include "scheduler/fit/fit.h"

namespace berth::scheduler {
namespace {

using Kind = PageRequest::Kind;

constexpr uint64_t kMib = uint64_t{1} << 20;

// Cells of 8 shared and 8 dedicated CPUs, with base pages and pages of 2 MiB.
placement::HostReport HostOf(const std::vector<std::pair<uint64_t, uint64_t>>& base_and_huge_mib) {
  placement::HostReport host;
  host.name = "h";
  host.can_run_guests = true;
  for (auto [base, huge] : base_and_huge_mib) {
    placement::Cell cell;
    cell.id = static_cast<uint32_t>(host.cells.size());
    cell.shared_cpus = CpuSet::Range(cell.id * 16, cell.id * 16 + 7);
    cell.dedicated_cpus = CpuSet::Range(cell.id * 16 + 8, cell.id * 16 + 15);
    for (uint32_t cpu = 0; cpu < 16; ++cpu) cell.siblings.push_back({cell.id * 16 + cpu});
    cell.memory_bytes = (base + huge) * kMib;
    cell.pages = {{4096, base * 256, 0}, {2 * kMib, huge / 2, 0}};
    host.cells.push_back(std::move(cell));
  }
  return host;
}

// A guest with one vCPU for each of these cells; none: without topology.
RequestSpec GuestOf(const std::vector<uint64_t>& cells_mib, Kind pages = Kind::kNotAsked) {
  RequestSpec spec;
  spec.pages.kind = pages;
  for (uint64_t mib : cells_mib) {
    GuestCell cell;
    cell.vcpus = {spec.vcpus++};
    cell.memory_bytes = mib * kMib;
    spec.memory_bytes += cell.memory_bytes;
    spec.cells.push_back(cell);
  }
  return spec;
}

RequestSpec FloatingGuest(uint64_t mib) {
  RequestSpec spec;
  spec.vcpus = 1;
  spec.memory_bytes = mib * kMib;
  return spec;
}

placement::HostUsage UsageOf(const placement::HostReport& report, const std::vector<RequestSpec>& guests) {
  placement::HostUsage usage;
  for (const RequestSpec& guest : guests) {
    FitResult result = Fit(FromHost(report, usage), guest);
    EXPECT_EQ(result.verdict, Verdict::kFits) << result.reason.text;
    placement::Claim claim;
    BindAssignment(guest, result.assignment, claim);
    placement::AddClaim(claim, usage);
  }
  return usage;
}

TEST(ClaimMemory, CellsThatFitOneByOneMustAlsoFitTogetherBesideWhatFloats) {
  placement::HostReport report = HostOf({{1024, 0}, {1024, 0}});
  FitHost host = FromHost(report, UsageOf(report, {FloatingGuest(1024)}));

  EXPECT_EQ(Fit(host, GuestOf({1000})).verdict, Verdict::kFits);
  EXPECT_EQ(Fit(host, GuestOf({512, 512})).verdict, Verdict::kFits);
  FitResult result = Fit(host, GuestOf({1000, 1000}));
  EXPECT_EQ(result.verdict, Verdict::kNo);
  EXPECT_EQ(result.reason.code, "host_memory");
  EXPECT_EQ(result.reason.text, "the host has 1024 MiB of base-page memory left in all, 2000 MiB are needed");
  EXPECT_EQ(Fit(host, GuestOf({1000, 1000}, Kind::kSmall)).reason.code, "host_memory");
}

TEST(ClaimMemory, FloatingGuestsAndBasePageCellsNeverReachIntoTheHugePages) {
  placement::HostReport report = HostOf({{1024, 2048}});
  FitHost host = FromHost(report, UsageOf(report, {GuestOf({1000})}));

  EXPECT_EQ(Fit(host, FloatingGuest(24)).verdict, Verdict::kFits);
  EXPECT_EQ(Fit(host, FloatingGuest(25)).reason.code, "host_memory");
  EXPECT_EQ(Fit(host, GuestOf({25})).verdict, Verdict::kNo);
  EXPECT_EQ(Fit(host, GuestOf({25}, Kind::kSmall)).verdict, Verdict::kNo);
  EXPECT_EQ(Fit(host, GuestOf({2048}, Kind::kLarge)).verdict, Verdict::kFits);
}

TEST(ClaimMemory, HugePagesInUseLeaveTheBasePagesAlone) {
  placement::HostReport report = HostOf({{1024, 2048}});
  FitHost host = FromHost(report, UsageOf(report, {GuestOf({2048}, Kind::kLarge)}));

  EXPECT_EQ(Fit(host, FloatingGuest(1024)).verdict, Verdict::kFits);
  EXPECT_EQ(Fit(host, GuestOf({1024})).verdict, Verdict::kFits);
  EXPECT_EQ(Fit(host, GuestOf({1024}, Kind::kAny)).assignment.cells.at(0).page_size_bytes, 4096u);
}

TEST(ClaimMemory, HostThatDoesNotTellItsPagesIsBoundedByItsMemory) {
  placement::HostReport report = HostOf({{1024, 0}});
  report.cells[0].pages.clear();
  FitHost host = FromHost(report, {});

  EXPECT_EQ(Fit(host, FloatingGuest(1024)).verdict, Verdict::kFits);
  EXPECT_EQ(Fit(host, GuestOf({1024})).verdict, Verdict::kFits);
  EXPECT_EQ(Fit(host, GuestOf({1025})).verdict, Verdict::kNo);
}

TEST(CellChoice, CpusAndMemoryThatAreLeftStayInProportion) {
  constexpr uint64_t kGib = 1024;
  placement::HostReport report = HostOf({{16 * kGib, 0}, {16 * kGib, 0}});  // a CPU for each GiB
  placement::HostUsage usage;
  const auto use = [&](uint32_t c, uint32_t vcpus, uint64_t gib) {
    usage.cells[c].shared_vcpus = vcpus;
    usage.cells[c].memory_bytes = gib * kGib * kMib;
    usage.cells[c].used_pages = {{4096, gib * kGib * 256}};
  };
  use(0, 6, 2);  // the fullest by its CPUs
  use(1, 5, 5);
  const FitHost host = FromHost(report, usage);
  EXPECT_EQ(Fit(host, GuestOf({1 * kGib})).assignment.cells.at(0).host, 1u);
  EXPECT_EQ(Fit(host, GuestOf({6 * kGib})).assignment.cells.at(0).host, 0u);
  use(0, 5, 5);
  use(1, 6, 6);
  EXPECT_EQ(Fit(FromHost(report, usage), GuestOf({1 * kGib})).assignment.cells.at(0).host, 1u);
}

class Random {
 public:
  explicit Random(uint32_t seed) : engine_(seed) {}
  uint32_t Below(uint32_t limit) { return static_cast<uint32_t>(engine_()) % limit; }

  placement::HostReport Host() {
    std::vector<std::pair<uint64_t, uint64_t>> cells;
    for (uint32_t n = 1 + Below(3); n > 0; --n) cells.emplace_back(4 + Below(8), 2 * Below(6));
    placement::HostReport host = HostOf(cells);
    constexpr double kRatios[] = {1.0, 1.0, 1.5, 0.75};
    host.ram_allocation_ratio = kRatios[Below(4)];
    for (placement::Cell& cell : host.cells) Vary(cell);
    return host;
  }

  RequestSpec Guest() {
    if (Below(4) == 0) return FloatingGuest(1 + Below(8));
    std::vector<uint64_t> cells;
    for (uint32_t n = 1 + Below(3); n > 0; --n) cells.push_back(1 + Below(6));
    RequestSpec spec = GuestOf(cells, static_cast<Kind>(Below(5)));
    if (spec.pages.kind == Kind::kExact) spec.pages.size_bytes = Below(2) == 0 ? 4096 : 2 * kMib;
    if (Below(8) == 0) spec.cells[0].memory_bytes += 2048;
    if (Below(3) != 0) return spec;
    spec.cpu_policy = CpuPolicy::kDedicated;
    for (GuestCell& cell : spec.cells) cell.pinned = cell.vcpus;
    return spec;
  }

 private:
  void Vary(placement::Cell& cell) {
    placement::PagePool& huge = cell.pages[1];
    huge.reserved = Below(static_cast<uint32_t>(huge.total) + 1);
    cell.memory_bytes -= huge.reserved * huge.size_bytes;
    uint64_t reserve = Below(3) * kMib;
    cell.pages[0].reserved = reserve / 4096;
    cell.memory_bytes -= reserve;
    uint32_t kind = Below(10);
    if (kind == 0) cell.pages.clear();
    if (kind == 1) cell.pages.erase(cell.pages.begin());  // then 2 MiB is the base size
    if (kind == 2) cell.pages.pop_back();
  }

  std::mt19937 engine_;
};

bool MayHave(const PageRequest& asked, const placement::Cell& cell, uint64_t size) {
  if (size == 0 || asked.kind == Kind::kNotAsked) return size == 0 && asked.kind == Kind::kNotAsked;
  uint64_t smallest = size;
  for (const placement::PagePool& pool : cell.pages) smallest = std::min(smallest, pool.size_bytes);
  if (asked.kind == Kind::kSmall) return size == smallest;
  if (asked.kind == Kind::kLarge) return size > smallest;
  return asked.kind == Kind::kAny || size == asked.size_bytes;
}

// Whether placement accepts any claim for the guest: every host cell and page size for every guest cell.
// Which of the free CPUs are pinned makes no difference on these hosts.
bool SomeClaimPasses(const placement::HostReport& report, const placement::HostUsage& usage,
                     const RequestSpec& spec, placement::Claim& claim) {
  size_t guest = claim.cells.size();
  if (guest == spec.cells.size()) return placement::CheckClaim(report, usage, claim).ok();
  for (const placement::Cell& cell : report.cells) {
    for (uint64_t size : {uint64_t{0}, uint64_t{4096}, 2 * kMib}) {
      if (!MayHave(spec.pages, cell, size)) continue;
      placement::CellBinding binding;
      binding.guest_cell = static_cast<uint32_t>(guest);
      binding.host_cell = cell.id;
      binding.vcpus = spec.cells[guest].vcpus;
      binding.memory_bytes = spec.cells[guest].memory_bytes;
      binding.page_size_bytes = size;
      auto used = usage.cells.find(cell.id);
      CpuSet free =
          used == usage.cells.end() ? cell.dedicated_cpus : cell.dedicated_cpus - used->second.pinned_cpus;
      if (!spec.cells[guest].pinned.empty()) {
        if (free.empty()) continue;
        binding.pinning = {{binding.vcpus.First(), free.First()}};
      }
      claim.cells.push_back(binding);
      bool passes = SomeClaimPasses(report, usage, spec, claim);
      claim.cells.pop_back();
      if (passes) return true;
    }
  }
  return false;
}

TEST(ClaimMemory, TheSolverSaysYesExactlyWhenPlacementAcceptsSomeClaim) {
  uint32_t yes = 0;
  uint32_t no = 0;
  uint32_t undecided = 0;
  for (uint32_t seed = 1; seed <= 3000; ++seed) {
    Random random(seed);
    placement::HostReport report = random.Host();
    placement::HostUsage usage;
    for (uint32_t step = 0; step < 6; ++step) {
      SCOPED_TRACE("seed " + std::to_string(seed) + " step " + std::to_string(step));
      RequestSpec spec = random.Guest();
      FitResult result = Fit(FromHost(report, usage), spec);
      if (result.verdict == Verdict::kUndecided) {
        ++undecided;
        continue;
      }
      placement::Claim claim;
      claim.spec.vcpus = spec.vcpus;
      claim.spec.memory_bytes = spec.memory_bytes;
      ASSERT_EQ(result.verdict == Verdict::kFits, SomeClaimPasses(report, usage, spec, claim))
          << result.reason.text;
      ++(result.verdict == Verdict::kFits ? yes : no);
      if (result.verdict != Verdict::kFits) {
        ASSERT_NE(result.reason.code, "pci_numa") << "no device was asked for";
        continue;
      }
      BindAssignment(spec, result.assignment, claim);
      Status status = placement::CheckClaim(report, usage, claim);
      ASSERT_TRUE(status.ok()) << status.ToString();
      placement::AddClaim(claim, usage);
    }
  }
  EXPECT_GT(yes, 4000u);
  EXPECT_GT(no, 4000u);
  EXPECT_LT(undecided, 100u);  // only where base pages are short and page sizes differ between cells
  RecordProperty("undecided", static_cast<int>(undecided));
}

}  // namespace
}  // namespace berth::scheduler
