#include "scheduler/fit/fragmentation.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <utility>

#include "placement/model/capacity.h"
#include "scheduler/fit/device_match.h"

namespace berth::scheduler {
namespace {

// Measured (docs/replay.md): how much it counts that CPUs or memory run out before the devices do; the step
// below which differences of fragmentation are none; and the weights of what is left.
constexpr double kByCount = 0.1;
constexpr double kStep = 10;
constexpr double kDevicesLeft = 4;
constexpr double kCpusLeft = 0.5;
constexpr double kMemoryLeft = 0.3;
constexpr double kUneven = 2;

constexpr double kSteps = 1 << 20;  // of fragmentation that Weigh tells apart

bool Holds(const DeviceRoom& room, const Demand& demand) {
  return demand.pinned_cpus <= room.pinned_cpus && demand.floating_vcpus <= room.floating_vcpus &&
         demand.memory_bytes <= room.memory_bytes;
}

uint64_t Times(uint64_t have, uint64_t need) {
  return need == 0 ? UINT64_MAX : have / need;
}

double Part(uint64_t value, uint64_t of) {
  return static_cast<double>(value) / static_cast<double>(of);
}

uint64_t FloatingRoom(const FitHost& host) {
  uint64_t shared = 0;
  uint64_t used = host.floating_vcpus;
  for (const FitCell& cell : host.cells) {
    shared += cell.counts.shared;
    used += cell.shared_vcpus;
  }
  uint64_t limit = placement::WithRatio(shared, host.cpu_ratio);
  return limit - std::min(limit, used);
}

}  // namespace

FragmentationObjective::FragmentationObjective(std::vector<ScarceDevices> kinds, HostScale scale,
                                               const DeviceTypes& types)
    : kinds_(std::move(kinds)), scale_(scale), types_(types) {
  kinds_.resize(std::min<size_t>(kinds_.size(), 64));
  auto enter = [this](uint32_t type, size_t kind) {
    if (type == ScarceDevices::kNoType) return;
    if (type >= kind_of_.size()) kind_of_.resize(type + 1, -1);
    kind_of_[type] = static_cast<int8_t>(kind);
  };
  for (size_t kind = 0; kind < kinds_.size(); ++kind) {
    enter(kinds_[kind].whole_type, kind);
    enter(kinds_[kind].slice_type, kind);
  }
}

void FragmentationObjective::SetUsual(std::vector<WeightedDemand> usual) {
  // Those without devices can use none of them wherever they are: they tell hosts apart by nothing.
  std::erase_if(usual, [](const WeightedDemand& one) { return one.demand.devices == 0; });
  usual_ = std::move(usual);
}

Demand FragmentationObjective::DemandOf(const RequestSpec& spec) const {
  Demand demand;
  demand.memory_bytes = spec.memory_bytes;
  for (const GuestCell& cell : spec.cells) demand.pinned_cpus += cell.pinned.Count();
  demand.floating_vcpus = spec.vcpus - std::min<uint64_t>(spec.vcpus, demand.pinned_cpus);
  for (size_t kind = 0; kind < kinds_.size(); ++kind) {
    auto ask = [&](uint32_t type, bool whole) {
      if (type == ScarceDevices::kNoType) return;
      uint64_t serves = ServableRequests(types_.Example(type), spec);
      if (serves == 0) return;
      uint32_t count = 0;
      for (; serves != 0; serves &= serves - 1)
        count += spec.pci[static_cast<size_t>(std::countr_zero(serves))].count;
      demand.kinds |= uint64_t{1} << kind;
      demand.devices = whole ? count : 1;
      demand.share = whole ? DeviceRoom::kWhole
                           : std::min(count * DeviceRoom::kWhole / kinds_[kind].slices, DeviceRoom::kWhole);
    };
    ask(kinds_[kind].whole_type, true);
    ask(kinds_[kind].slice_type, false);
  }
  return demand;
}

DeviceRoom FragmentationObjective::RoomOf(const FitHost& host) const {
  DeviceRoom room;
  room.floating_vcpus = FloatingRoom(host);
  room.memory_bytes = host.base_room_bytes;
  for (const FitCell& cell : host.cells) {
    room.pinned_cpus += cell.counts.free;
    room.memory_bytes += MemoryRoom(cell) - cell.base_room_bytes;
  }
  for (const DeviceGroup& group : host.groups) {
    int kind = KindOf(group.type);
    if (kind < 0) continue;
    const ScarceDevices& scarce = kinds_[static_cast<size_t>(kind)];
    bool slices = group.type == scarce.slice_type && group.family != DeviceGroup::kNoFamily;
    uint32_t devices = slices ? 1 : group.count;
    uint32_t share = slices ? std::min(group.count * DeviceRoom::kWhole / scarce.slices, DeviceRoom::kWhole)
                            : DeviceRoom::kWhole;
    // A PF that is free is listed beside its VFs, and is the same device.
    bool known = group.family != DeviceGroup::kNoFamily && room.devices > 0 &&
                 room.family[room.devices - 1] == group.family;
    if (known) {
      room.share[room.devices - 1] = std::max(room.share[room.devices - 1], share);
      continue;
    }
    for (; devices > 0 && room.devices < DeviceRoom::kMaxDevices; --devices, ++room.devices) {
      room.share[room.devices] = share;
      room.kind[room.devices] = static_cast<uint8_t>(kind);
      room.family[room.devices] = group.family;
    }
  }
  return room;
}

double FragmentationObjective::Fragmentation(const DeviceRoom& room) const {
  uint64_t left = 0;
  for (size_t i = 0; i < room.devices; ++i) left += room.share[i];
  if (left == 0) return 0;
  double sum = 0;
  for (const WeightedDemand& usual : usual_) {
    const Demand& demand = usual.demand;
    if (!Holds(room, demand)) {
      sum += usual.weight * static_cast<double>(left);
      continue;
    }
    uint64_t useless = 0;
    uint64_t serving = 0;
    uint64_t pieces = 0;
    for (size_t i = 0; i < room.devices; ++i) {
      if ((demand.kinds >> room.kind[i] & 1) == 0 || room.share[i] < demand.share) {
        useless += room.share[i];
      } else {
        ++serving;
        pieces += room.share[i] / demand.share;
      }
    }
    if (serving < demand.devices) {
      sum += usual.weight * static_cast<double>(left);
      continue;
    }
    uint64_t times = std::min({pieces / demand.devices, Times(room.pinned_cpus, demand.pinned_cpus),
                               Times(room.floating_vcpus, demand.floating_vcpus),
                               Times(room.memory_bytes, demand.memory_bytes)});
    uint64_t used = times * demand.devices * demand.share;
    sum += usual.weight * ((1 - kByCount) * static_cast<double>(useless) +
                           kByCount * static_cast<double>(left - std::min(left, used)));
  }
  return sum;
}

FragmentationObjective::Placement FragmentationObjective::Place(const DeviceRoom& room,
                                                                const Demand& demand) const {
  DeviceRoom after = room;
  after.pinned_cpus -= std::min(room.pinned_cpus, demand.pinned_cpus);
  after.floating_vcpus -= std::min(room.floating_vcpus, demand.floating_vcpus);
  after.memory_bytes -= std::min(room.memory_bytes, demand.memory_bytes);
  Placement best;
  double before = Fragmentation(room);
  auto serves = [&](size_t i) {
    return (demand.kinds >> room.kind[i] & 1) != 0 && room.share[i] >= demand.share;
  };
  if (demand.devices != 1 || demand.share == DeviceRoom::kWhole) {
    // Whole devices are as good as each other.
    for (size_t i = 0; i < room.devices && best.devices.size() < demand.devices; ++i) {
      if (!serves(i)) continue;
      after.share[i] -= demand.share;
      best.devices.push_back(i);
    }
    best.fragmentation = Fragmentation(after) - before;
    return best;
  }
  for (size_t i = 0; i < room.devices; ++i) {
    if (!serves(i)) continue;
    bool seen = false;
    for (size_t j = 0; j < i && !seen; ++j)
      seen = room.share[j] == room.share[i] && room.kind[j] == room.kind[i];
    if (seen) continue;
    after.share[i] -= demand.share;
    double now = Fragmentation(after) - before;
    after.share[i] += demand.share;
    bool fuller = !best.devices.empty() && now == best.fragmentation &&
                  room.share[i] < room.share[best.devices.front()];
    if (best.devices.empty() || now < best.fragmentation || fuller) best = {now, {i}};
  }
  return best;
}

// What would be left, as a weighted sum of parts of the largest host; 0 to 1.
double FragmentationObjective::LeftOver(const FitHost& host, const RequestSpec& spec, const QuickFit& fit,
                                        const DeviceRoom& room, const Demand& demand) const {
  uint64_t vcpus = room.floating_vcpus + room.pinned_cpus;
  uint64_t memory = room.memory_bytes;
  double scale = 1;
  if (fit.cells != 0) {
    vcpus = memory = 0;
    scale = std::popcount(fit.cells);
    for (uint64_t cells = fit.cells; cells != 0; cells &= cells - 1) {
      const FitCell& cell = host.cells[static_cast<size_t>(std::countr_zero(cells))];
      uint64_t limit = placement::WithRatio(cell.counts.shared, host.cpu_ratio);
      vcpus += spec.cpu_policy == CpuPolicy::kShared ? limit - std::min<uint64_t>(limit, cell.shared_vcpus)
                                                     : cell.counts.free;
      memory += MemoryRoom(cell);
    }
  }
  vcpus -= std::min(vcpus, demand.pinned_cpus + demand.floating_vcpus);
  memory -= std::min(memory, demand.memory_bytes);
  uint64_t share = 0;
  for (size_t i = 0; i < room.devices; ++i) share += room.share[i];
  share -= std::min(share, uint64_t{demand.devices} * demand.share);
  double cpu_part = Part(vcpus, scale_.vcpus) / scale;
  double memory_part = Part(memory, scale_.memory_bytes) / scale;
  double device_part = Part(share, uint64_t{DeviceRoom::kWhole} * scale_.devices);
  double sum = kDevicesLeft * device_part + kCpusLeft * cpu_part + kMemoryLeft * memory_part +
               kUneven * std::abs(cpu_part - memory_part);
  return std::clamp(sum / (kDevicesLeft + kCpusLeft + kMemoryLeft + kUneven), 0.0, 1.0);
}

double FragmentationObjective::Weigh(const FitHost& host, const RequestSpec& spec, const Demand& demand,
                                     const QuickFit& fit) const {
  DeviceRoom room = RoomOf(host);
  double more = usual_.empty() || room.devices == 0 ? 0 : Place(room, demand).fragmentation;
  double step = std::clamp(std::floor(more / kStep) + kSteps / 2, 0.0, kSteps - 1);
  // A step outweighs all that is left.
  return 1 - (step + std::min(LeftOver(host, spec, fit, room, demand), 0.999999)) / kSteps;
}

}  // namespace berth::scheduler
