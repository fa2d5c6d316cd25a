#pragma once

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <span>

namespace berth::vmm {

// Zeroed memory of whole pages at a page's boundary, as the kernel wants what it copies into a guest from.
class LaunchPages {
 public:
  static constexpr uint64_t kPage = 4096;

  // `size`: bytes, rounded up to whole pages.
  explicit LaunchPages(uint64_t size);
  // Filled from the start with `data`.
  LaunchPages(uint64_t size, std::span<const uint8_t> data);

  uint8_t* data() { return memory_.get(); }
  uint64_t size() const { return size_; }
  std::span<uint8_t> page(uint64_t index) { return {memory_.get() + index * kPage, kPage}; }
  uint64_t address() const { return reinterpret_cast<uintptr_t>(memory_.get()); }

 private:
  struct Free {
    void operator()(uint8_t* memory) const { std::free(memory); }
  };
  uint64_t size_;
  std::unique_ptr<uint8_t, Free> memory_;
};

}  // namespace berth::vmm
