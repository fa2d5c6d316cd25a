#include "vmm/devices/pvpanic.h"

#include <algorithm>
#include <utility>

namespace berth::vmm {
namespace {

constexpr uint8_t kPanicked = 1 << 0;
constexpr uint8_t kCrashLoaded = 1 << 1;

class Register : public BusDevice {
 public:
  explicit Register(std::function<void(GuestPanic)> on_panic) : on_panic_(std::move(on_panic)) {}
  void Read(uint64_t offset, std::span<uint8_t> data) override {
    std::fill(data.begin(), data.end(), uint8_t{0});
    if (offset == 0) data[0] = kPanicked | kCrashLoaded;
  }
  void Write(uint64_t offset, std::span<const uint8_t> data) override {
    if (offset != 0) return;
    if (data[0] & kPanicked) on_panic_(GuestPanic::kPanicked);
    if (data[0] & kCrashLoaded) on_panic_(GuestPanic::kCrashLoaded);
  }

 private:
  std::function<void(GuestPanic)> on_panic_;
};

class Pvpanic : public PciFunction, private Stateful {
 public:
  explicit Pvpanic(std::function<void(GuestPanic)> on_panic)
      : bar_(std::make_shared<Register>(std::move(on_panic))) {
    config_.AddBar(0, BarKind::kMemory32, 4096, false);
  }
  PciConfigSpace& config() override { return config_; }
  void ReadConfig(uint32_t offset, std::span<uint8_t> data) override { config_.Read(offset, data); }
  void WriteConfig(uint32_t offset, std::span<const uint8_t> data) override { config_.Write(offset, data); }
  std::shared_ptr<BusDevice> BarDevice(uint32_t) override { return bar_; }
  void BarMoved(uint32_t, std::optional<uint64_t>) override {}
  Stateful* stateful() override { return this; }

  Status Suspend() override { return OkStatus(); }
  void Resume() override {}
  void Save(StateWriter& out) override { config_.Save(out); }
  void Load(StateReader& in) override { config_.Load(in); }

 private:
  std::shared_ptr<Register> bar_;
  PciConfigSpace config_{PciIdentity{.vendor = 0x1b36,
                                     .device = 0x0011,
                                     .subsystem_vendor = 0x1af4,
                                     .subsystem = 0x1100,
                                     .class_code = 0x088000,  // system peripheral, other
                                     .revision = 1}};
};

}  // namespace

std::shared_ptr<PciFunction> MakePvpanic(std::function<void(GuestPanic)> on_panic) {
  return std::make_shared<Pvpanic>(std::move(on_panic));
}

}  // namespace berth::vmm
