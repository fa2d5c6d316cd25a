#include "scheduler/fit/fit_digest.h"

#include <algorithm>
#include <limits>

#include "placement/model/capacity.h"
#include "scheduler/fit/cell_fit.h"

namespace berth::scheduler {
namespace {

template <class T>
constexpr T kMost = std::numeric_limits<T>::max();

uint32_t Narrow(uint64_t value) {
  return static_cast<uint32_t>(std::min<uint64_t>(value, kMost<uint32_t>));
}

uint64_t LargeOf(const FitCell& cell) {
  uint64_t most = 0;
  for (size_t i = 1; i < cell.pages.size(); ++i)
    most = std::max(most, cell.pages[i].free * cell.pages[i].size_bytes);
  return most;
}

}  // namespace

FitDigest DigestOf(const FitHost& host) {
  FitDigest out;
  out.present = 1;
  if (host.rules != FitRules::kClaims) {
    out.cells = out.free_cpus = out.most_free_cpus = out.floating_room = out.devices = kMost<uint32_t>;
    out.base_room = out.most_base = out.most_large = out.most_secure = out.disk_room = kMost<uint64_t>;
    return out;
  }
  uint64_t shared = 0;
  uint64_t floating = host.floating_vcpus;
  for (const FitCell& cell : host.cells) {
    shared += cell.counts.shared;
    floating += cell.shared_vcpus;
    out.free_cpus += cell.counts.free;
    out.most_free_cpus = std::max(out.most_free_cpus, cell.counts.free);
    out.most_base = std::max(out.most_base, cell.base_room_bytes);
    out.most_large = std::max(out.most_large, LargeOf(cell));
    out.most_secure = std::max(out.most_secure, cell.secure_room_bytes);
  }
  out.cells = static_cast<uint32_t>(host.cells.size());
  uint64_t capacity = placement::WithRatio(shared, host.cpu_ratio);
  out.floating_room = Narrow(capacity - std::min(capacity, floating));
  uint64_t devices = 0;
  for (const DeviceGroup& group : host.groups) devices += group.count;
  out.devices = Narrow(devices);
  out.base_room = host.base_room_bytes;
  out.disk_room = host.disk_room_bytes;
  return out;
}

LeastNeeds::LeastNeeds(const RequestSpec& spec) : cells_(Narrow(spec.cells.size())), disk_(spec.disk_bytes) {
  using Kind = PageRequest::Kind;
  uint64_t devices = 0;
  for (const PciRequest& request : spec.pci) devices += request.count;
  devices_ = Narrow(devices);
  const bool base = spec.pages.kind == Kind::kNotAsked || spec.pages.kind == Kind::kSmall;
  if (spec.cells.empty()) {
    floating_ = spec.vcpus;
    if (!spec.encrypted()) base_ = spec.memory_bytes;
    return;
  }
  uint64_t free = 0;
  uint64_t floating = 0;
  uint64_t largest = 0;
  uint64_t sum = 0;
  for (uint32_t guest = 0; guest < spec.cells.size(); ++guest) {
    const CellNeed need = NeedOf(spec, guest);
    free += need.pinned + need.emulator;
    cell_cpus_ = std::max(cell_cpus_, need.pinned + need.emulator);
    floating += need.floating;
    largest = std::max(largest, need.memory_bytes);
    sum += need.memory_bytes;
  }
  free_cpus_ = Narrow(free);
  floating_ = Narrow(floating);
  if (spec.encrypted()) {
    cell_secure_ = largest;
  } else if (base) {
    cell_base_ = largest;
    base_ = sum;
  } else if (spec.pages.kind == Kind::kLarge) {
    cell_large_ = largest;
  } else {
    cell_any_ = largest;
  }
}

}  // namespace berth::scheduler
