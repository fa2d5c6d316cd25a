#include "vmm/machine/machine.h"

#include <cerrno>
#include <cstring>

#include "common/file.h"
#include "tests/vmm/machine/machine_fixture.h"

namespace berth::vmm {
namespace {

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

TEST_F(MachineTest, WritesACoreFileOfThePausedGuest) {
  config_.cpus.boot = 2;
  ASSERT_TRUE(Create().ok());
  ASSERT_TRUE(machine_->Boot().ok());
  const std::string path = directory_ + "/core";
  EXPECT_EQ(machine_->CoreDump(path).code(), StatusCode::kFailedPrecondition);
  ASSERT_TRUE(machine_->Perform(VmAction::kPause).ok());

  ASSERT_TRUE(machine_->CoreDump(path).ok());

  EXPECT_EQ(machine_->CoreDump(path).code(), StatusCode::kAlreadyExists);
  std::string core = *ReadFile(path, 128 << 20);
  EXPECT_EQ(core.substr(0, 4),
            "\x7f"
            "ELF");
  auto number = [&core](size_t at, size_t width) {
    uint64_t value = 0;
    std::memcpy(&value, &core[at], width);
    return value;
  };
  EXPECT_EQ(number(16, 2), 4u) << "a core file";
  EXPECT_EQ(number(56, 2), 2u) << "notes and one region";
  const size_t notes = number(64 + 8, 8), load = number(120 + 8, 8);
  EXPECT_EQ(number(120 + 40, 8), 64u << 20);
  EXPECT_EQ(core.size(), load + (64u << 20));
  // Two notes with registers: the first has the entry point of the kernel.
  constexpr size_t kNote = 12 + 8 + 336, kRip = 12 + 8 + 112 + 16 * 8;
  EXPECT_EQ(number(64 + 32, 8), 2 * kNote);
  EXPECT_EQ(number(notes + kRip, 8), 0x100200u);
  EXPECT_EQ(core.substr(load + layout::kCommandLine, 13), "console=ttyS0");
  EXPECT_EQ(std::filesystem::status(path).permissions(),
            std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
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
  kvm_.Script(0, {ScriptedExit::Out(0x80, {1})});
  ASSERT_TRUE(Create().ok());
  ASSERT_TRUE(machine_->Boot().ok());
  while (kvm_.vm().vcpus.at(0).completed.size() < 5) std::this_thread::yield();

  ASSERT_TRUE(machine_->Perform(VmAction::kPowerButton).ok());

  std::vector<MsiMessage> expected = {{0xfee00000, 0x41}};
  EXPECT_EQ(kvm_.vm().signalled, expected);
}

TEST_F(MachineTest, NamesWhatCannotBeCarriedOut) {
  config_.disks.emplace_back();
  config_.disks[0].path = "/nonexistent/disk";
  config_.disks[0].id = "disk0";
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
