// Firmware on the real /dev/kvm: the processor starts at its reset vector, which the image ends with.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "vmm/bus/layout.h"
#include "vmm/kvm/linux_kvm.h"
#include "vmm/machine/machine.h"

namespace berth::vmm {
namespace {

class FirmwareTest : public testing::Test {
 protected:
  void SetUp() override {
    path_ = testing::TempDir() + "firmware-" + std::to_string(getpid());
    auto kvm = OpenLinuxKvm();
    if (!kvm.has_value()) GTEST_SKIP() << kvm.status().ToString();
    kvm_ = *std::move(kvm);
    config_.firmware = path_;
    config_.memory.size = MiB(64);
    config_.serial.mode = SerialConfig::Mode::kOff;
    config_.rng.clear();
  }
  void TearDown() override { std::filesystem::remove(path_); }

  Status Create() {
    auto machine = Machine::Create(*kvm_, config_, *loop_, [this](MachineEnd end) {
      end_ = std::move(end);
      loop_->Stop();
    });
    if (!machine.has_value()) return machine.error();
    machine_ = *std::move(machine);
    return machine_->Boot();
  }
  void Write(const std::vector<uint8_t>& bytes) {
    std::ofstream(path_, std::ios::binary)
        .write(reinterpret_cast<const char*>(bytes.data()), static_cast<long>(bytes.size()));
  }

  std::string path_;
  VmConfig config_;
  MachineEnd end_;
  std::unique_ptr<Kvm> kvm_;
  std::unique_ptr<EventLoop> loop_ = *EventLoop::Create();
  std::unique_ptr<Machine> machine_;
};

TEST_F(FirmwareTest, AnImageIsEnteredAtTheResetVector) {
  std::vector<uint8_t> image(64 << 10, 0xf4);  // hlt
  constexpr uint8_t kPowerOff = layout::kSleepTypeS5 << 2 | layout::kSleepEnable;
  // mov dx, port; mov al, value; out dx, al
  const std::vector<uint8_t> code = {
      0xba, layout::kSleepControlPort & 0xff, layout::kSleepControlPort >> 8, 0xb0, kPowerOff, 0xee};
  std::copy(code.begin(), code.end(), image.end() - 16);
  Write(image);
  Status booted = Create();
  ASSERT_TRUE(booted.ok()) << booted.ToString();
  EXPECT_TRUE(loop_->Run().ok());
  EXPECT_EQ(end_.kind, MachineEnd::Kind::kPoweredOff) << end_.message;
}

TEST_F(FirmwareTest, RefusesAnImageOfAnImpossibleSize) {
  for (const size_t size : {size_t{0}, size_t{100}, size_t{17} << 20}) {
    Write(std::vector<uint8_t>(size, 0));
    Status refused = Create();
    EXPECT_EQ(refused.code(), StatusCode::kInvalidArgument) << size;
    EXPECT_EQ(refused.field(), "firmware");
  }
}

}  // namespace
}  // namespace berth::vmm
