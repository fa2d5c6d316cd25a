#include "vmm/machine/machine.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <thread>

#include "common/file.h"
#include "tests/vmm/boot/kernel_image.h"
#include "vmm/bus/layout.h"
#include "vmm/kvm/fake_kvm.h"
#include "vmm/machine/event_monitor.h"
#include "vmm/virtio/pci_transport.h"

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

// ---- Hot-plug -----------------------------------------------------------------------------------------

// The guest of these tests does nothing by itself: the test plays its part on the buses by scripted exits.
class HotplugTest : public MachineTest {
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
  HotplugFacts Request(const std::string& subject) {
    for (const HotplugFacts& facts : machine_->Facts().hotplug) {
      if (facts.subject == subject) return facts;
    }
    return {};
  }
  Status Resize(std::optional<uint32_t> vcpus, std::optional<uint64_t> ram) {
    ResizeRequest request;
    request.vcpus = vcpus;
    request.ram = ram;
    return machine_->Resize(request);
  }
  static uint64_t Bytes64(uint64_t mebibytes) { return mebibytes << 20; }

  size_t done_ = 0;
};

TEST_F(HotplugTest, VcpusComeAndGo) {
  config_.cpus.boot = 1;
  config_.cpus.max = 4;
  Start();
  ASSERT_TRUE(Resize(3, std::nullopt).ok());
  EXPECT_EQ(kvm_.vm().vcpus.size(), 3u);
  EXPECT_EQ(Request("vcpus").state, HotplugState::kDone);
  EXPECT_EQ(machine_->config().cpus.boot, 3u);
  EXPECT_NE(machine_->Facts().vcpus[2].tid, 0);

  ASSERT_TRUE(Resize(1, std::nullopt).ok());
  EXPECT_EQ(Request("vcpus").state, HotplugState::kPending);
  EXPECT_EQ(Request("vcpus").actual, 3u);
  EXPECT_EQ(machine_->Facts().vcpus.size(), 3u) << "those that are still there";
  // The guest gives back 2, then 1: selects each and ejects it.
  for (uint32_t vcpu : {2u, 1u}) {
    Guest({ScriptedExit::MmioWrite(kPlatform + layout::kCpuHotplugOffset, Bytes(vcpu)),
           ScriptedExit::MmioWrite(kPlatform + layout::kCpuHotplugOffset + 4, {8})});
  }
  EXPECT_EQ(Request("vcpus").state, HotplugState::kDone);

  ASSERT_TRUE(Resize(2, std::nullopt).ok()) << "the parked one comes back";
  EXPECT_EQ(kvm_.vm().vcpus.size(), 3u);
  EXPECT_EQ(Resize(5, std::nullopt).message(), "a guest with 5 vCPUs; this one can have 1 to 4");
  EXPECT_EQ(Resize(0, std::nullopt).code(), StatusCode::kInvalidArgument);
}

TEST_F(HotplugTest, VcpusThatAreToStayAfterAllAreNotTakenOut) {
  config_.cpus.boot = 4;
  config_.cpus.max = 4;
  Start();
  auto status = [this](uint32_t vcpu) {
    Guest({ScriptedExit::MmioWrite(kPlatform + layout::kCpuHotplugOffset, Bytes(vcpu)),
           ScriptedExit::MmioRead(kPlatform + layout::kCpuHotplugOffset + 4, 1)});
    return kvm_.vm().vcpus.at(0).completed.at(done_ - 2)[0];
  };
  ASSERT_TRUE(Resize(2, std::nullopt).ok());
  EXPECT_EQ(status(3), 5) << "enabled, to be taken out";
  ASSERT_TRUE(Resize(3, std::nullopt).ok());
  EXPECT_EQ(status(2), 1);
  EXPECT_EQ(status(3), 5);
  ASSERT_TRUE(Resize(4, std::nullopt).ok());
  EXPECT_EQ(status(3), 1);
  EXPECT_EQ(Request("vcpus").state, HotplugState::kDone);
}

