#pragma once

#include <cstdint>

namespace berth::vmm::smmuv3 {

// Places in a queue of 2^log2_size entries (3.5.1): an index, above it one bit that tells rounds apart.
class Ring {
 public:
  explicit Ring(uint32_t log2_size) : log2_size_(log2_size) {}

  uint32_t Index(uint32_t place) const { return place & ((1u << log2_size_) - 1); }
  // Index and round; what stands above means something else.
  uint32_t Place(uint32_t value) const { return value & ((2u << log2_size_) - 1); }
  bool Empty(uint32_t producer, uint32_t consumer) const { return Place(producer) == Place(consumer); }
  bool Full(uint32_t producer, uint32_t consumer) const {
    return Place(producer ^ consumer) == 1u << log2_size_;
  }
  uint32_t Next(uint32_t place) const { return Place(Place(place) + 1); }

 private:
  const uint32_t log2_size_;
};

}  // namespace berth::vmm::smmuv3
