#pragma once

#include <cstdint>
#include <cstring>

#include "tests/vmm/viommu/vtd/guest_tables.h"
#include "vmm/viommu/vtd/unit.h"

namespace berth::vmm::vtd {

// A guest's driver of a unit, as far as tests need one: registers, and a queue of 256 descriptors with the
// status word behind it.
class VtdDriver {
 public:
  VtdDriver(Unit& unit, GuestRam& ram, GuestTables& tables)
      : unit_(unit), ram_(ram), queue_(tables.NewPage()), status_(tables.NewPage()) {}

  uint32_t Read32(uint32_t offset) {
    uint32_t value = 0;
    unit_.Read(offset, {reinterpret_cast<uint8_t*>(&value), 4});
    return value;
  }
  uint64_t Read64(uint32_t offset) {
    uint64_t value = 0;
    unit_.Read(offset, {reinterpret_cast<uint8_t*>(&value), 8});
    return value;
  }
  void Write32(uint32_t offset, uint32_t value) {
    unit_.Write(offset, {reinterpret_cast<const uint8_t*>(&value), 4});
  }
  void Write64(uint32_t offset, uint64_t value) {
    unit_.Write(offset, {reinterpret_cast<const uint8_t*>(&value), 8});
  }
  // A command beside what is on already.
  void Command(uint32_t bit) { Write32(kGlobalCommand, (Read32(kGlobalStatus) & kPersistent) | bit); }
  void CommandOff(uint32_t bit) { Write32(kGlobalCommand, Read32(kGlobalStatus) & kPersistent & ~bit); }

  void EnableQueue() {
    Write64(kQueueTail, 0);
    Write64(kQueueAddress, queue_);
    Command(kQueued);
    tail_ = 0;
  }
  void SetRoot(uint64_t root) {
    Write64(kRootTable, root);
    Command(kSetRootTable);
  }
  void Put(uint64_t low, uint64_t high = 0) {
    ram_.PutObject(queue_ + tail_, low);
    ram_.PutObject(queue_ + tail_ + 8, high);
    tail_ = (tail_ + 16) % 4096;
  }
  // Tells the unit of what was put, with a wait descriptor behind it; true when its status was written.
  bool Submit() {
    const uint32_t number = ++waits_;
    Put(uint64_t{number} << 32 | 1 << 5 | 5, status_);
    Write64(kQueueTail, tail_);
    return ram_.GetObject<uint32_t>(status_) == number;
  }
  bool InvalidateContexts() {
    Put(1 << 4 | 1);
    return Submit();
  }
  bool InvalidateDevice(uint16_t domain, uint16_t source) {
    Put(uint64_t{source} << 32 | uint64_t{domain} << 16 | 3 << 4 | 1);
    return Submit();
  }
  bool InvalidateAll() {
    Put(1 << 4 | 2);
    return Submit();
  }
  bool InvalidateDomain(uint16_t domain) {
    Put(uint64_t{domain} << 16 | 2 << 4 | 2);
    return Submit();
  }
  // 2^mask pages around an address.
  bool InvalidatePages(uint16_t domain, uint64_t address, uint32_t mask) {
    Put(uint64_t{domain} << 16 | 3 << 4 | 2, (address & ~uint64_t{0xfff}) | mask);
    return Submit();
  }
  uint64_t queue() const { return queue_; }
  uint64_t tail() const { return tail_; }

 private:
  static constexpr uint32_t kPersistent = kTranslation | kQueued | kRemapping | kCompatibility;
  Unit& unit_;
  GuestRam& ram_;
  const uint64_t queue_;
  const uint64_t status_;
  uint64_t tail_ = 0;
  uint32_t waits_ = 0;
};

}  // namespace berth::vmm::vtd