// What a running VM has come to must be a configuration that may be written down.
TEST_F(HotplugTest, DevicesAreAddedBesideABalloonOfAddedMemoryAndANodeWithoutItsDevice) {
  const std::string image = directory_ + "/image";
  std::ofstream(image) << std::string(1 << 20, 'x');
  std::ofstream(image + "2") << std::string(1 << 20, 'x');
  config_.memory.hotplug_size = GiB(1);
  config_.balloon.emplace();
  config_.disks.emplace_back();
  config_.disks[0].path = image;
  config_.disks[0].id = "first";
  config_.numa.resize(2);
  config_.numa[0].cpus = CpuSet::Range(0, config_.cpus.boot - 1);
  config_.numa[1].guest_numa_id = 1;
  config_.numa[1].device_id = "first";
  Start();
  ASSERT_TRUE(Resize(std::nullopt, Bytes64(64 + 256)).ok());
  ResizeRequest request;
  request.balloon = Bytes64(128);
  ASSERT_EQ(machine_->Resize(request), OkStatus());
  ASSERT_TRUE(machine_->RemoveDevice("first", std::chrono::milliseconds(60000)).ok());
  Guest({ScriptedExit::MmioWrite(kPlatform + layout::kPciHotplugOffset + 8, Bytes(1 << 1)),
         ScriptedExit::MmioWrite(kPlatform + layout::kPciHotplugOffset + 8, Bytes(1 << 2)),
         ScriptedExit::MmioWrite(kPlatform + layout::kPciHotplugOffset + 8, Bytes(1 << 3))});
  loop_->Stop();
  ASSERT_TRUE(loop_->Run().ok());
  ASSERT_TRUE(machine_->config().disks.empty());

  Result<AddedDevice> added = machine_->AddDevice("disk", R"({"path":")" + image + R"(2"})");
  EXPECT_TRUE(added.has_value()) << added.status().ToString();
}

TEST_F(HotplugTest, MemoryIsAddedByAcpiAndStays) {
  config_.memory.hotplug_size = GiB(1);
  Start();
  ASSERT_TRUE(Resize(std::nullopt, Bytes64(64 + 256)).ok());
  EXPECT_EQ(Request("memory").state, HotplugState::kPending) << "the guest has not looked";
  EXPECT_EQ(Request("memory").actual, Bytes64(64));
  ASSERT_EQ(kvm_.vm().slots.size(), 3u);
  EXPECT_EQ(Raw(kvm_.vm().slots.at(1).gpa), layout::kHighRam);
  const uint64_t registers = kPlatform + layout::kMemoryHotplugOffset;
  Guest({ScriptedExit::MmioWrite(registers + 24, Bytes(0)), ScriptedExit::MmioWrite(registers + 28, {2})});
  EXPECT_EQ(Request("memory").state, HotplugState::kDone);

  EXPECT_EQ(Resize(std::nullopt, Bytes64(64 + 128)).message(),
            "memory that was added by ACPI cannot be taken back: 192M are below the present 320M");
  EXPECT_EQ(Resize(std::nullopt, Bytes64(32)).message(), "32M are below the size at boot, 64M");
  EXPECT_EQ(Resize(std::nullopt, Bytes64(64 + 300)).message(),
            "364M are not the 64M at boot and a multiple of 128M");
  EXPECT_EQ(Resize(std::nullopt, Bytes64(64 + 2048)).message(),
            "2112M are above the 1088M that this VM can have (size and hotplug_size)");
  EXPECT_EQ(machine_->ResizeZone("mem0", Bytes64(192), {}).message(),
            "zones can be resized only by virtio-mem");

  ASSERT_TRUE(machine_->Perform(VmAction::kShutdown).ok());
  ASSERT_TRUE(machine_->Boot().ok());
  EXPECT_EQ(kvm_.vm().slots.size(), 3u) << "after a reset the guest still has it";
}

