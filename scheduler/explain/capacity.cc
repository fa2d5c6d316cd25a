#include "scheduler/explain/capacity.h"

#include <algorithm>
#include <cstring>
#include <type_traits>
#include <utility>
#include <vector>

#include "placement/model/claim.h"
#include "scheduler/fit/bind.h"
#include "scheduler/fit/fit.h"

namespace berth::scheduler {
namespace {

class Bytes {
 public:
  template <class T>
  void Add(T value) {
    static_assert(std::is_trivially_copyable_v<T>);
    char raw[sizeof value];
    std::memcpy(raw, &value, sizeof value);
    out_.append(raw, sizeof value);
  }
  void Add(const CpuSet& set) {
    for (uint32_t cpu = set.First(); cpu != CpuSet::kNone; cpu = set.NextAfter(cpu)) Add(cpu);
    Add(UINT32_MAX);
  }
  void Add(const std::string& text) {
    Add(text.size());
    out_ += text;
  }
  std::string Take() { return std::move(out_); }

 private:
  std::string out_;
};

void AddCell(const FitCell& cell, Bytes& out) {
  out.Add(cell.id);
  out.Add(cell.socket.value_or(UINT32_MAX));
  out.Add(cell.shared_cpus);
  out.Add(cell.free_dedicated);
  out.Add(cell.single_pool);
  out.Add(cell.siblings.size());
  for (const CpuSet& core : cell.siblings) out.Add(core);
  out.Add(cell.shared_vcpus);
  out.Add(cell.memory_bytes);
  out.Add(cell.memory_used_bytes);
  out.Add(cell.base_room_bytes);
  out.Add(cell.largest_base_bytes);
  out.Add(cell.largest_pinned_base_bytes);
  out.Add(cell.pages.size());
  for (const FitPages& pages : cell.pages) {
    out.Add(pages.size_bytes);
    out.Add(pages.total);
    out.Add(pages.free);
  }
  out.Add(cell.pages_known);
  out.Add(cell.secure_room_bytes);
  out.Add(cell.nonsecure_room_bytes);
  out.Add(cell.physical_networks.size());
  for (const std::string& name : cell.physical_networks) out.Add(name);
  out.Add(cell.tunneled);
}

}  // namespace

std::string StateOf(const FitHost& host) {
  Bytes out;
  out.Add(host.rules);
  out.Add(host.can_run_guests);
  out.Add(host.cpu_ratio);
  out.Add(host.ram_ratio);
  out.Add(host.floating_vcpus);
  out.Add(host.base_room_bytes);
  out.Add(host.disk_room_bytes);
  out.Add(host.cells.size());
  for (const FitCell& cell : host.cells) AddCell(cell, out);
  // Addresses do not matter to how many fit; types, nodes, families and domains do.
  for (const DeviceGroup& group : host.groups) {
    out.Add(group.type);
    out.Add(group.cell);
    out.Add(group.family);
    out.Add(group.count);
    out.Add(group.is_parent);
  }
  for (const FitDevice& device : host.devices) {
    for (const std::string& domain : device.domains) {
      out.Add(device.address.ToString());
      out.Add(domain);
    }
  }
  return out.Take();
}

// Instances without topology and devices are sums: n of them fit where one of n times the size does.
uint64_t RoomCounter::CountFloating(const FitHost& host) const {
  auto fits = [&](uint64_t n) {
    RequestSpec all = spec_;
    all.vcpus = static_cast<uint32_t>(n * spec_.vcpus);
    all.memory_bytes = n * spec_.memory_bytes;
    all.disk_bytes = n * spec_.disk_bytes;
    return FitByCounts(host, RequestPlan(all, *host.types)).verdict == Verdict::kFits;
  };
  uint64_t limit = std::min<uint64_t>(UINT32_MAX / std::max(1u, spec_.vcpus),
                                      UINT64_MAX / std::max<uint64_t>(1, spec_.memory_bytes));
  if (spec_.disk_bytes > 0) limit = std::min(limit, UINT64_MAX / spec_.disk_bytes - 1);
  uint64_t good = 0;
  uint64_t bad = 1;
  while (bad <= limit && fits(bad)) {
    good = bad;
    bad *= 2;
  }
  bad = std::min(bad, limit + 1);
  while (bad - good > 1) {
    uint64_t middle = good + (bad - good) / 2;
    (fits(middle) ? good : bad) = middle;
  }
  return good;
}

HostRoom RoomCounter::Count(const KnownHost& host) {
  if (spec_.cells.empty() && spec_.pci.empty()) return {CountFloating(*host.fit), false};
  FitOptions options;
  options.explain = false;
  std::vector<std::string> states;  // that lead to each other, one instance apart
  placement::HostUsage usage = *host.usage;
  FitHost now = *host.fit;
  HostRoom room;
  while (true) {
    states.push_back(StateOf(now));
    if (auto known = rooms_.find(states.back()); known != rooms_.end()) {
      room = known->second;
      states.pop_back();
      break;
    }
    FitResult fit = Fit(now, spec_, options);
    if (fit.verdict != Verdict::kFits) {
      room.undecided = fit.verdict == Verdict::kUndecided;
      rooms_.emplace(std::move(states.back()), room);
      states.pop_back();
      break;
    }
    placement::Claim claim;
    BindAssignment(spec_, fit.assignment, claim);
    placement::AddClaim(claim, usage);
    now = FromHost(*host.report, usage);
  }
  for (; !states.empty(); states.pop_back()) {
    ++room.instances;
    rooms_.emplace(std::move(states.back()), room);
  }
  return room;
}

}  // namespace berth::scheduler
