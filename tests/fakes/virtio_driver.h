#pragma once

#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "tests/fakes/guest_ram.h"
#include "vmm/virtio/pci_transport.h"
#include "vmm/virtio/queue.h"

namespace berth::vmm {

// The driver's side of a split virtqueue in guest RAM, laid out from `base` on: descriptors, available ring,
// used ring, and an area for indirect tables. Well behaved unless told otherwise: every field can be written.
class DriverQueue {
 public:
  struct Buffer {
    uint64_t address;
    uint32_t length;
    bool write = false;
  };
  struct UsedElement {
    uint32_t head;
    uint32_t written;
    friend bool operator==(const UsedElement&, const UsedElement&) = default;
  };
  static constexpr uint16_t kNext = 1;
  static constexpr uint16_t kWrite = 2;
  static constexpr uint16_t kIndirect = 4;

  DriverQueue(GuestRam& ram, uint64_t base, uint16_t size) : ram_(&ram), base_(base), size_(size) {}

  uint64_t descriptors() const { return base_; }
  uint64_t available() const { return base_ + 16ull * size_; }
  uint64_t used() const { return (available() + 6 + 2ull * size_ + 3) / 4 * 4; }
  uint64_t indirect() const { return (used() + 6 + 8ull * size_ + 15) / 16 * 16; }
  uint16_t size() const { return size_; }

  QueueConfig Config(bool indirect_feature = true, bool event_idx = false) const {
    return {.size = size_,
            .descriptors = Gpa{descriptors()},
            .driver = Gpa{available()},
            .device = Gpa{used()},
            .indirect = indirect_feature,
            .event_idx = event_idx};
  }

  void SetDescriptorAt(uint64_t table, uint16_t index, uint64_t address, uint32_t length, uint16_t flags,
                       uint16_t next) {
    const uint64_t at = table + 16ull * index;
    ram_->PutObject<uint64_t>(at, address);
    ram_->PutObject<uint32_t>(at + 8, length);
    ram_->PutObject<uint16_t>(at + 12, flags);
    ram_->PutObject<uint16_t>(at + 14, next);
  }
  void SetDescriptor(uint16_t index, uint64_t address, uint32_t length, uint16_t flags, uint16_t next = 0) {
    SetDescriptorAt(descriptors(), index, address, length, flags, next);
  }
  // Makes a chain available that starts at descriptor `head`.
  void Offer(uint16_t head) {
    ram_->PutObject<uint16_t>(available() + 4 + 2ull * (next_ % size_), head);
    SetAvailableIndex(++next_);
  }
  void SetAvailableIndex(uint16_t index) { ram_->PutObject<uint16_t>(available() + 2, index); }
  void SetAvailableFlags(uint16_t flags) { ram_->PutObject<uint16_t>(available(), flags); }
  void SetUsedEvent(uint16_t index) { ram_->PutObject<uint16_t>(available() + 4 + 2ull * size_, index); }
  uint16_t AvailableEvent() { return ram_->GetObject<uint16_t>(used() + 4 + 8ull * size_); }
  uint16_t UsedFlags() { return ram_->GetObject<uint16_t>(used()); }

  // Writes a chain into the next descriptors and offers it. Returns its head. Descriptors are taken in turn,
  // without looking whether the device still has them.
  uint16_t Post(const std::vector<Buffer>& buffers) {
    const uint16_t head = free_;
    for (size_t i = 0; i < buffers.size(); ++i) {
      const uint16_t index = Take();
      const bool last = i + 1 == buffers.size();
      const uint16_t flags = static_cast<uint16_t>((buffers[i].write ? kWrite : 0) | (last ? 0 : kNext));
      SetDescriptor(index, buffers[i].address, buffers[i].length, flags, free_);
    }
    Offer(head);
    return head;
  }
  // The same through an indirect table.
  uint16_t PostIndirect(const std::vector<Buffer>& buffers) {
    for (uint16_t i = 0; i < buffers.size(); ++i) {
      const bool last = i + 1u == buffers.size();
      const uint16_t flags = static_cast<uint16_t>((buffers[i].write ? kWrite : 0) | (last ? 0 : kNext));
      SetDescriptorAt(indirect(), i, buffers[i].address, buffers[i].length, flags,
                      static_cast<uint16_t>(i + 1));
    }
    const uint16_t head = Take();
    SetDescriptor(head, indirect(), static_cast<uint32_t>(16 * buffers.size()), kIndirect);
    Offer(head);
    return head;
  }