TEST_F(HotplugTest, ZonesAreResizedByTheirMemoryDevices) {
  config_.memory.size = ByteSize();
  config_.memory.hotplug_method = HotplugMethod::kVirtioMem;
  MemoryZoneConfig zone;
  zone.id = "m0";
  zone.size = MiB(64);
  zone.hotplug_size = MiB(256);
  zone.hotplugged_size = MiB(128);
  config_.memory_zones = {zone};
  Start();
  EXPECT_EQ(machine_->Facts().devices.back().id, "rng0");
  EXPECT_EQ(Request("zone m0").wanted, Bytes64(64 + 128)) << "from the configuration";
  ASSERT_TRUE(machine_->ResizeZone("m0", Bytes64(64 + 32), std::chrono::milliseconds(0)).ok());
  EXPECT_EQ(Request("zone m0").wanted, Bytes64(96));
  EXPECT_EQ(Request("zone m0").state, HotplugState::kTimedOut) << "there is no guest that would plug";
  EXPECT_EQ(machine_->config().memory_zones[0].hotplugged_size, MiB(32));
  ASSERT_TRUE(machine_->Perform(VmAction::kShutdown).ok());
  ASSERT_TRUE(machine_->Boot().ok());
  EXPECT_EQ(Request("zone m0").wanted, Bytes64(96)) << "the next guest is asked for the same";
  ASSERT_TRUE(machine_->ResizeZone("m0", Bytes64(64), {}).ok());
  EXPECT_EQ(machine_->config().memory_zones[0].hotplugged_size, std::nullopt);
  EXPECT_EQ(machine_->ResizeZone("m0", Bytes64(63), {}).message(),
            "zone m0 can have 64M to 320M in steps of 2M, not 63M");
  EXPECT_EQ(machine_->ResizeZone("m1", Bytes64(64), {}).code(), StatusCode::kNotFound);
  EXPECT_EQ(Resize(std::nullopt, Bytes64(96)).message(), "the memory of this VM is described by zones");
}

TEST_F(HotplugTest, NothingIsAddedWithoutRoomForIt) {
  Start();
  EXPECT_EQ(Resize(std::nullopt, Bytes64(192)).message(), "no memory can be added to this VM");
  EXPECT_TRUE(Resize(std::nullopt, Bytes64(64)).ok());
}

TEST_F(HotplugTest, DisksComeAndGo) {
  const std::string image = directory_ + "/image";
  std::ofstream(image) << std::string(1 << 20, 'x');
  Start();
  Result<AddedDevice> added = machine_->AddDevice("disk", R"({"path":")" + image + R"("})");
  ASSERT_TRUE(added.has_value()) << added.status().ToString();
  EXPECT_EQ(added->id, "disk0");
  EXPECT_EQ(added->place, "0000:00:02.0");
  EXPECT_EQ(machine_->config().disks.size(), 1u);
  EXPECT_EQ(machine_->AddDevice("disk", R"({"path":")" + image + R"("})").status().code(),
            StatusCode::kInvalidArgument)
      << "the same file twice";

  ASSERT_TRUE(machine_->RemoveDevice("disk0", std::chrono::milliseconds(60000)).ok());
  EXPECT_EQ(Request("device disk0").state, HotplugState::kPending);
  Guest({ScriptedExit::MmioWrite(kPlatform + layout::kPciHotplugOffset + 8, Bytes(1 << 2))});
  EXPECT_EQ(Request("device disk0").state, HotplugState::kDone);
  loop_->Stop();
  ASSERT_TRUE(loop_->Run().ok());
  EXPECT_TRUE(machine_->config().disks.empty());
  EXPECT_EQ(machine_->RemoveDevice("disk0", {}).code(), StatusCode::kNotFound);
  EXPECT_TRUE(machine_->AddDevice("disk", R"({"path":")" + image + R"("})").has_value())
      << "the lock is gone";
}

