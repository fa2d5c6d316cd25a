#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <map>
#include <span>
#include <vector>

#include "vmm/memory/page_visibility.h"

namespace berth::vmm {

// A confidential guest that has taken one page back.
class HiddenPage final : public PageVisibility {
 public:
  static constexpr uint64_t kSize = 0x1000;

  void Hide(uint64_t page) {
    page_ = page;
    ++generation_;
  }
  void Show() { page_ = UINT64_MAX; }
  uint64_t Visible(uint64_t gpa, uint64_t size) const override {
    EXPECT_GT(users_, 0) << "looked at memory without keeping conversions off";
    if (page_ == UINT64_MAX || gpa >= page_ + kSize || gpa + size <= page_) return size;
    return gpa >= page_ ? 0 : page_ - gpa;
  }
  uint64_t generation() const override { return generation_; }
  size_t Enter() override { return static_cast<size_t>(++users_); }
  void Leave(size_t) override { --users_; }
  uint64_t Hold(std::span<const PageRange> ranges) override {
    EXPECT_GT(users_, 0) << "held memory that may be gone";
    held_[++holds_].assign(ranges.begin(), ranges.end());
    return holds_;
  }
  void Release(uint64_t hold) override { EXPECT_EQ(held_.erase(hold), 1u); }
  // Bytes that requests use, by address.
  std::map<uint64_t, uint64_t> Held() const {
    std::map<uint64_t, uint64_t> bytes;
    for (const auto& [hold, ranges] : held_) {
      for (const PageRange& range : ranges) bytes[range.base] = range.size;
    }
    return bytes;
  }
  int users() const { return users_; }

 private:
  uint64_t page_ = UINT64_MAX;
  uint64_t generation_ = 0;
  int users_ = 0;
  uint64_t holds_ = 0;
  std::map<uint64_t, std::vector<PageRange>> held_;
};

}  // namespace berth::vmm
