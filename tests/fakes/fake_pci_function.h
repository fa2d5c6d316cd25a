#pragma once

#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "tests/fakes/fake_device.h"
#include "vmm/bus/pci_function.h"

namespace berth::vmm {

// A function with BARs that answer reads with one byte value; remembers how they were moved.
class FakePciFunction : public PciFunction {
 public:
  explicit FakePciFunction(uint8_t answer)
      : bar_(std::make_shared<FakeDevice>(answer)),
        config_(PciIdentity{.vendor = 0x1af4, .device = 0x1000, .class_code = 0xff0000}) {}

  PciConfigSpace& config() override { return config_; }
  void ReadConfig(uint32_t offset, std::span<uint8_t> data) override { config_.Read(offset, data); }
  void WriteConfig(uint32_t offset, std::span<const uint8_t> data) override { config_.Write(offset, data); }
  std::shared_ptr<BusDevice> BarDevice(uint32_t) override { return bar_; }
  void BarMoved(uint32_t index, std::optional<uint64_t> base) override { moves.emplace_back(index, base); }

  std::vector<std::pair<uint32_t, std::optional<uint64_t>>> moves;

 private:
  std::shared_ptr<FakeDevice> bar_;
  PciConfigSpace config_;
};

}  // namespace berth::vmm
