#pragma once

#include <algorithm>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <utility>

namespace berth {

// The words of a CpuSet: a vector of 64-bit words that holds the CPUs of most machines (the first kInline
// words, 192 CPUs) in itself and only what is longer elsewhere. A value type; thread-compatible.
class CpuWords {
 public:
  static constexpr size_t kInline = 3;

  CpuWords() = default;
  CpuWords(const CpuWords& other) { Assign(other); }
  CpuWords(CpuWords&& other) noexcept { Take(other); }
  CpuWords& operator=(const CpuWords& other) {
    if (this != &other) Assign(other);
    return *this;
  }
  CpuWords& operator=(CpuWords&& other) noexcept {
    if (this == &other) return *this;
    Free();
    Take(other);
    return *this;
  }
  ~CpuWords() { Free(); }

  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  uint64_t* data() { return capacity_ == kInline ? inline_ : heap_; }
  const uint64_t* data() const { return capacity_ == kInline ? inline_ : heap_; }
  uint64_t& operator[](size_t i) { return data()[i]; }
  uint64_t operator[](size_t i) const { return data()[i]; }
  const uint64_t* begin() const { return data(); }
  const uint64_t* end() const { return data() + size_; }
  uint64_t back() const { return data()[size_ - 1]; }
  void pop_back() { --size_; }

  // New words are zeros.
  void resize(size_t size) {
    if (size > capacity_) Grow(size);
    if (size > size_) std::fill(data() + size_, data() + size, 0);
    size_ = static_cast<uint32_t>(size);
  }

  friend bool operator==(const CpuWords& a, const CpuWords& b) {
    return std::equal(a.begin(), a.end(), b.begin(), b.end());
  }
  friend std::strong_ordering operator<=>(const CpuWords& a, const CpuWords& b) {
    return std::lexicographical_compare_three_way(a.begin(), a.end(), b.begin(), b.end());
  }

 private:
  void Free() {
    if (capacity_ != kInline) delete[] heap_;
  }
  void Grow(size_t size) {
    auto* larger = new uint64_t[size];
    std::copy(begin(), end(), larger);
    Free();
    heap_ = larger;
    capacity_ = static_cast<uint32_t>(size);
  }
  void Assign(const CpuWords& other) {
    if (other.size_ > capacity_) Grow(other.size_);
    std::copy(other.begin(), other.end(), data());
    size_ = other.size_;
  }
  // Leaves `other` empty. What this one held is gone already.
  void Take(CpuWords& other) noexcept {
    size_ = std::exchange(other.size_, 0);
    capacity_ = other.capacity_;
    if (capacity_ == kInline) {
      std::copy(other.inline_, other.inline_ + kInline, inline_);
    } else {
      heap_ = other.heap_;
      other.capacity_ = kInline;
    }
  }

  uint32_t size_ = 0;
  uint32_t capacity_ = kInline;
  union {
    uint64_t inline_[kInline] = {};
    uint64_t* heap_;  // owned; while capacity_ != kInline
  };
};

}  // namespace berth
