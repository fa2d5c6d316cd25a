#include "vmm/machine/machine.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <thread>

#include "common/file.h"
#include "tests/vmm/boot/kernel_image.h"
#include "vmm/bus/layout.h"
#include "vmm/kvm/fake_kvm.h"

namespace berth::vmm {
namespace {

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

TEST_F(MachineTest, PrintsOnTheSerialPortAndPowersOff) {
  kvm_.Script(0, {ScriptedExit::Out(layout::kCom1Port, {'h', 'i', '\n'}), PowerOff()});
  ASSERT_TRUE(Create().ok());
  ASSERT_TRUE(machine_->Boot().ok());

  MachineEnd end = RunToEnd();

  EXPECT_EQ(end.kind, MachineEnd::Kind::kPoweredOff);
  EXPECT_EQ(machine_->Facts().state, VmState::kShutdown);
  machine_.reset();
  EXPECT_EQ(*ReadFile(directory_ + "/serial"), "hi\n");
}

TEST_F(MachineTest, SetsUpEveryVcpuAndTheMemory) {
  config_.cpus.boot = 3;
  for (const char* id : {"m0", "m1"}) {
    MemoryZoneConfig zone;
    zone.id = id;
    zone.size = MiB(32);
    config_.memory_zones.push_back(zone);
  }
  config_.memory.size = ByteSize();
  config_.numa = {{.guest_numa_id = 0, .cpus = {0, 1}, .distances = {}, .memory_zones = {"m0"}},
                  {.guest_numa_id = 1, .cpus = {2}, .distances = {}, .memory_zones = {"m1"}}};
  ASSERT_TRUE(Create().ok());

  ASSERT_TRUE(machine_->Boot().ok());

  FakeVm vm = kvm_.vm();
  EXPECT_EQ(vm.split_irqchip_pins, 24u);
  EXPECT_TRUE(vm.x2apic_ids);
  ASSERT_EQ(vm.slots.size(), 2u);
  EXPECT_EQ(Raw(vm.slots.at(1).gpa), 32u << 20);
  ASSERT_EQ(vm.vcpus.size(), 3u);
  EXPECT_TRUE(vm.vcpus.contains(2));  // APIC id of the second socket's first core
  EXPECT_EQ(vm.vcpus.at(0).state.regs.rip, 0x100200u);
  EXPECT_EQ(vm.vcpus.at(0).state.regs.rsi, 0x7000u);
  EXPECT_EQ(vm.vcpus.at(1).state.regs.rip, 0u);  // waits for the first to start it
  EXPECT_EQ(machine_->Facts().vcpus.size(), 3u);
  EXPECT_EQ(machine_->Facts().memory_regions.size(), 2u);
}

TEST_F(MachineTest, ResetsInPlace) {
  kvm_.Script(0, {Reset()});
  ASSERT_TRUE(Create().ok());
  ASSERT_TRUE(machine_->Boot().ok());
  uint64_t address = machine_->Facts().memory_regions[0].host_address;
  std::thread guest([this] {
    while (kvm_.vms_created() < 2) std::this_thread::yield();
    kvm_.Script(0, {ScriptedExit::Out(layout::kCom1Port, {'2'}), PowerOff()});
  });

  RunToEnd();

  guest.join();
  EXPECT_EQ(end_.kind, MachineEnd::Kind::kPoweredOff);
  EXPECT_EQ(machine_->Counters()["vm"]["boots"], 2u);
  EXPECT_EQ(machine_->Facts().memory_regions[0].host_address, address);
}

TEST_F(MachineTest, TakesATripleFaultForAReset) {
  kvm_.Script(0, {{ShutdownExit{}, {}}});
  ASSERT_TRUE(Create().ok());
  ASSERT_TRUE(machine_->Boot().ok());
  std::thread guest([this] {
    while (kvm_.vms_created() < 2) std::this_thread::yield();
    kvm_.Script(0, {PowerOff()});
  });

  EXPECT_EQ(RunToEnd().kind, MachineEnd::Kind::kPoweredOff);

  guest.join();
}

TEST_F(MachineTest, EndsWithTheReasonWhenKvmCannotGoOn) {
  InternalErrorExit error;
  error.suberror = KVM_INTERNAL_ERROR_EMULATION;
  kvm_.Script(0, {{error, {}}});
  ASSERT_TRUE(Create().ok());
  ASSERT_TRUE(machine_->Boot().ok());

  MachineEnd end = RunToEnd();

  EXPECT_EQ(end.kind, MachineEnd::Kind::kFailed);
  EXPECT_TRUE(end.message.starts_with("vCPU 0: KVM met an instruction that KVM cannot emulate at rip="))
      << end.message;
}

TEST_F(MachineTest, PausesAndResumes) {
  config_.cpus.boot = 2;
  ASSERT_TRUE(Create().ok());
  EXPECT_EQ(machine_->Perform(VmAction::kPause).message(), "pause: the VM is Created, must be Running");
  ASSERT_TRUE(machine_->Boot().ok());

  EXPECT_TRUE(machine_->Perform(VmAction::kPause).ok());
  EXPECT_EQ(machine_->Facts().state, VmState::kPaused);
  EXPECT_EQ(machine_->Perform(VmAction::kPowerButton).code(), StatusCode::kFailedPrecondition);
  EXPECT_TRUE(machine_->Perform(VmAction::kResume).ok());
  EXPECT_EQ(machine_->Facts().state, VmState::kRunning);
  EXPECT_EQ(machine_->Perform(VmAction::kResume).code(), StatusCode::kFailedPrecondition);
}

TEST_F(MachineTest, BootsAgainAfterAShutdown) {
  ASSERT_TRUE(Create().ok());
  ASSERT_TRUE(machine_->Boot().ok());
  EXPECT_FALSE(machine_->Boot().ok());

  ASSERT_TRUE(machine_->Perform(VmAction::kShutdown).ok());
  EXPECT_EQ(machine_->Facts().state, VmState::kShutdown);
  EXPECT_EQ(machine_->Facts().vcpus[0].tid, 0);
  EXPECT_FALSE(machine_->Perform(VmAction::kShutdown).ok());
  EXPECT_FALSE(machine_->Perform(VmAction::kReboot).ok());
  EXPECT_TRUE(machine_->Boot().ok());
}

TEST_F(MachineTest, RebootsAndExitsWhenItIsAskedTo) {
  ASSERT_TRUE(Create().ok());
  ASSERT_TRUE(machine_->Boot().ok());

  ASSERT_TRUE(machine_->Perform(VmAction::kReboot).ok());
  std::thread client([this] {
    while (machine_->Counters()["vm"]["boots"] < 2) std::this_thread::yield();
    EXPECT_TRUE(machine_->Perform(VmAction::kExit).ok());
  });

  EXPECT_EQ(RunToEnd().kind, MachineEnd::Kind::kPoweredOff);
  client.join();
}

TEST_F(MachineTest, InterruptsTheGuestForThePowerButton) {
  // The guest unmasks the pin of the generic event device: vector 0x41, edge triggered, to APIC 0.
  constexpr uint64_t kEntry = 0x10 + 2 * layout::kGedIrq;
  auto write = [](uint8_t select, uint32_t value) {
    std::vector<uint8_t> bytes(4);
    std::memcpy(bytes.data(), &value, 4);
    return std::vector<ScriptedExit>{ScriptedExit::MmioWrite(layout::kIoApicBase, {select, 0, 0, 0}),
                                     ScriptedExit::MmioWrite(layout::kIoApicBase + 0x10, bytes)};
  };
  kvm_.Script(0, write(kEntry + 1, 0));
  kvm_.Script(0, write(kEntry, 0x41));
  kvm_.Script(0, {ScriptedExit::Out(layout::kDebugPort, {1})});
  ASSERT_TRUE(Create().ok());
  ASSERT_TRUE(machine_->Boot().ok());
  while (kvm_.vm().vcpus.at(0).completed.size() < 5) std::this_thread::yield();

  ASSERT_TRUE(machine_->Perform(VmAction::kPowerButton).ok());

  std::vector<MsiMessage> expected = {{0xfee00000, 0x41}};
  EXPECT_EQ(kvm_.vm().signalled, expected);
}

TEST_F(MachineTest, NamesWhatCannotBeCarriedOut) {
  config_.disks = {{.path = "/nonexistent/disk", .readonly = false, .direct = false, .id = "disk0"}};
  ASSERT_TRUE(Create().ok());
  Status status = machine_->Boot();
  EXPECT_EQ(status.code(), StatusCode::kNotFound);
  EXPECT_EQ(status.field(), "disk disk0");

  config_.disks.clear();
  config_.initramfs = "/nonexistent/initrd";
  ASSERT_TRUE(Create().ok());
  EXPECT_EQ(machine_->Boot().message(), "open /nonexistent/initrd: No such file or directory");

  config_.initramfs.reset();
  config_.memory.size = MiB(8);
  ASSERT_TRUE(Create().ok());
  EXPECT_EQ(machine_->Boot().code(), StatusCode::kOutOfRange);
}

// Whichever call of KVM fails, the machine says so, leaves nothing behind, and boots the next time.
TEST_F(MachineTest, SurvivesEveryFailureOfKvm) {
  constexpr KvmCall kCalls[] = {
      KvmCall::kProbe,           KvmCall::kSupportedCpuid, KvmCall::kCreateVm,
      KvmCall::kSetMemorySlot,   KvmCall::kReservePages,   KvmCall::kEnableSplitIrqchip,
      KvmCall::kEnableX2apicIds, KvmCall::kCreateVcpu,     KvmCall::kSetCpuid,
      KvmCall::kSetMsrs,         KvmCall::kGetState,       KvmCall::kSetState,
      KvmCall::kGetLapic,        KvmCall::kSetLapic,
  };
  config_.cpus.boot = 2;
  ASSERT_TRUE(Create().ok());
  for (KvmCall call : kCalls) {
    kvm_.FailCall(call, ENOMEM);
    Status status = machine_->Boot();
    EXPECT_EQ(status.code(), StatusCode::kResourceExhausted) << static_cast<int>(call);
    EXPECT_EQ(machine_->Facts().vcpus[0].tid, 0);
  }
  EXPECT_TRUE(machine_->Boot().ok());
}

}  // namespace
}  // namespace berth::vmm
