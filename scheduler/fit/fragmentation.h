#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "scheduler/fit/device_types.h"
#include "scheduler/fit/fit_host.h"
#include "scheduler/fit/quick_fit.h"
#include "scheduler/request/request_spec.h"

// How much of a host's scarce devices (GPUs, as a rule) the usual requests can not use, and which host loses
// least by a placement. After Weng et al., "Beware of Fragmentation", USENIX ATC 2023 (FGD), with two changes
// that docs/replay.md measures: a device counts as usable only as often as CPUs and memory last, in part; and
// hosts between which devices make no difference are told apart by what is left of all three.
namespace berth::scheduler {

// One kind of scarce device: whole ones, and the slices of one (a PF and its VFs), by their types.
struct ScarceDevices {
  static constexpr uint32_t kNoType = UINT32_MAX;

  uint32_t whole_type = kNoType;
  uint32_t slice_type = kNoType;
  uint32_t slices = 1;  // of a whole device; at most kWhole
};

// What a usual request asks for.
struct Demand {
  uint64_t pinned_cpus = 0;
  uint64_t floating_vcpus = 0;
  uint64_t memory_bytes = 0;
  uint32_t devices = 0;  // 0: none of the scarce ones
  uint32_t share = 0;    // of each of them, in thousandths
  uint64_t kinds = 0;    // of devices that serve it, as a set
};

struct WeightedDemand {
  Demand demand;
  double weight = 0;  // its part of all requests, 0 to 1
};

// What is left of one host.
struct DeviceRoom {
  static constexpr size_t kMaxDevices = 64;  // more are not looked at
  static constexpr uint32_t kWhole = 1000;

  uint64_t pinned_cpus = 0;
  uint64_t floating_vcpus = 0;
  uint64_t memory_bytes = 0;
  size_t devices = 0;
  std::array<uint32_t, kMaxDevices> share;  // free of each, in thousandths
  std::array<uint8_t, kMaxDevices> kind;    // index of ScarceDevices
  std::array<int32_t, kMaxDevices> family;  // DeviceGroup::family
};

// Sizes by which what is left is compared: those of the largest host (or cell, for guests with topology).
struct HostScale {
  uint64_t vcpus = 1;
  uint64_t memory_bytes = 1;
  uint32_t devices = 1;
};

// Immutable, so thread-safe. Looks at hosts, not at their cells: it orders hosts that are known to fit.
class FragmentationObjective {
 public:
  // At most 64 kinds. `usual`: what is asked for most; more of them cost more time.
  FragmentationObjective(std::vector<ScarceDevices> kinds, HostScale scale, const DeviceTypes& types);
  void SetUsual(std::vector<WeightedDemand> usual);

  const std::vector<ScarceDevices>& kinds() const { return kinds_; }
  Demand DemandOf(const RequestSpec& spec) const;
  DeviceRoom RoomOf(const FitHost& host) const;

  // The scarce devices, in thousandths, that the usual requests can not use: the mean over them.
  double Fragmentation(const DeviceRoom& room) const;

  struct Placement {
    double fragmentation = 0;     // how much more there is after it
    std::vector<size_t> devices;  // of DeviceRoom, that serve it with the least of that
  };
  // Of a demand that the room takes.
  Placement Place(const DeviceRoom& room, const Demand& demand) const;

  // 0 (worst) to 1 (best): the least new fragmentation, then the fullest and most evenly used host.
  // `demand`: DemandOf(spec).
  double Weigh(const FitHost& host, const RequestSpec& spec, const Demand& demand, const QuickFit& fit) const;

 private:
  int KindOf(uint32_t type) const { return type < kind_of_.size() ? kind_of_[type] : -1; }
  double LeftOver(const FitHost& host, const RequestSpec& spec, const QuickFit& fit, const DeviceRoom& room,
                  const Demand& demand) const;

  std::vector<ScarceDevices> kinds_;
  HostScale scale_;
  const DeviceTypes& types_;
  std::vector<int8_t> kind_of_;  // by type; -1: not scarce
  std::vector<WeightedDemand> usual_;
};

}  // namespace berth::scheduler
