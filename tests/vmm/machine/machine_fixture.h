#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "tests/vmm/boot/kernel_image.h"
#include "vmm/bus/layout.h"
#include "vmm/kvm/fake_kvm.h"
#include "vmm/machine/machine.h"

namespace berth::vmm {

// A machine on FakeKvm whose guest is a script of exits. The test's thread is the control loop.
class MachineTest : public testing::Test {
 protected:
  void SetUp() override {
    directory_ =
        testing::TempDir() + "machine_" + testing::UnitTest::GetInstance()->current_test_info()->name();
    std::filesystem::remove_all(directory_);
    std::filesystem::create_directories(directory_);
    KernelImage image;
    std::ofstream(directory_ + "/vmlinuz", std::ios::binary)
        .write(reinterpret_cast<const char*>(image.bytes().data()), static_cast<long>(image.bytes().size()));
    config_.kernel = directory_ + "/vmlinuz";
    config_.cmdline = "console=ttyS0";
    config_.memory.size = MiB(64);
    config_.serial.mode = SerialConfig::Mode::kFile;
    config_.serial.path = directory_ + "/serial";
  }
  void TearDown() override {
    machine_.reset();
    std::filesystem::remove_all(directory_);
  }

  Status Create() {
    auto machine = Machine::Create(kvm_, config_, *loop_, [this](MachineEnd end) {
      end_ = std::move(end);
      loop_->Stop();
    });
    if (!machine.has_value()) return machine.error();
    machine_ = *std::move(machine);
    return OkStatus();
  }
  // Until the machine has ended.
  MachineEnd RunToEnd() {
    EXPECT_TRUE(loop_->Run().ok());
    return end_;
  }

  static ScriptedExit PowerOff() {
    return ScriptedExit::Out(layout::kSleepControlPort, {layout::kSleepTypeS5 << 2 | layout::kSleepEnable});
  }
  static ScriptedExit Reset() { return ScriptedExit::Out(layout::kResetPort, {layout::kResetValue}); }

  std::string directory_;
  VmConfig config_;
  FakeKvm kvm_;
  std::unique_ptr<EventLoop> loop_ = *EventLoop::Create();
  MachineEnd end_;
  std::unique_ptr<Machine> machine_;
};

// The guest of these tests does nothing by itself: the test plays its part on the buses by scripted exits.
class ScriptedGuestTest : public MachineTest {
 protected:
  static constexpr uint64_t kPlatform = (uint64_t{1} << 36) - layout::kPlatformAreaSize;

  void Start() {
    ASSERT_TRUE(Create().ok());
    ASSERT_TRUE(machine_->Boot().ok());
  }
  // Runs exits on vCPU 0 and waits until they are served.
  void Guest(std::vector<ScriptedExit> exits) {
    done_ += exits.size();
    kvm_.Script(0, std::move(exits));
    kvm_.Script(0, {ScriptedExit::Out(0x80, {1})});
    ++done_;
    while (kvm_.vm().vcpus.at(0).completed.size() < done_ - 1) std::this_thread::yield();
  }
  static std::vector<uint8_t> Bytes(uint32_t value) {
    return {static_cast<uint8_t>(value), static_cast<uint8_t>(value >> 8), static_cast<uint8_t>(value >> 16),
            static_cast<uint8_t>(value >> 24)};
  }

  size_t done_ = 0;
};

}  // namespace berth::vmm
