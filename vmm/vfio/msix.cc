#include <algorithm>
#include <cstring>
#include <utility>

#include "common/log.h"
#include "vmm/vfio/interrupts.h"

namespace berth::vmm {
namespace {

constexpr uint16_t kEnable = 1 << 15;
constexpr uint16_t kFunctionMask = 1 << 14;
constexpr uint32_t kVectorControl = 3;
constexpr uint32_t kVectorMasked = 1;
constexpr uint32_t kWordsPerEntry = AssignedMsix::kEntrySize / 4;
// Vectors that are allocated in the host when MSI-X is turned on. To add one later means, on many kernels, to
// turn all off for a moment; a device with more vectors than its driver uses must not take them all, though.
constexpr size_t kFirstVectors = 32;

}  // namespace

AssignedMsix::AssignedMsix(VfioDevice& device, MsiController& controller, uint16_t vectors)
    : device_(device), controller_(controller), entries_(vectors) {}

bool AssignedMsix::Masked(const Entry& entry) const {
  return (control_ & (kEnable | kFunctionMask)) != kEnable || entry.words[kVectorControl] & kVectorMasked;
}

bool AssignedMsix::enabled() {
  std::lock_guard lock(mutex_);
  return allocated_ > 0;
}

Status AssignedMsix::Allocate(size_t vectors) {
  std::vector<int> events;
  for (size_t i = 0; i < vectors; ++i) {
    Entry& entry = entries_[i];
    if (entry.route == nullptr) {
      TRY_ASSIGN(entry.route, controller_.AllocateRoute());
      TRY(entry.route->SetMasked(true));
    }
    events.push_back(entry.route->event_fd());
  }
  const bool resizable = device_.info().irqs[VFIO_PCI_MSIX_IRQ_INDEX].resizable;
  size_t start = 0;
  if (allocated_ > 0 && resizable) start = allocated_;
  if (allocated_ > 0 && !resizable) {
    TRY(device_.DisableIrqs(VFIO_PCI_MSIX_IRQ_INDEX));
    allocated_ = 0;
  }
  TRY(device_.SetTriggers(VFIO_PCI_MSIX_IRQ_INDEX, static_cast<uint32_t>(start),
                          std::span<const int>(events).subspan(start)));
  allocated_ = vectors;
  return OkStatus();
}

void AssignedMsix::Release() {
  if (allocated_ == 0) return;
  if (Status status = device_.DisableIrqs(VFIO_PCI_MSIX_IRQ_INDEX); !status.ok()) {
    LOG(kWarning, "vfio_msix_not_disabled", {{"device", device_.address()}, {"error", status}});
  }
  allocated_ = 0;
  for (Entry& entry : entries_) {
    entry.route.reset();
    entry.routed = false;
  }
}

void AssignedMsix::SetControl(uint16_t message_control) {
  std::lock_guard lock(mutex_);
  control_ = message_control & (kEnable | kFunctionMask);
  if (!(control_ & kEnable)) return Release();
  if (allocated_ == 0) {
    if (Status status = Allocate(std::min(entries_.size(), kFirstVectors)); !status.ok()) {
      LOG(kError, "vfio_msix_failed", {{"device", device_.address()}, {"error", status}});
      return;
    }
  }
  for (size_t i = 0; i < entries_.size(); ++i) Update(i);
}

// Brings the route of a vector up to its entry.
void AssignedMsix::Update(size_t index) {
  Entry& entry = entries_[index];
  const bool masked = Masked(entry);
  if (!masked && index >= allocated_) {
    if (allocated_ == 0) return;
    const size_t wanted = std::min(std::max(index + 1, 2 * allocated_), entries_.size());
    if (Status status = Allocate(wanted); !status.ok()) {
      LOG(kError, "vfio_msix_vector_failed",
          {{"device", device_.address()}, {"vector", index}, {"error", status}});
      return;
    }
  }
  if (entry.route == nullptr) return;
  Status status;
  if (!masked && !std::exchange(entry.routed, true)) {
    status = entry.route->Set({entry.words[0] | uint64_t{entry.words[1]} << 32, entry.words[2]});
    entry.routed = status.ok();
  }
  // A message that the interrupt controller refuses is lost, as a write to a wrong address is.
  if (status.ok()) status = entry.route->SetMasked(masked);
  if (!status.ok()) {
    LOG(kDebug, "vfio_msix_route_failed",
        {{"device", device_.address()}, {"vector", index}, {"error", status}});
  }
}

void AssignedMsix::ReadTable(uint64_t offset, std::span<uint8_t> data) {
  std::lock_guard lock(mutex_);
  for (size_t i = 0; i < data.size(); ++i) {
    const uint64_t at = offset + i;
    const bool inside = at / kEntrySize < entries_.size();
    const uint32_t word = inside ? entries_[at / kEntrySize].words[at / 4 % kWordsPerEntry] : 0;
    data[i] = static_cast<uint8_t>(word >> at % 4 * 8);
  }
}

void AssignedMsix::WriteTable(uint64_t offset, std::span<const uint8_t> data) {
  if ((data.size() != 4 && data.size() != 8) || offset % data.size() != 0) return;
  std::lock_guard lock(mutex_);
  for (size_t i = 0; i < data.size(); i += 4) {
    const uint64_t at = offset + i;
    if (at / kEntrySize >= entries_.size()) return;
    Entry& entry = entries_[at / kEntrySize];
    uint32_t value;
    std::memcpy(&value, data.data() + i, 4);
    const uint64_t word = at / 4 % kWordsPerEntry;
    if (word == kVectorControl) value &= kVectorMasked;
    if (word != kVectorControl && entry.words[word] != value) entry.routed = false;
    const bool changed = std::exchange(entry.words[word], value) != value;
    if (changed) Update(at / kEntrySize);
  }
}

void AssignedMsix::ReadPba(uint64_t offset, std::span<uint8_t> data) {
  std::lock_guard lock(mutex_);
  for (size_t i = 0; i < data.size(); ++i) {
    data[i] = 0;
    for (uint64_t bit = 0; bit < 8; ++bit) {
      const uint64_t vector = (offset + i) * 8 + bit;
      if (vector >= entries_.size() || entries_[vector].route == nullptr) continue;
      if (InterruptWaits(*entries_[vector].route)) data[i] |= static_cast<uint8_t>(1u << bit);
    }
  }
}

}  // namespace berth::vmm
