#include "vmm/bus/bus.h"

#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <mutex>

namespace berth::vmm {
namespace {

std::string Describe(const std::string& name, uint64_t base, uint64_t size) {
  char text[64];
  std::snprintf(text, sizeof text, " [0x%" PRIx64 ", +0x%" PRIx64 ")", base, size);
  return name + text;
}

}  // namespace

Status Bus::CheckFree(uint64_t base, uint64_t size, const std::string& name) const {
  if (size == 0 || base + size - 1 < base) {
    return InvalidArgument("range of " + Describe(name, base, size) + " is empty or wraps around");
  }
  auto next = ranges_.upper_bound(base);
  if (next != ranges_.end() && next->first - base < size) {
    return AlreadyExists(Describe(name, base, size) + " overlaps " +
                         Describe(next->second.name, next->first, next->second.size));
  }
  if (next == ranges_.begin()) return OkStatus();
  const auto& [previous_base, previous] = *std::prev(next);
  if (base - previous_base < previous.size) {
    return AlreadyExists(Describe(name, base, size) + " overlaps " +
                         Describe(previous.name, previous_base, previous.size));
  }
  return OkStatus();
}

Status Bus::Insert(uint64_t base, uint64_t size, std::shared_ptr<BusDevice> device, std::string name) {
  std::unique_lock lock(mutex_);
  TRY(CheckFree(base, size, name));
  ranges_.emplace(base, Range{size, std::move(device), std::move(name)});
  return OkStatus();
}

Status Bus::Remove(uint64_t base) {
  std::shared_ptr<BusDevice> last_reference;  // a device is destroyed after the lock is released
  std::unique_lock lock(mutex_);
  auto found = ranges_.find(base);
  if (found == ranges_.end()) return NotFound("no device at " + Describe("base", base, 0));
  last_reference = std::move(found->second.device);
  ranges_.erase(found);
  lock.unlock();
  return OkStatus();
}

Status Bus::Move(uint64_t old_base, uint64_t new_base) {
  std::unique_lock lock(mutex_);
  auto node = ranges_.extract(old_base);
  if (node.empty()) return NotFound("no device at " + Describe("base", old_base, 0));
  Status free = CheckFree(new_base, node.mapped().size, node.mapped().name);
  if (free.ok()) node.key() = new_base;
  ranges_.insert(std::move(node));
  return free;
}

std::shared_ptr<BusDevice> Bus::Find(uint64_t address, uint64_t size, uint64_t& offset) {
  std::shared_lock lock(mutex_);
  auto next = ranges_.upper_bound(address);
  if (next == ranges_.begin()) return nullptr;
  const auto& [base, range] = *std::prev(next);
  offset = address - base;
  if (offset >= range.size || size > range.size - offset) return nullptr;
  return range.device;
}

bool Bus::Read(uint64_t address, std::span<uint8_t> data) {
  uint64_t offset = 0;
  // The device is called without the bus lock: a configuration write may move ranges of this very bus.
  std::shared_ptr<BusDevice> device = Find(address, data.size(), offset);
  if (!device) {
    std::fill(data.begin(), data.end(), uint8_t{0xff});
    return false;
  }
  device->Read(offset, data);
  return true;
}

bool Bus::Write(uint64_t address, std::span<const uint8_t> data) {
  uint64_t offset = 0;
  std::shared_ptr<BusDevice> device = Find(address, data.size(), offset);
  if (!device) return false;
  device->Write(offset, data);
  return true;
}

}  // namespace berth::vmm
