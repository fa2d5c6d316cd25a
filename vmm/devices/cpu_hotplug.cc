#include "vmm/devices/cpu_hotplug.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

namespace berth::vmm {
namespace {

constexpr uint64_t kSelector = 0;
constexpr uint64_t kStatus = 4;
constexpr uint8_t kEnabled = 1 << 0;
constexpr uint8_t kInserting = 1 << 1;
constexpr uint8_t kRemoving = 1 << 2;
constexpr uint8_t kEject = 1 << 3;

}  // namespace

CpuHotplug::CpuHotplug(uint32_t possible, uint32_t present, std::function<void(uint32_t)> on_eject)
    : on_eject_(std::move(on_eject)), vcpus_(possible) {
  for (uint32_t i = 0; i < present; ++i) vcpus_[i].enabled = true;
}

void CpuHotplug::Insert(uint32_t vcpu) {
  std::lock_guard lock(mutex_);
  vcpus_.at(vcpu) = {true, true, false};
}

void CpuHotplug::RequestRemoval(uint32_t vcpu) {
  std::lock_guard lock(mutex_);
  vcpus_.at(vcpu).removing = true;
}

void CpuHotplug::CancelRemoval(uint32_t vcpu) {
  std::lock_guard lock(mutex_);
  vcpus_.at(vcpu).removing = false;
}

bool CpuHotplug::enabled(uint32_t vcpu) const {
  std::lock_guard lock(mutex_);
  return vcpus_.at(vcpu).enabled;
}

void CpuHotplug::Save(StateWriter& out) const {
  std::lock_guard lock(mutex_);
  out.Put(static_cast<uint32_t>(vcpus_.size()));
  for (const State& state : vcpus_) {
    for (bool flag : {state.enabled, state.inserting, state.removing}) out.Put(flag);
  }
  out.Put(selected_);
}

void CpuHotplug::Load(StateReader& in) {
  std::lock_guard lock(mutex_);
  if (in.Get<uint32_t>() != vcpus_.size()) {
    return in.Fail(InvalidArgument("another number of vCPUs than " + std::to_string(vcpus_.size())));
  }
  for (State& state : vcpus_) {
    for (bool* flag : {&state.enabled, &state.inserting, &state.removing}) in.Get(*flag);
  }
  in.Get(selected_);
}

void CpuHotplug::Read(uint64_t offset, std::span<uint8_t> data) {
  std::fill(data.begin(), data.end(), uint8_t{0});
  std::lock_guard lock(mutex_);
  if (offset == kSelector) std::memcpy(data.data(), &selected_, std::min(data.size(), sizeof selected_));
  if (offset != kStatus || selected_ >= vcpus_.size()) return;
  const State& state = vcpus_[selected_];
  data[0] = static_cast<uint8_t>((state.enabled ? kEnabled : 0) | (state.inserting ? kInserting : 0) |
                                 (state.removing ? kRemoving : 0));
}

void CpuHotplug::Write(uint64_t offset, std::span<const uint8_t> data) {
  uint32_t ejected = 0;
  {
    std::lock_guard lock(mutex_);
    if (offset == kSelector && data.size() == sizeof selected_) {
      std::memcpy(&selected_, data.data(), sizeof selected_);
    }
    if (offset != kStatus || selected_ >= vcpus_.size()) return;
    State& state = vcpus_[selected_];
    if (data[0] & kInserting) state.inserting = false;
    if (data[0] & kRemoving) state.removing = false;
    // The boot processor cannot be given back.
    if (!(data[0] & kEject) || !state.enabled || selected_ == 0) return;
    state = {};
    ejected = selected_;
  }
  on_eject_(ejected);
}

}  // namespace berth::vmm