  uint16_t UsedIndex() { return ram_->GetObject<uint16_t>(used() + 2); }
  UsedElement Used(uint16_t index) {
    const uint64_t at = used() + 4 + 8ull * (index % size_);
    return {ram_->GetObject<uint32_t>(at), ram_->GetObject<uint32_t>(at + 4)};
  }

 private:
  uint16_t Take() { return std::exchange(free_, static_cast<uint16_t>((free_ + 1) % size_)); }

  GuestRam* ram_;
  uint64_t base_;
  uint16_t size_;
  uint16_t next_ = 0;
  uint16_t free_ = 0;
};

// Drives a virtio PCI function through its BAR, as a guest's driver does.
class VirtioDriver {
 public:
  static constexpr uint8_t kAcknowledge = 1;
  static constexpr uint8_t kDriver = 2;
  static constexpr uint8_t kDriverOk = 4;
  static constexpr uint8_t kFeaturesOk = 8;
  static constexpr uint8_t kNeedsReset = 64;
  // Data of the MSI of vector n is kMsiData + n.
  static constexpr uint32_t kMsiData = 0x4000;

  explicit VirtioDriver(VirtioPciTransport& transport) : transport_(transport) {}

  template <class T>
  T Read(uint64_t offset) {
    T value{};
    transport_.Read(offset, {reinterpret_cast<uint8_t*>(&value), sizeof value});
    return value;
  }
  template <class T>
  void Write(uint64_t offset, T value) {
    transport_.Write(offset, {reinterpret_cast<const uint8_t*>(&value), sizeof value});
  }

  uint8_t status() { return Read<uint8_t>(20); }
  void SetStatus(uint8_t status) { Write<uint8_t>(20, status); }
  uint64_t DeviceFeatures() {
    Write<uint32_t>(0, 0);
    const uint64_t low = Read<uint32_t>(4);
    Write<uint32_t>(0, 1);
    return low | uint64_t{Read<uint32_t>(4)} << 32;
  }
  // Reset, acknowledge, features. True when the device accepts them.
  bool Negotiate(uint64_t features) {
    SetStatus(0);
    SetStatus(kAcknowledge);
    SetStatus(kAcknowledge | kDriver);
    Write<uint32_t>(8, 0);
    Write<uint32_t>(12, static_cast<uint32_t>(features));
    Write<uint32_t>(8, 1);
    Write<uint32_t>(12, static_cast<uint32_t>(features >> 32));
    SetStatus(kAcknowledge | kDriver | kFeaturesOk);
    return (status() & kFeaturesOk) != 0;
  }
  // Programs and unmasks all vectors and switches MSI-X on.
  void EnableMsix(uint16_t vectors) {
    for (uint16_t i = 0; i < vectors; ++i) {
      const uint64_t entry = VirtioPciTransport::kMsixTableOffset + 16ull * i;
      Write<uint32_t>(entry, 0xfee00000);
      Write<uint32_t>(entry + 4, 0);
      Write<uint32_t>(entry + 8, kMsiData + i);
      Write<uint32_t>(entry + 12, 0);
    }
    const uint8_t enable[2] = {0, 0x80};
    transport_.WriteConfig(MsixCapability() + 2, enable);
  }
  uint32_t MsixCapability() {
    uint32_t at = transport_.config().Read16(0x34) & 0xff;
    while ((transport_.config().Read16(at) & 0xff) != 0x11) at = transport_.config().Read16(at) >> 8;
    return at;
  }
  // Vector n + 1 for queue n; vector 0 is the configuration's.
  void SetUpQueue(uint16_t index, const DriverQueue& queue) {
    Write<uint16_t>(22, index);
    Write<uint16_t>(24, queue.size());
    Write<uint16_t>(26, static_cast<uint16_t>(index + 1));
    WriteAddress(32, queue.descriptors());
    WriteAddress(40, queue.available());
    WriteAddress(48, queue.used());
    Write<uint16_t>(28, 1);
  }
  void Start() {
    Write<uint16_t>(16, 0);
    SetStatus(static_cast<uint8_t>(status() | kDriverOk));
  }
  void Notify(uint16_t queue) { Write<uint16_t>(VirtioPciTransport::kNotifyOffset + 4ull * queue, queue); }

 private:
  void WriteAddress(uint64_t offset, uint64_t address) {
    Write<uint32_t>(offset, static_cast<uint32_t>(address));
    Write<uint32_t>(offset + 4, static_cast<uint32_t>(address >> 32));
  }

  VirtioPciTransport& transport_;
};

}  // namespace berth::vmm
