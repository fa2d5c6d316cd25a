#include "scheduler/fit/cell_fit.h"

#include <algorithm>

#include "placement/model/capacity.h"

namespace berth::scheduler {
namespace {

constexpr uint64_t kSecureStep = uint64_t{2} << 20;

CellCheck Lack(CellLack lack, uint64_t have, uint64_t need) {
  return {lack, have, need, 0};
}

// R3.
CellCheck CheckPinned(const FitCell& cell, const RequestSpec& spec, const CellNeed& need) {
  const CpuCounts& counts = cell.counts;
  uint32_t pinned = need.pinned;
  uint32_t all = pinned + need.emulator;
  if (counts.free < all) return Lack(CellLack::kDedicatedCpus, counts.free, all);
  if (pinned == 0) return {};
  if (spec.thread_policy == ThreadPolicy::kRequire) {
    if (!counts.smt) return Lack(CellLack::kNoSmt, 1, 2);
    if (counts.on_paired_cores < pinned) return Lack(CellLack::kPairedCpus, counts.on_paired_cores, pinned);
  }
  if (spec.thread_policy == ThreadPolicy::kIsolate && counts.smt) {
    if (!cell.single_pool) return Lack(CellLack::kSmtPresent, 2, 1);
    if (counts.whole_cores < pinned) return Lack(CellLack::kWholeCores, counts.whole_cores, pinned);
    if (counts.touched_cores < all) return Lack(CellLack::kWholeCores, counts.touched_cores, all);
  }
  return {};
}

// Seed 000, "Overcommitment": encrypted guests get none.
double CpuRatio(const FitHost& host, const RequestSpec& spec) {
  return spec.encrypted() ? std::min(1.0, host.cpu_ratio) : host.cpu_ratio;
}

// R4: the CPUs of floating vCPUs. `left` are the shared CPUs that remain.
CellCheck CheckFloating(const FitCell& cell, uint32_t floating, uint64_t left, double ratio) {
  if (floating > left) return Lack(CellLack::kSharedCpus, left, floating);
  uint64_t limit = placement::WithRatio(left, ratio);
  uint64_t room = limit > cell.shared_vcpus ? limit - cell.shared_vcpus : 0;
  if (floating > room) return Lack(CellLack::kSharedRoom, room, floating);
  return {};
}

// Where pinning takes shared CPUs away, those already floating there must still be carried.
CellCheck CheckOverlap(const FitHost& host, const FitCell& cell, const RequestSpec& spec,
                       const CellNeed& need) {
  auto pins = ChoosePins(cell, spec, need.guest);
  if (!pins) return Lack(CellLack::kDedicatedCpus, cell.counts.free, cell.counts.free + 1);
  uint64_t left = (cell.shared_cpus - TakenCpus(*pins)).Count();
  if (placement::WithRatio(left, host.cpu_ratio) < cell.shared_vcpus) {
    return Lack(CellLack::kSharedRoom, placement::WithRatio(left, host.cpu_ratio), cell.shared_vcpus);
  }
  return need.floating > 0 ? CheckFloating(cell, need.floating, left, CpuRatio(host, spec)) : CellCheck{};
}

CellCheck CheckCpus(const FitHost& host, const FitCell& cell, const RequestSpec& spec, const CellNeed& need) {
  if (CellCheck check = CheckPinned(cell, spec, need); !check.fits()) return check;
  bool takes = need.pinned + need.emulator > 0;
  if (takes && cell.counts.overlap && host.rules == FitRules::kClaims) {
    return CheckOverlap(host, cell, spec, need);
  }
  if (need.floating == 0) return {};
  return CheckFloating(cell, need.floating, cell.counts.shared, CpuRatio(host, spec));
}

uint64_t MemoryRoom(const FitHost& host, const FitCell& cell) {
  uint64_t bytes = placement::WithRatio(cell.memory_bytes, host.ram_ratio);
  return bytes > cell.memory_used_bytes ? bytes - cell.memory_used_bytes : 0;
}

bool Allowed(const PageRequest& request, const FitCell& cell, const FitPages& pages) {
  switch (request.kind) {
    case PageRequest::Kind::kSmall:
      return &pages == &cell.pages.front();
    case PageRequest::Kind::kLarge:
      return &pages != &cell.pages.front();
    case PageRequest::Kind::kAny:
      return true;
    case PageRequest::Kind::kExact:
      return pages.size_bytes == request.size_bytes;
    case PageRequest::Kind::kNotAsked:
      return false;
  }
  return false;
}

// R5, a size asked for: the largest that serves, so that small ones stay for those that need them.
CellCheck CheckAskedPages(const FitHost& host, const FitCell& cell, const RequestSpec& spec,
                          uint64_t memory) {
  CellCheck nearest = Lack(CellLack::kPageMultiple, 0, memory);
  if (!cell.pages_known) return nearest;
  for (auto pages = cell.pages.rbegin(); pages != cell.pages.rend(); ++pages) {
    if (pages->size_bytes == 0 || !Allowed(spec.pages, cell, *pages)) continue;
    if (memory % pages->size_bytes != 0) continue;
    uint64_t have = pages->free * pages->size_bytes;
    if (host.rules == FitRules::kClaims && &*pages == &cell.pages.front()) {
      have = std::min(have, cell.base_room_bytes);
    }
    if (memory <= have) return {CellLack::kNothing, 0, 0, pages->size_bytes};
    if (nearest.lack != CellLack::kPages || have > nearest.have) {
      nearest = {CellLack::kPages, have, memory, pages->size_bytes};
    }
  }
  return nearest;
}

// R5 in a scenario, no size asked for: base pages.
CellCheck CheckBasePages(const FitCell& cell, const RequestSpec& spec, const CellNeed& asked) {
  if (cell.pages.empty()) return Lack(CellLack::kPages, 0, asked.memory_bytes);
  const FitPages& base = cell.pages.front();
  if (base.size_bytes == 0 || asked.memory_bytes % base.size_bytes != 0) {
    return {CellLack::kPageMultiple, 0, asked.memory_bytes, base.size_bytes};
  }
  uint64_t have = spec.cpu_policy == CpuPolicy::kDedicated ? base.free : base.total;
  if (asked.memory_bytes / base.size_bytes > have) {
    return {CellLack::kPages, have * base.size_bytes, asked.memory_bytes, base.size_bytes};
  }
  return {};
}

// R4 and R5 in a scenario.
CellCheck CheckScenarioMemory(const FitHost& host, const FitCell& cell, const RequestSpec& spec,
                              const CellNeed& asked) {
  if (spec.cpu_policy != CpuPolicy::kDedicated) {
    uint64_t room = MemoryRoom(host, cell);
    if (asked.memory_bytes > room) return Lack(CellLack::kMemory, room, asked.memory_bytes);
  }
  if (spec.pages.kind == PageRequest::Kind::kNotAsked) return CheckBasePages(cell, spec, asked);
  return CheckAskedPages(host, cell, spec, asked.memory_bytes);
}

// R4 and R5 of a claim: the ratio bounds base pages alone, whoever is pinned.
CellCheck CheckClaimMemory(const FitHost& host, const FitCell& cell, const RequestSpec& spec,
                           const CellNeed& asked) {
  uint64_t need = asked.memory_bytes;
  if (spec.pages.kind != PageRequest::Kind::kNotAsked) return CheckAskedPages(host, cell, spec, need);
  if (need > cell.base_room_bytes) return Lack(CellLack::kMemory, cell.base_room_bytes, need);
  uint64_t size = cell.pages.empty() ? 0 : cell.pages.front().size_bytes;
  if (size != 0 && need % size != 0) return {CellLack::kPageMultiple, 0, need, size};
  uint64_t have = asked.pinned == 0 ? cell.largest_base_bytes : cell.largest_pinned_base_bytes;
  return need <= have ? CellCheck{} : CellCheck{CellLack::kPages, have, need, size};
}

}  // namespace

namespace {

// R11: all memory of the guest cell is secure; pages and ratio are of ordinary memory and do not count.
CellCheck CheckSecureMemory(const FitCell& cell, const CellNeed& need) {
  uint64_t have = cell.secure_room_bytes / kSecureStep * kSecureStep;
  if (need.memory_bytes > have) return Lack(CellLack::kSecureMemory, have, need.memory_bytes);
  if (need.swiotlb_bytes > cell.nonsecure_room_bytes) {
    return Lack(CellLack::kBounceBuffer, cell.nonsecure_room_bytes, need.swiotlb_bytes);
  }
  return {};
}

}  // namespace

CellNeed NeedOf(const RequestSpec& spec, uint32_t guest) {
  const GuestCell& cell = spec.cells[guest];
  CellNeed need;
  need.guest = guest;
  need.pinned = spec.cpu_policy == CpuPolicy::kShared ? 0 : cell.pinned.Count();
  need.floating = cell.vcpus.Count() - need.pinned;
  need.emulator = guest == 0 && spec.emulator_policy == EmulatorPolicy::kIsolate ? 1 : 0;
  need.memory_bytes = cell.memory_bytes;
  need.swiotlb_bytes = guest == 0 ? spec.swiotlb_bytes : 0;
  return need;
}

CellCheck CheckCell(const FitHost& host, const RequestSpec& spec, const CellNeed& need, const FitCell& cell) {
  if (CellCheck check = CheckCpus(host, cell, spec, need); !check.fits()) return check;
  if (spec.encrypted()) return CheckSecureMemory(cell, need);
  return host.rules == FitRules::kClaims ? CheckClaimMemory(host, cell, spec, need)
                                         : CheckScenarioMemory(host, cell, spec, need);
}

CellCheck CheckCell(const FitHost& host, const RequestSpec& spec, uint32_t guest, size_t index) {
  return CheckCell(host, spec, NeedOf(spec, guest), host.cells[index]);
}

uint64_t BaseBytes(const FitHost& host, const RequestSpec& spec, uint32_t guest, size_t index) {
  if (spec.encrypted()) return guest == 0 ? spec.swiotlb_bytes : 0;
  const FitCell& cell = host.cells[index];
  uint64_t size = CheckCell(host, spec, guest, index).page_size_bytes;
  bool base = size == 0 || (!cell.pages.empty() && size == cell.pages.front().size_bytes);
  return base ? spec.cells[guest].memory_bytes : 0;
}

}  // namespace berth::scheduler