TEST_F(HotplugTest, TheVsockDeviceComesAndGoes) {
  const std::string vsock = R"({"cid":5,"socket":")" + directory_ + R"(/v"})";
  Start();
  Result<AddedDevice> added = machine_->AddDevice("vsock", vsock);
  ASSERT_TRUE(added.has_value()) << added.status().ToString();
  EXPECT_EQ(added->id, "vsock0");
  EXPECT_EQ(machine_->config().vsock->cid, 5u);
  EXPECT_EQ(access((directory_ + "/v").c_str(), F_OK), 0) << "it listens";
  EXPECT_EQ(machine_->AddDevice("vsock", vsock).status().code(), StatusCode::kInvalidArgument)
      << "there is one";

  ASSERT_TRUE(machine_->RemoveDevice("vsock0", std::chrono::milliseconds(60000)).ok());
  Guest({ScriptedExit::MmioWrite(kPlatform + layout::kPciHotplugOffset + 8, Bytes(1 << 2))});
  loop_->Stop();
  ASSERT_TRUE(loop_->Run().ok());
  EXPECT_FALSE(machine_->config().vsock.has_value());
  EXPECT_NE(access((directory_ + "/v").c_str(), F_OK), 0);
  EXPECT_TRUE(machine_->AddDevice("vsock", vsock).has_value());
}

// The control loop comes to the ejected device only after its board is gone.
TEST_F(HotplugTest, AnEjectedDeviceDoesNotOutliveItsBoard) {
  const std::string image = directory_ + "/image";
  std::ofstream(image) << std::string(1 << 20, 'x');
  Start();
  ASSERT_TRUE(machine_->AddDevice("disk", R"({"path":")" + image + R"("})").has_value());
  ASSERT_TRUE(machine_->RemoveDevice("disk0", std::chrono::milliseconds(60000)).ok());
  Guest({ScriptedExit::MmioWrite(kPlatform + layout::kPciHotplugOffset + 8, Bytes(1 << 2))});

  ASSERT_TRUE(machine_->Perform(VmAction::kShutdown).ok());

  EXPECT_TRUE(machine_->config().disks.empty());
  loop_->Stop();
  ASSERT_TRUE(loop_->Run().ok());
  EXPECT_TRUE(machine_->Boot().ok());
  EXPECT_EQ(machine_->Facts().devices.size(), 1u) << "without the disk";
}

TEST_F(HotplugTest, DevicesMaySitInOtherSegments) {
  config_.platform.num_pci_segments = 3;
  config_.disks.emplace_back();
  config_.disks[0].path = directory_ + "/vmlinuz";
  config_.disks[0].readonly = true;
  config_.disks[0].id = "disk0";
  config_.disks[0].pci_segment = 2;
  Start();
  EXPECT_EQ(machine_->Facts().devices[0].place, "0002:00:00.0");
  EXPECT_EQ(machine_->AddDevice("disk", R"({"path":"/x","pci_segment":3})").status().code(),
            StatusCode::kInvalidArgument);
}

// Nobody asks: the events tell how it went.
class HotplugEventsTest : public HotplugTest {
 protected:
  void SetUp() override {
    HotplugTest::SetUp();
    monitor_ = *EventMonitor::Open(directory_ + "/events");
    control_ = std::thread([this] { EXPECT_TRUE(loop_->Run().ok()); });
  }
  void TearDown() override {
    loop_->Stop();
    control_.join();
    HotplugTest::TearDown();
  }
  void StartWithMonitor() {
    auto machine = Machine::Create(kvm_, config_, *loop_, [](MachineEnd) {}, monitor_.get());
    ASSERT_TRUE(machine.has_value()) << machine.error().ToString();
    machine_ = *std::move(machine);
    ASSERT_TRUE(machine_->Boot().ok());
  }
  // Of changes, in their order, when there are so many of them: "vcpus 3 of 3 Done".
  std::vector<std::string> Changes(size_t count) {
    std::vector<std::string> changes;
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    while (changes.size() < count && std::chrono::steady_clock::now() < deadline) {
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
      changes.clear();
      std::istringstream lines(*ReadFile(directory_ + "/events"));
      for (std::string line; std::getline(lines, line);) {
        const auto event = nlohmann::json::parse(line, nullptr, false);
        if (!event.is_object() || event["event"] != "hotplug_changed") continue;
        EXPECT_EQ(event["source"], "vm");
        const auto text = [&event](const char* name) { return event["properties"][name].get<std::string>(); };
        changes.push_back(text("subject") + " " + text("actual") + " of " + text("wanted") + " " +
                          text("state"));
      }
    }
    return changes;
  }

