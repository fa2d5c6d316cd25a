#pragma once

#include <cstdint>
#include <deque>
#include <shared_mutex>
#include <unordered_map>

namespace berth::scheduler {

struct FitDevice;

bool SameType(const FitDevice& a, const FitDevice& b);

// Numbers for what requests can tell apart of devices: everything but address, parent, node and domains.
// Whether a type serves a request is then decided once for all hosts. Thread-safe; numbers are never reused,
// so a table grows with the kinds of hardware and tags, not with hosts.
class DeviceTypes {
 public:
  DeviceTypes();
  ~DeviceTypes();
  DeviceTypes(const DeviceTypes&) = delete;
  DeviceTypes& operator=(const DeviceTypes&) = delete;

  uint32_t NumberOf(const FitDevice& device);
  // A device of the type; valid as long as the table. Its address, parent, node and domains mean nothing.
  const FitDevice& Example(uint32_t type) const;

  size_t size() const;

  // The table of hosts for which none is named.
  static DeviceTypes& OfProcess();

 private:
  mutable std::shared_mutex mutex_;  // guards both
  std::deque<FitDevice> examples_;   // by number; stable references
  std::unordered_multimap<size_t, uint32_t> numbers_;
};

}  // namespace berth::scheduler
