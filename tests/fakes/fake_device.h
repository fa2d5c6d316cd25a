#pragma once

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "vmm/bus/device.h"

namespace berth::vmm {

// Remembers what was written and answers reads with one byte value.
class FakeDevice : public BusDevice {
 public:
  explicit FakeDevice(uint8_t answer = 0) : answer_(answer) {}
  void Read(uint64_t offset, std::span<uint8_t> data) override {
    for (uint8_t& byte : data) byte = answer_;
    reads.emplace_back(offset, data.size());
  }
  void Write(uint64_t offset, std::span<const uint8_t> data) override {
    writes.emplace_back(offset, std::vector<uint8_t>(data.begin(), data.end()));
  }

  std::vector<std::pair<uint64_t, size_t>> reads;
  std::vector<std::pair<uint64_t, std::vector<uint8_t>>> writes;

 private:
  uint8_t answer_;
};

}  // namespace berth::vmm
