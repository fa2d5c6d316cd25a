#include <gtest/gtest.h>

#include "placement/model/capacity.h"
#include "placement/model/usage.h"
#include "tests/placement/model/model_builders.h"

namespace berth::placement {
namespace {

using namespace testing;  // NOLINT(google-build-using-namespace)

HostUsage UsageOf(const std::vector<Claim>& claims) {
  HostUsage usage;
  for (const Claim& claim : claims) AddClaim(claim, usage);
  return usage;
}

Status Check(const Claim& claim, const std::vector<Claim>& others = {}, const HostReport& host = MakeHost()) {
  return CheckClaim(host, UsageOf(others), claim);
}

TEST(CheckClaimCpus, AcceptsPinnedVcpusOnFreeDedicatedCpus) {
  EXPECT_EQ(Check(NumaClaim(1, {GuestCell(0, 0, 0, 1, 512, {4, 5}), GuestCell(1, 1, 2, 3, 512, {12, 13})})),
            OkStatus());
}

TEST(CheckClaimCpus, RefusesACpuThatAnotherClaimPins) {
  Claim first = NumaClaim(1, {GuestCell(0, 0, 0, 1, 64, {4, 5})});

  Status status = Check(NumaClaim(2, {GuestCell(0, 0, 0, 1, 64, {5, 6})}), {first});

  EXPECT_EQ(
      status.ToString(),
      "FAILED_PRECONDITION: cells[0].pinning: CPUs 5 of host cell 0 are held by other claims (free: 6-7)");
}

TEST(CheckClaimCpus, RefusesACpuThatAnotherClaimReserves) {
  Claim first = NumaClaim(1, {GuestCell(0, 0, 0, 0, 64, {4})});
  first.cells[0].reserved = {5};

  Status status = Check(NumaClaim(2, {GuestCell(0, 0, 0, 0, 64, {5})}), {first});

  EXPECT_EQ(status.code(), StatusCode::kFailedPrecondition);
  EXPECT_EQ(status.field(), "cells[0].pinning");
}

TEST(CheckClaimCpus, RefusesReservedCpusThatArePinnedInTheSameClaim) {
  Claim claim = NumaClaim(1, {GuestCell(0, 0, 0, 0, 64, {4})});
  claim.cells[0].reserved = {4};

  EXPECT_EQ(Check(claim).ToString(),
            "INVALID_ARGUMENT: cells[0].reserved: host CPU 4 is both pinned and reserved");
}

TEST(CheckClaimCpus, RefusesAPinToASharedCpuOrAnotherCellsCpu) {
  EXPECT_EQ(
      Check(NumaClaim(1, {GuestCell(0, 0, 0, 1, 64, {3, 12})})).ToString(),
      "INVALID_ARGUMENT: cells[0].pinning: CPUs 3,12 are not dedicated CPUs of host cell 0 (dedicated: 4-7)");
}

TEST(CheckClaimCpus, RefusesAHostCpuBeyondTheLargestNumber) {
  Status status = Check(NumaClaim(1, {GuestCell(0, 0, 0, 0, 64, {4000000000})}));

  EXPECT_EQ(status.ToString(),
            "INVALID_ARGUMENT: cells[0].pinning: host CPU 4000000000 is out of range (allowed: 0..65535)");
}

TEST(CheckClaimCpus, RefusesAHostCpuNamedTwice) {
  EXPECT_EQ(Check(NumaClaim(1, {GuestCell(0, 0, 0, 1, 64, {4, 4})})).message(), "host CPU 4 is named twice");
}

TEST(CheckClaimCpus, RefusesMoreFloatingVcpusInACellThanItsSharedCpus) {
  HostReport host = MakeHost();
  host.cpu_allocation_ratio = 16;

  Status status = Check(NumaClaim(1, {GuestCell(0, 0, 0, 4, 64)}), {}, host);

  EXPECT_EQ(status.code(), StatusCode::kResourceExhausted);
  EXPECT_EQ(status.message(), "shared CPUs of host cell 0 for one guest cell: have 4, need 5");
  EXPECT_EQ(status.field(), "cells[0].vcpus");
}

TEST(CheckClaimCpus, AppliesTheCpuRatioToTheFloatingVcpusOfACell) {
  HostReport host = MakeHost();
  host.cpu_allocation_ratio = 1.5;  // 4 shared CPUs carry 6
  Claim first = NumaClaim(1, {GuestCell(0, 0, 0, 3, 64)});

  EXPECT_EQ(Check(NumaClaim(2, {GuestCell(0, 0, 0, 1, 64)}), {first}, host), OkStatus());
  EXPECT_EQ(Check(NumaClaim(2, {GuestCell(0, 0, 0, 2, 64)}), {first}, host).message(),
            "vCPUs on shared CPUs of host cell 0: have 6, need 7");
}

TEST(CheckClaimCpus, SinglePoolKeepsCpusForWhatFloatsThere) {
  HostReport host = MakeHost();
  host.cells = {MakeCell(0, CpuSet::Range(0, 3), CpuSet::Range(0, 3), 1024)};
  host.devices.clear();
  Claim floating = NumaClaim(1, {GuestCell(0, 0, 0, 1, 64)});  // two of four CPUs must stay shared

  EXPECT_EQ(Check(NumaClaim(2, {GuestCell(0, 0, 0, 1, 64, {0, 1})}), {floating}, host), OkStatus());
  Status status = Check(NumaClaim(2, {GuestCell(0, 0, 0, 2, 64, {0, 1, 2})}), {floating}, host);
  EXPECT_EQ(status.message(), "vCPUs on shared CPUs of host cell 0: have 1, need 2");
  EXPECT_EQ(status.field(), "cells[0].pinning");
}

TEST(CheckClaimCpus, SinglePoolKeepsCpusForWhatFloatsOverTheWholeHost) {
  HostReport host = MakeHost();
  host.cells = {MakeCell(0, CpuSet::Range(0, 3), CpuSet::Range(0, 3), 1024)};
  host.devices.clear();

  Status status =
      Check(NumaClaim(2, {GuestCell(0, 0, 0, 2, 64, {0, 1, 2})}), {FloatingClaim(1, 2, 64)}, host);

  EXPECT_EQ(
      status.ToString(),
      "RESOURCE_EXHAUSTED: cells: vCPUs on the host's shared CPUs: have 1, need 2 (2 float there already)");
}

TEST(CheckClaimShape, RefusesAnUnknownHostCell) {
  EXPECT_EQ(Check(NumaClaim(1, {GuestCell(0, 7, 0, 0, 64)})).ToString(),
            "INVALID_ARGUMENT: cells[0].host_cell: host host1 has no cell 7 (cells there: 0, 1)");
}

TEST(CheckClaimShape, RefusesTwoGuestCellsOnOneHostCell) {
  Status status = Check(NumaClaim(1, {GuestCell(0, 0, 0, 0, 64), GuestCell(1, 0, 1, 1, 64)}));

  EXPECT_EQ(status.message(), "host cell 0 carries two guest cells");
  EXPECT_EQ(status.field(), "cells[1].host_cell");
}

TEST(CheckClaimShape, RefusesAGuestCellNamedTwice) {
  EXPECT_EQ(Check(NumaClaim(1, {GuestCell(0, 0, 0, 0, 64), GuestCell(0, 1, 1, 1, 64)})).field(),
            "cells[1].guest_cell");
}

TEST(CheckClaimShape, RefusesVcpusThatDoNotPartitionTheInstance) {
  Claim gap = NumaClaim(1, {GuestCell(0, 0, 0, 0, 64), GuestCell(1, 1, 2, 2, 64)});
  Claim overlap = NumaClaim(1, {GuestCell(0, 0, 0, 1, 64), GuestCell(1, 1, 1, 2, 64)});

  EXPECT_EQ(Check(gap).message(), "the guest cells hold vCPUs 0,2, the instance has 0-1");
  EXPECT_EQ(Check(overlap).message(), "vCPUs 1 are in another guest cell too");
}

TEST(CheckClaimShape, RefusesAnImpossibleNumberOfVcpus) {
  EXPECT_EQ(Check(FloatingClaim(1, 0, 64)).field(), "spec.vcpus");
  EXPECT_EQ(Check(FloatingClaim(1, 4000000000, 64)).message(), "the instance has 4000000000 vCPUs");
}

TEST(CheckClaimShape, RefusesAPinOfAVcpuOfAnotherCell) {
  Claim claim = NumaClaim(1, {GuestCell(0, 0, 0, 0, 64), GuestCell(1, 1, 1, 1, 64)});
  claim.cells[0].pinning = {{1, 4}};

  EXPECT_EQ(Check(claim).message(), "guest CPU 1 is not one of the cell's vCPUs 0");
}

TEST(CheckClaimMemory, NamedPagesMustBeFree) {
  HostReport host = MakeHost();
  host.cells[0].pages[1].reserved = 12;
  Claim first = NumaClaim(1, {GuestCell(0, 0, 0, 0, 800, {}, 2 * kMib)});  // 400 of 500

  EXPECT_EQ(Check(NumaClaim(2, {GuestCell(0, 0, 0, 0, 200, {}, 2 * kMib)}), {first}, host), OkStatus());
  EXPECT_EQ(Check(NumaClaim(2, {GuestCell(0, 0, 0, 0, 202, {}, 2 * kMib)}), {first}, host).ToString(),
            "RESOURCE_EXHAUSTED: cells[0].memory_bytes: pages of 2097152 bytes in host cell 0: have 100, "
            "need 101 (512 in "
            "all, 12 reserved)");
}

TEST(CheckClaimMemory, NamedPagesMustExistAndDivideTheMemory) {
  EXPECT_EQ(Check(NumaClaim(1, {GuestCell(0, 0, 0, 0, 64, {}, 1024 * kMib)})).ToString(),
            "INVALID_ARGUMENT: cells[0].page_size_bytes: host cell 0 has no pages of 1073741824 bytes (sizes "
            "there: 4096, "
            "2097152)");
  EXPECT_EQ(Check(NumaClaim(1, {GuestCell(0, 0, 0, 0, 63, {}, 2 * kMib)})).message(),
            "66060288 bytes are not a multiple of the page size 2097152");
}

TEST(CheckClaimMemory, UnnamedPagesFollowTheMemoryRatio) {
  HostReport host = MakeHost();
  host.ram_allocation_ratio = 1.5;  // 1024 MiB of base pages carry 1536
  Claim one = NumaClaim(1, {GuestCell(0, 0, 0, 0, 512)});
  Claim two = NumaClaim(2, {GuestCell(0, 0, 0, 0, 512)});

  EXPECT_EQ(Check(NumaClaim(3, {GuestCell(0, 0, 0, 0, 512)}), {one, two}, host), OkStatus());
  one.cells[0].memory_bytes += 4096;
  EXPECT_EQ(Check(NumaClaim(3, {GuestCell(0, 0, 0, 0, 512)}), {one, two}, host).ToString(),
            "RESOURCE_EXHAUSTED: cells[0].memory_bytes: base-page memory of host cell 0 in bytes: have "
            "536866816, need 536870912 (1073745920 of 1610612736 are held)");
}

TEST(CheckClaimMemory, NamedBasePagesShareTheBasePagesWithUnnamedOnes) {
  Claim unnamed = NumaClaim(1, {GuestCell(0, 0, 0, 0, 1000)});

  EXPECT_EQ(Check(NumaClaim(2, {GuestCell(0, 0, 0, 0, 24, {}, 4096)}), {unnamed}), OkStatus());
  EXPECT_EQ(Check(NumaClaim(2, {GuestCell(0, 0, 0, 0, 25, {}, 4096)}), {unnamed}).message(),
            "base-page memory of host cell 0 in bytes: have 25165824, need 26214400");
}

TEST(CheckClaimMemory, HugePagesAndBasePagesDoNotTakeFromEachOther) {
  Claim huge = NumaClaim(1, {GuestCell(0, 0, 0, 0, 1024, {}, 2 * kMib)});
  Claim base = NumaClaim(2, {GuestCell(0, 0, 0, 0, 1024)});

  EXPECT_EQ(Check(base, {huge}), OkStatus());
  EXPECT_EQ(Check(huge, {base}), OkStatus());
  EXPECT_EQ(Check(huge, {FloatingClaim(3, 1, 2048)}), OkStatus());
  EXPECT_EQ(Check(FloatingClaim(3, 1, 2048), {huge}), OkStatus());
}

TEST(CheckClaimMemory, ReservedHugePagesAreTakenOffOnlyOnce) {
  HostReport host = MakeHost();
  host.cells[0].pages[1].reserved = 100;
  host.cells[0].memory_bytes -= 200 * kMib;  // as the agent reports it

  EXPECT_EQ(Check(NumaClaim(1, {GuestCell(0, 0, 0, 0, 1024)}), {}, host), OkStatus());
  EXPECT_EQ(Check(FloatingClaim(1, 1, 2048), {}, host), OkStatus());
  EXPECT_EQ(Check(FloatingClaim(1, 1, 2049), {}, host).code(), StatusCode::kResourceExhausted);
}

TEST(CheckClaimMemory, HostThatDoesNotTellItsPagesIsBoundedByItsMemory) {
  HostReport host = MakeHost();
  host.ram_allocation_ratio = 2;
  for (Cell& cell : host.cells) cell.pages.clear();  // 2048 MiB each
  Claim full = NumaClaim(1, {GuestCell(0, 0, 0, 0, 2048, {4})});

  EXPECT_EQ(Check(full, {}, host), OkStatus());
  EXPECT_EQ(Check(NumaClaim(2, {GuestCell(0, 0, 0, 0, 2048)}), {full}, host), OkStatus());
  EXPECT_EQ(Check(NumaClaim(2, {GuestCell(0, 0, 0, 0, 2049)}), {}, host).message(),
            "base pages of host cell 0 in bytes: have 2147483648, need 2148532224");
  EXPECT_EQ(Check(FloatingClaim(2, 1, 6144), {full}, host), OkStatus());
  EXPECT_EQ(Check(FloatingClaim(2, 1, 6145), {full}, host).message(),
            "base-page memory of the host in bytes: have 6442450944, need 6443499520");
}

TEST(CheckClaimMemory, UnnamedPagesNeverExceedTheBasePagesOfTheCell) {
  HostReport host = MakeHost();
  host.ram_allocation_ratio = 8;

  EXPECT_EQ(Check(NumaClaim(1, {GuestCell(0, 0, 0, 0, 1026)}), {}, host).message(),
            "base pages of host cell 0 in bytes: have 1073741824, need 1075838976");
}

TEST(CheckClaimMemory, PinnedCellNeedsFreeBasePages) {
  HostReport host = MakeHost();
  host.ram_allocation_ratio = 8;
  Claim holder = NumaClaim(1, {GuestCell(0, 0, 0, 0, 1000, {}, 4096)});  // names base pages

  EXPECT_EQ(Check(NumaClaim(2, {GuestCell(0, 0, 0, 0, 24, {4})}), {holder}, host), OkStatus());
  EXPECT_EQ(Check(NumaClaim(2, {GuestCell(0, 0, 0, 0, 25, {4})}), {holder}, host).message(),
            "free base pages of host cell 0 for a pinned guest cell, in bytes: have 25165824, need 26214400");
}

TEST(CheckClaimMemory, SecureMemoryIsNeverOvercommitted) {
  HostReport host = MakeHost();
  host.ram_allocation_ratio = 8;
  host.cells[0].secure_memory_bytes = 1024 * kMib;
  Claim first = NumaClaim(1, {GuestCell(0, 0, 0, 0, 600)});
  first.cells[0].secure = true;
  Claim second = NumaClaim(2, {GuestCell(0, 0, 0, 0, 424)});
  second.cells[0].secure = true;

  EXPECT_EQ(Check(second, {first}, host), OkStatus());
  second.cells[0].memory_bytes += 2 * kMib;
  EXPECT_EQ(Check(second, {first}, host).message(),
            "secure memory of host cell 0 in bytes: have 444596224, need 446693376");
  second.cells[0].memory_bytes = kMib;
  EXPECT_EQ(Check(second, {first}, host).message(),
            "secure memory of 1048576 bytes is not a multiple of 2097152");
}

TEST(CheckClaimMemory, TheBounceBufferOfASecureGuestTakesOrdinaryMemoryOfItsCell) {
  HostReport host = MakeHost();
  host.cells[0].secure_memory_bytes = 4096 * kMib;
  Claim ordinary = NumaClaim(1, {GuestCell(0, 0, 0, 0, 896)});
  Claim secure = NumaClaim(2, {GuestCell(0, 0, 0, 0, 1024)});
  secure.cells[0].secure = true;
  secure.cells[0].swiotlb_bytes = 128 * kMib;

  EXPECT_EQ(Check(secure, {ordinary}, host), OkStatus());
  secure.cells[0].swiotlb_bytes = 192 * kMib;
  EXPECT_EQ(
      Check(secure, {ordinary}, host).ToString(),
      "RESOURCE_EXHAUSTED: cells[0].swiotlb_bytes: ordinary memory of host cell 0 for the bounce buffer, in "
      "bytes: have 134217728, need 201326592");
  EXPECT_EQ(Check(ordinary, {secure}, host).code(), StatusCode::kResourceExhausted);
  secure.cells[0].secure = false;
  EXPECT_EQ(Check(secure, {}, host).code(), StatusCode::kInvalidArgument);
}

TEST(CheckClaimMemory, HugeAmountsDoNotWrap) {
  Claim claim = NumaClaim(1, {GuestCell(0, 0, 0, 0, 64)});
  claim.cells[0].memory_bytes = UINT64_MAX - 4095;
  EXPECT_EQ(Check(claim).code(), StatusCode::kResourceExhausted);
  Claim floating = FloatingClaim(2, 1, 0);
  floating.spec.memory_bytes = UINT64_MAX;
  EXPECT_EQ(Check(floating, {FloatingClaim(1, 1, 64)}).code(), StatusCode::kResourceExhausted);
}

TEST(CheckClaimFloating, TotalsMustFitInWhatTheCellsLeave) {
  Claim cells = NumaClaim(1, {GuestCell(0, 0, 0, 3, 1024)});  // leaves 4 shared CPUs, 1024 MiB of base pages

  EXPECT_EQ(Check(FloatingClaim(2, 4, 1024), {cells}), OkStatus());
  EXPECT_EQ(Check(FloatingClaim(2, 5, 64), {cells}).ToString(),
            "RESOURCE_EXHAUSTED: spec.vcpus: vCPUs on the host's shared CPUs: have 8, need 9 (4 float there "
            "already)");
  EXPECT_EQ(
      Check(FloatingClaim(2, 4, 1025), {cells}).ToString(),
      "RESOURCE_EXHAUSTED: spec.memory_bytes: base-page memory of the host in bytes: have 1073741824, need "
      "1074790400 (1073741824 of 2147483648 are held)");
}

TEST(CheckClaimFloating, CellsMustFitBesideWhatFloats) {
  Status status = Check(NumaClaim(2, {GuestCell(0, 0, 0, 0, 1024)}), {FloatingClaim(1, 1, 1500)});

  EXPECT_EQ(status.message(), "base-page memory of the host in bytes: have 574619648, need 1073741824");
}

TEST(CheckClaimFloating, TheCellsOfOneClaimMustFitTogetherBesideWhatFloats) {
  Claim floating = FloatingClaim(1, 1, 1024);  // leaves 1024 MiB of the host's 2048

  EXPECT_EQ(Check(NumaClaim(2, {GuestCell(0, 0, 0, 0, 1000)}), {floating}), OkStatus());
  EXPECT_EQ(Check(NumaClaim(2, {GuestCell(0, 1, 0, 0, 1000)}), {floating}), OkStatus());
  EXPECT_EQ(Check(NumaClaim(2, {GuestCell(0, 0, 0, 0, 512), GuestCell(1, 1, 1, 1, 512)}), {floating}),
            OkStatus());
  EXPECT_EQ(
      Check(NumaClaim(2, {GuestCell(0, 0, 0, 0, 1000), GuestCell(1, 1, 1, 1, 1000)}), {floating}).ToString(),
      "RESOURCE_EXHAUSTED: cells: base-page memory of the host in bytes: have 1073741824, need "
      "2097152000 (1073741824 of 2147483648 are held)");
}

TEST(CheckClaimFloating, FloatingGuestsAndBasePageCellsNeverReachIntoTheHugePages) {
  // 4096 MiB in all, half of it in huge pages: 2048 MiB of base pages for both kinds of guests.
  Claim cells = NumaClaim(1, {GuestCell(0, 0, 0, 0, 1024), GuestCell(1, 1, 1, 1, 1000)});

  EXPECT_EQ(Check(FloatingClaim(2, 1, 24), {cells}), OkStatus());
  EXPECT_EQ(Check(FloatingClaim(2, 1, 25), {cells}).message(),
            "base-page memory of the host in bytes: have 25165824, need 26214400");
  EXPECT_EQ(Check(FloatingClaim(2, 1, 2049)).message(),
            "base-page memory of the host in bytes: have 2147483648, need 2148532224");
}

TEST(CheckClaimDevices, RefusesWhatIsHeldUnknownOrNotAssignable) {
  HostReport host = MakeHost();
  host.devices[4].assignable = false;
  Claim holder = FloatingClaim(1, 1, 64);
  holder.devices = {Bind(Pci(1))};
  Claim claim = FloatingClaim(2, 1, 64);

  claim.devices = {Bind(Pci(1))};
  EXPECT_EQ(Check(claim, {holder}, host).ToString(),
            "FAILED_PRECONDITION: devices[0].address: device 0000:01:00.0 is held by instance "
            "be000000-0000-0000-0000-000000000065");
  claim.devices = {Bind(Pci(9))};
  EXPECT_EQ(Check(claim, {holder}, host).ToString(),
            "INVALID_ARGUMENT: devices[0].address: host host1 has no device 0000:09:00.0");
  claim.devices = {Bind(Pci(3))};
  EXPECT_EQ(Check(claim, {holder}, host).message(), "device 0000:03:00.0 is not assignable");
  claim.devices = {Bind(Pci(2, 1)), Bind(Pci(2, 1), 1)};
  EXPECT_EQ(Check(claim, {holder}, host).field(), "devices[1].address");
}

TEST(CheckClaimDevices, PfAndItsVfsExcludeEachOther) {
  Claim vf = FloatingClaim(1, 1, 64);
  vf.devices = {Bind(Pci(2, 1))};
  Claim pf = FloatingClaim(2, 1, 64);
  pf.devices = {Bind(Pci(2))};
  Claim sibling = FloatingClaim(3, 1, 64);
  sibling.devices = {Bind(Pci(2, 2))};
  Claim both = FloatingClaim(4, 1, 64);
  both.devices = {Bind(Pci(3, 1)), Bind(Pci(3), 1)};

  EXPECT_EQ(Check(pf, {vf}).message(), "device 0000:02:00.0 is blocked: 0000:02:00.1 of the same PF is held");
  EXPECT_EQ(Check(vf, {pf}).message(), "device 0000:02:00.1 is blocked: 0000:02:00.0 of the same PF is held");
  EXPECT_EQ(Check(sibling, {vf}), OkStatus());
  EXPECT_EQ(Check(both).message(), "device 0000:03:00.0 and 0000:03:00.1 exclude each other");
}

TEST(BlockedDevices, AreTheClaimedOnesAndTheirRelatives) {
  Claim vf = FloatingClaim(1, 1, 64);
  vf.devices = {Bind(Pci(2, 1))};
  Claim pf = FloatingClaim(2, 1, 64);
  pf.devices = {Bind(Pci(3))};

  EXPECT_EQ(BlockedDevices(MakeHost(), UsageOf({vf, pf})),
            (std::set<PciAddress>{Pci(2), Pci(2, 1), Pci(3), Pci(3, 1)}));
}

TEST(Usage, IsEmptyAgainWhenAllClaimsAreGone) {
  Claim cells = NumaClaim(1, {GuestCell(0, 0, 0, 1, 64, {4, 5}, 2 * kMib), GuestCell(1, 1, 2, 3, 128)});
  cells.cells[0].reserved = {6};
  cells.devices = {Bind(Pci(1))};
  HostUsage usage = UsageOf({cells, FloatingClaim(2, 2, 512)});
  EXPECT_EQ(usage.cells[0].pinned_cpus.ToString(), "4-6");
  EXPECT_EQ(usage.cells[0].used_pages, (std::map<uint64_t, uint64_t>{{2 * kMib, 32}}));
  EXPECT_EQ(usage.cells[1].shared_vcpus, 2U);
  EXPECT_EQ(usage.floating_memory_bytes, 512 * kMib);

  RemoveClaim(cells, usage);
  RemoveClaim(FloatingClaim(2, 2, 512), usage);

  EXPECT_EQ(usage, HostUsage{});
}

TEST(Capacity, RoundsRatiosDownAndSaturates) {
  EXPECT_EQ(WithRatio(10, 0.7), 7U);
  EXPECT_EQ(WithRatio(3, 1.5), 4U);
  EXPECT_EQ(WithRatio(UINT64_MAX, 2), UINT64_MAX);
  EXPECT_EQ(WithRatio(UINT64_MAX, 1), UINT64_MAX);
  EXPECT_EQ(WithRatio(10, -1), 0U);
}

}  // namespace
}  // namespace berth::placement
