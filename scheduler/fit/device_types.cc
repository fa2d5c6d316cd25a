#include "scheduler/fit/device_types.h"

#include <functional>
#include <mutex>
#include <string>

#include "scheduler/fit/fit_host.h"

namespace berth::scheduler {
namespace {

size_t Hash(const FitDevice& device) {
  std::hash<std::string> text;
  size_t hash = static_cast<size_t>(device.kind) + 1;
  auto mix = [&hash](size_t value) { hash = (hash ^ value) * 0x9e3779b97f4a7c15u; };
  mix(text(device.vendor_id));
  mix(text(device.product_id));
  mix(device.network ? text(*device.network) : 1);
  mix(device.trusted ? 2 + size_t{*device.trusted} : 0);
  mix(device.remote_managed ? 2 + size_t{*device.remote_managed} : 0);
  mix(text(device.resource_class));
  for (const std::string& trait : device.traits) mix(text(trait));
  return hash;
}

}  // namespace

bool SameType(const FitDevice& a, const FitDevice& b) {
  return a.kind == b.kind && a.vendor_id == b.vendor_id && a.product_id == b.product_id &&
         a.network == b.network && a.trusted == b.trusted && a.remote_managed == b.remote_managed &&
         a.resource_class == b.resource_class && a.traits == b.traits;
}

DeviceTypes::DeviceTypes() = default;
DeviceTypes::~DeviceTypes() = default;

uint32_t DeviceTypes::NumberOf(const FitDevice& device) {
  size_t hash = Hash(device);
  auto find = [&]() -> const uint32_t* {
    auto [from, to] = numbers_.equal_range(hash);
    for (auto it = from; it != to; ++it) {
      if (SameType(examples_[it->second], device)) return &it->second;
    }
    return nullptr;
  };
  {
    std::shared_lock lock(mutex_);
    if (const uint32_t* known = find()) return *known;
  }
  std::unique_lock lock(mutex_);
  if (const uint32_t* known = find()) return *known;
  auto number = static_cast<uint32_t>(examples_.size());
  examples_.push_back(device);
  numbers_.emplace(hash, number);
  return number;
}

const FitDevice& DeviceTypes::Example(uint32_t type) const {
  std::shared_lock lock(mutex_);
  return examples_[type];
}

size_t DeviceTypes::size() const {
  std::shared_lock lock(mutex_);
  return examples_.size();
}

DeviceTypes& DeviceTypes::OfProcess() {
  static DeviceTypes types;
  return types;
}

}  // namespace berth::scheduler
