#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

namespace berth::vmm {

// Guest-physical bytes.
struct PageRange {
  uint64_t base = 0;
  uint64_t size = 0;
};

// What of a confidential guest's RAM the VMM may touch: only what the guest shares with it. Thread-safe.
class PageVisibility {
 public:
  virtual ~PageVisibility() = default;
  // How many bytes from guest-physical `gpa` on, at most `size` and within one region, are visible.
  virtual uint64_t Visible(uint64_t gpa, uint64_t size) const = 0;
  // Grows when pages cease to be visible: who has found a range visible need not look again before.
  virtual uint64_t generation() const = 0;
  // Between the two, pages that Visible has named since Enter stay usable, and conversions of them wait: use
  // MemoryUse. Leave takes what Enter gave.
  virtual size_t Enter() = 0;
  virtual void Leave(size_t ticket) = 0;
  // As long as this is held, conversions of these ranges wait, and of no others: for work that goes on after
  // Leave. Between Enter and Leave, of ranges that Visible has named since Enter: use PageHold. Release takes
  // what Hold gave.
  virtual uint64_t Hold(std::span<const PageRange> ranges) = 0;
  virtual void Release(uint64_t hold) = 0;
};

// Somebody is using visible memory, as long as this lives. Does nothing for guests all of whose memory is
// visible. Not to be held while waiting for the guest.
class MemoryUse {
 public:
  MemoryUse() = default;
  explicit MemoryUse(PageVisibility* pages) : pages_(pages), ticket_(pages == nullptr ? 0 : pages->Enter()) {}
  MemoryUse(MemoryUse&& other) noexcept
      : pages_(std::exchange(other.pages_, nullptr)), ticket_(other.ticket_) {}
  MemoryUse& operator=(MemoryUse&& other) noexcept {
    std::swap(pages_, other.pages_);
    std::swap(ticket_, other.ticket_);
    return *this;
  }
  ~MemoryUse() { End(); }

  void End() {
    if (PageVisibility* pages = std::exchange(pages_, nullptr)) pages->Leave(ticket_);
  }

 private:
  PageVisibility* pages_ = nullptr;
  size_t ticket_ = 0;
};

// Ranges of visible memory that a request uses until this ends, for example a disk's. Movable; does nothing
// when it is empty.
class PageHold {
 public:
  PageHold() = default;
  PageHold(PageVisibility& pages, std::span<const PageRange> ranges)
      : pages_(&pages), hold_(pages.Hold(ranges)) {}
  PageHold(PageHold&& other) noexcept : pages_(std::exchange(other.pages_, nullptr)), hold_(other.hold_) {}
  PageHold& operator=(PageHold&& other) noexcept {
    std::swap(pages_, other.pages_);
    std::swap(hold_, other.hold_);
    return *this;
  }
  ~PageHold() {
    if (pages_ != nullptr) pages_->Release(hold_);
  }

 private:
  PageVisibility* pages_ = nullptr;
  uint64_t hold_ = 0;
};

}  // namespace berth::vmm