  std::unique_ptr<EventMonitor> monitor_;
  std::thread control_;
};

TEST_F(HotplugEventsTest, WhatTheGuestHasDoneIsTold) {
  config_.cpus.max = 4;
  config_.memory.hotplug_size = GiB(1);
  StartWithMonitor();
  ASSERT_TRUE(Resize(3, std::nullopt).ok());
  EXPECT_EQ(Changes(1), (std::vector<std::string>{"vcpus 3 of 3 Done"}));

  ASSERT_TRUE(Resize(std::nullopt, Bytes64(64 + 128)).ok());
  std::this_thread::sleep_for(std::chrono::milliseconds(150));
  EXPECT_EQ(Changes(1).size(), 1u) << "the guest has not looked";
  const uint64_t registers = kPlatform + layout::kMemoryHotplugOffset;
  Guest({ScriptedExit::MmioWrite(registers + 24, Bytes(0)), ScriptedExit::MmioWrite(registers + 28, {2})});
  EXPECT_EQ(Changes(2),
            (std::vector<std::string>{"vcpus 3 of 3 Done", "memory 201326592 of 201326592 Done"}));
}

TEST_F(HotplugEventsTest, AGuestThatTakesItsTimeIsToldOfTwice) {
  std::ofstream(directory_ + "/image") << std::string(1 << 20, 'x');
  StartWithMonitor();
  ASSERT_TRUE(machine_->AddDevice("disk", R"({"path":")" + directory_ + R"(/image"})").has_value());
  EXPECT_EQ(Changes(1), (std::vector<std::string>{"device disk0 1 of 1 Done"}));
  ASSERT_TRUE(machine_->RemoveDevice("disk0", std::chrono::milliseconds(20)).ok());
  EXPECT_EQ(Changes(2).back(), "device disk0 1 of 0 TimedOut");

  Guest({ScriptedExit::MmioWrite(kPlatform + layout::kPciHotplugOffset + 8, Bytes(1 << 2))});

  EXPECT_EQ(Changes(3).back(), "device disk0 0 of 0 Done");
}

TEST_F(HotplugEventsTest, WhatIsNotDoneWhenTheGuestEndsIsToldAsDropped) {
  config_.memory.hotplug_size = GiB(1);
  StartWithMonitor();
  ASSERT_TRUE(Resize(std::nullopt, Bytes64(64 + 128)).ok());

  ASSERT_TRUE(machine_->Perform(VmAction::kShutdown).ok());

  EXPECT_EQ(Changes(1), (std::vector<std::string>{"memory 0 of 201326592 Dropped"}));
}

TEST_F(HotplugEventsTest, AMachineGoesWhileItIsAskedForSomething) {
  config_.memory.hotplug_size = GiB(1);
  for (int round = 0; round < 20; ++round) {
    StartWithMonitor();
    ASSERT_TRUE(Resize(std::nullopt, Bytes64(64 + 128)).ok());
    if (round % 2 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    machine_.reset();
  }
}

// ---- Devices, as a guest's drivers reach them ----------------------------------------------------------

class DriverTest : public HotplugTest {
 protected:
  uint64_t ConfigOf(const std::string& id) {
    for (const DeviceFacts& device : machine_->Facts().devices) {
      if (device.id != id) continue;
      const uint64_t slot = std::stoul(device.place.substr(8, 2), nullptr, 16);  // "0000:00:SS.F"
      return layout::kPciConfigBase + (slot << 15);
    }
    ADD_FAILURE() << "no device " << id;
    return 0;
  }
  uint32_t Read(uint64_t address) {
    Guest({ScriptedExit::MmioRead(address, 4)});
    const std::vector<uint8_t> bytes = kvm_.vm().vcpus.at(0).completed.at(done_ - 2);
    uint32_t value = 0;
    std::memcpy(&value, bytes.data(), std::min(bytes.size(), sizeof value));
    return value;
  }
  // The address of a BAR of 32 or 64 bits, with the device enabled.
  uint64_t Enable(const std::string& id, uint32_t bar) {
    const uint64_t config = ConfigOf(id), at = config + 0x10 + 4 * bar;
    Guest({ScriptedExit::MmioWrite(config + 4, {6, 0})});  // memory, bus master
    const uint32_t low = Read(at);
    return (low & ~15u) | ((low & 4) != 0 ? uint64_t{Read(at + 4)} << 32 : 0);
  }
};

TEST_F(DriverTest, APanicOfTheGuestIsAnEvent) {
  config_.pvpanic = true;
  const std::string path = directory_ + "/events";
  const auto monitor = *EventMonitor::Open(path);
  machine_ = *Machine::Create(kvm_, config_, *loop_, [](MachineEnd) {}, monitor.get());
  ASSERT_TRUE(machine_->Boot().ok());
  const uint64_t bar = Enable("pvpanic0", 0);
  EXPECT_EQ(ReadFile(path)->find("guest"), std::string::npos);

  Guest({ScriptedExit::MmioWrite(bar, {1}), ScriptedExit::MmioWrite(bar, {2})});
  loop_->Stop();
  ASSERT_TRUE(loop_->Run().ok());

  const std::string events = *ReadFile(path);
  const size_t panic = events.find(R"("source":"guest","event":"panic","properties":{"kind":"panic"})");
  const size_t loaded =
      events.find(R"("source":"guest","event":"panic","properties":{"kind":"crash_loaded"})");
  EXPECT_NE(panic, std::string::npos) << events;
  EXPECT_NE(loaded, std::string::npos) << events;
  EXPECT_LT(panic, loaded);
  EXPECT_EQ(machine_->Facts().state, VmState::kRunning) << "what to do is for others to decide";
}

TEST_F(DriverTest, ReadsOfADiskAreCounted) {
  std::ofstream(directory_ + "/image") << std::string(1 << 20, 'x');
  config_.disks.emplace_back();
  config_.disks[0].path = directory_ + "/image";
  config_.disks[0].id = "data";
  Start();
  EXPECT_EQ(machine_->Counters()["data"]["read_bytes"], 0u);
  // One request of 1024 bytes: header, data, status.
  constexpr uint64_t kTable = 0x2000000, kAvailable = 0x2001000, kUsed = 0x2002000, kHeader = 0x2003000,
                     kStatus = 0x2003100, kData = 0x2004000;
  uint8_t* ram = reinterpret_cast<uint8_t*>(machine_->Facts().memory_regions[0].host_address);
  struct Descriptor {
    uint64_t address;
    uint32_t length;
    uint16_t flags, next;
  };
  const Descriptor table[] = {{kHeader, 16, 1, 1}, {kData, 1024, 3, 2}, {kStatus, 1, 2, 0}};
  std::memcpy(ram + kTable, table, sizeof table);
  const uint16_t available[] = {0, 1, 0};  // flags, index, head
  std::memcpy(ram + kAvailable, available, sizeof available);
  ram[kStatus] = 0xee;
  const uint64_t bar = Enable("data", 0);
  auto put = [bar](uint64_t offset, std::vector<uint8_t> bytes) {
    return ScriptedExit::MmioWrite(bar + offset, std::move(bytes));
  };
  Guest({put(20, {1}), put(20, {3}), put(8, Bytes(1)), put(12, Bytes(1)), put(20, {11}), put(22, {0, 0}),
         put(24, {8, 0}), put(32, Bytes(kTable)), put(40, Bytes(kAvailable)), put(48, Bytes(kUsed)),
         put(28, {1, 0}), put(20, {15}), put(VirtioPciTransport::kNotifyOffset, {0, 0})});
  volatile uint16_t* used = reinterpret_cast<uint16_t*>(ram + kUsed + 2);
  for (int i = 0; i < 10'000 && *used == 0; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  ASSERT_EQ(*used, 1);

  EXPECT_EQ(ram[kStatus], 0);
  EXPECT_EQ(ram[kData + 1023], 'x');
  auto counters = machine_->Counters()["data"];
  EXPECT_EQ(counters["read_bytes"], 1024u);
  EXPECT_EQ(counters["write_bytes"], 0u);
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
