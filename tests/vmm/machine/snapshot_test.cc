#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <optional>
#include <random>
#include <thread>
#include <tuple>

#include "common/file.h"
#include "tests/vmm/boot/kernel_image.h"
#include "vmm/bus/layout.h"
#include "vmm/kvm/fake_kvm.h"
#include "vmm/machine/machine.h"
#include "vmm/machine/vmm.h"
#include "vmm/virtio/tap.h"

namespace berth::vmm {
namespace {

namespace fs = std::filesystem;

// A machine on FakeKvm that is put into a snapshot, and others on FakeKvms of their own that come out of it.
class SnapshotTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = (fs::temp_directory_path() / "berth-machine-XXXXXX").string();
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    folder_ = name;
    KernelImage image;
    std::ofstream(folder_ + "/vmlinuz", std::ios::binary)
        .write(reinterpret_cast<const char*>(image.bytes().data()), static_cast<long>(image.bytes().size()));
    std::ofstream(folder_ + "/disk") << std::string(1 << 20, 'd');
    config_.kernel = folder_ + "/vmlinuz";
    config_.memory.size = MiB(32);
    config_.serial.mode = SerialConfig::Mode::kFile;
    config_.serial.path = folder_ + "/serial";
    config_.disks.emplace_back();
    config_.disks[0].path = folder_ + "/disk";
    config_.disks[0].id = "root";
  }
  void TearDown() override {
    machine_.reset();
    restored_.reset();
    fs::remove_all(folder_);
  }
  static void Ignore(MachineEnd) {}

  // Boots, plays the script, and pauses.
  void BootAndPause(std::vector<ScriptedExit> script) {
    const size_t exits = script.size();
    script.push_back(ScriptedExit::Out(0x80, {1}));  // the one before it is done when it comes
    kvm_.Script(0, std::move(script));
    auto machine = Machine::Create(kvm_, config_, *loop_, Ignore);
    ASSERT_TRUE(machine.has_value()) << machine.error().ToString();
    machine_ = *std::move(machine);
    ASSERT_EQ(machine_->Boot(), OkStatus());
    while (kvm_.vm().vcpus.at(0).completed.size() < exits) std::this_thread::yield();
    ASSERT_EQ(machine_->Perform(VmAction::kPause), OkStatus());
  }
  uint8_t* Ram(Machine& machine) {
    return reinterpret_cast<uint8_t*>(machine.Facts().memory_regions[0].host_address);
  }
  std::string directory() const { return folder_ + "/snapshot"; }
  // The saved machine has gone by then: its disks are its own.
  Status Restore(FakeKvm& kvm, const RestoreOptions& options = {}) {
    machine_.reset();
    restored_.reset();
    TRY_ASSIGN(SnapshotContent content, ReadSnapshot(directory()));
    TRY_ASSIGN(restored_, Machine::Restore(kvm, std::move(content), options, *loop_, Ignore));
    return OkStatus();
  }
  void EditConfig(const std::string& from, const std::string& to) {
    std::string json = *ReadFile(directory() + "/config.json");
    const size_t at = json.find(from);
    ASSERT_NE(at, std::string::npos) << json;
    json.replace(at, from.size(), to);
    std::ofstream(directory() + "/config.json", std::ios::trunc) << json;
  }

  std::string folder_;
  VmConfig config_;
  FakeKvm kvm_, other_kvm_;
  std::unique_ptr<EventLoop> loop_ = *EventLoop::Create();
  std::unique_ptr<Machine> machine_, restored_;
};

ScriptedExit SerialWrite(uint16_t reg, uint8_t value) {
  return ScriptedExit::Out(static_cast<uint16_t>(layout::kCom1Port + reg), {value});
}

TEST_F(SnapshotTest, AMachineComesBackAsItWas) {
  // The scratch register of the port, and the IOAPIC's third entry.
  BootAndPause({SerialWrite(7, 0x5a), ScriptedExit::MmioWrite(layout::kIoApicBase, {0x14, 0, 0, 0}),
                ScriptedExit::MmioWrite(layout::kIoApicBase + 0x10, {0x31, 0xa0, 0, 0})});
  std::memcpy(Ram(*machine_) + 0x500000, "state of the guest", 18);
  ASSERT_EQ(machine_->Snapshot(directory()), OkStatus());
  const FakeVm before = kvm_.vm();
  machine_.reset();

  ASSERT_EQ(Restore(other_kvm_), OkStatus());

  EXPECT_EQ(restored_->Facts().state, VmState::kPaused);
  EXPECT_EQ(std::memcmp(Ram(*restored_) + 0x500000, "state of the guest", 18), 0);
  const FakeVm after = other_kvm_.vm();
  EXPECT_EQ(std::memcmp(&after.vcpus.at(0).state.regs, &before.vcpus.at(0).state.regs, sizeof(kvm_regs)), 0);
  EXPECT_EQ(after.vcpus.at(0).msrs.size(), before.vcpus.at(0).msrs.size());
  // What the guest reads now; the pin's route is where level-triggered ones are.
  other_kvm_.Script(0, {ScriptedExit::In(layout::kCom1Port + 7, 1),
                        ScriptedExit::MmioRead(layout::kIoApicBase + 0x10, 4), SerialWrite(0, '!')});
  ASSERT_EQ(restored_->Perform(VmAction::kResume), OkStatus());
  while (other_kvm_.vm().vcpus.at(0).completed.size() < 2) std::this_thread::yield();
  EXPECT_EQ(other_kvm_.vm().vcpus.at(0).completed[0], (std::vector<uint8_t>{0x5a}));
  EXPECT_EQ(other_kvm_.vm().vcpus.at(0).completed[1], (std::vector<uint8_t>{0x31, 0xa0, 0, 0}));
}

TEST_F(SnapshotTest, TheSavedMachineGoesOn) {
  BootAndPause({SerialWrite(7, 1)});
  ASSERT_EQ(machine_->Snapshot(directory()), OkStatus());
  EXPECT_EQ(machine_->Facts().state, VmState::kPaused);
  kvm_.Script(0, {SerialWrite(0, 'g'), SerialWrite(0, 'o')});
  ASSERT_EQ(machine_->Perform(VmAction::kResume), OkStatus());
  while (kvm_.vm().vcpus.at(0).completed.size() < 3) std::this_thread::yield();
  EXPECT_EQ(machine_->Snapshot(directory() + "2").code(), StatusCode::kFailedPrecondition);  // it runs
}

TEST_F(SnapshotTest, AMachineWithAVirtualIommuComesBackToo) {
  config_.disks[0].iommu = true;
  BootAndPause({SerialWrite(7, 1)});
  ASSERT_EQ(machine_->Snapshot(directory()), OkStatus());

  EXPECT_EQ(Restore(other_kvm_), OkStatus());
}

TEST_F(SnapshotTest, DevicesKeepTheirSlotsAfterOneBeforeThemHasGone) {
  BootAndPause({SerialWrite(7, 1)});
  ASSERT_EQ(machine_->Perform(VmAction::kResume), OkStatus());
  std::ofstream(folder_ + "/more") << std::string(4096, 'm');
  const std::string more = R"({"id":"more","path":")" + folder_ + R"(/more"})";
  ASSERT_TRUE(machine_->AddDevice("disk", more).has_value());
  // The guest gives the first disk back: it ejects slot 1 of segment 0.
  ASSERT_EQ(machine_->RemoveDevice("root", std::chrono::milliseconds(1000)), OkStatus());
  const uint64_t hotplug = layout::PlatformAreaBase(36) + layout::kPciHotplugOffset;
  kvm_.Script(0, {ScriptedExit::MmioWrite(hotplug + 12, {0, 0, 0, 0}),
                  ScriptedExit::MmioWrite(hotplug + 8, {2, 0, 0, 0}), SerialWrite(7, 2)});
  std::thread control([this] { EXPECT_TRUE(loop_->Run().ok()); });
  while (machine_->Facts().devices.size() != 2) std::this_thread::yield();
  loop_->Stop();
  control.join();
  const auto places = machine_->Facts().devices;
  ASSERT_EQ(machine_->Perform(VmAction::kPause), OkStatus());
  ASSERT_EQ(machine_->Snapshot(directory()), OkStatus());

  ASSERT_EQ(Restore(other_kvm_), OkStatus());

  const auto found = restored_->Facts().devices;
  ASSERT_EQ(found.size(), places.size());
  for (size_t i = 0; i < found.size(); ++i) {
    EXPECT_EQ(found[i].id, places[i].id);
    EXPECT_EQ(found[i].place, places[i].place);
  }
}

TEST_F(SnapshotTest, HotPluggedCpusAndMemoryComeBack) {
  config_.cpus.max = 4;
  config_.memory.hotplug_size = GiB(1);
  BootAndPause({SerialWrite(7, 1)});
  ASSERT_EQ(machine_->Perform(VmAction::kResume), OkStatus());
  ResizeRequest request;
  request.vcpus = 3;
  request.ram = MiB(32 + 256).bytes();
  ASSERT_EQ(machine_->Resize(request), OkStatus());
  ASSERT_EQ(machine_->Perform(VmAction::kPause), OkStatus());
  const auto area = machine_->Facts().memory_regions.back();
  reinterpret_cast<uint8_t*>(area.host_address)[200 << 20] = 0x77;
  ASSERT_EQ(machine_->Snapshot(directory()), OkStatus());

  ASSERT_EQ(Restore(other_kvm_), OkStatus());

  EXPECT_EQ(other_kvm_.vm().vcpus.size(), 3u);
  const auto again = restored_->Facts().memory_regions.back();
  EXPECT_EQ(again.plugged, 256u << 20);
  EXPECT_EQ(reinterpret_cast<uint8_t*>(again.host_address)[200 << 20], 0x77);
  EXPECT_EQ(other_kvm_.vm().slots.size(), kvm_.vm().slots.size());
}

TEST_F(SnapshotTest, MemoryInASharedFileIsNotCopied) {
  config_.memory.size = ByteSize();
  config_.memory_zones.resize(2);
  config_.memory_zones[0].id = "kept";
  config_.memory_zones[0].size = MiB(16);
  config_.memory_zones[0].file = folder_ + "/ram";
  config_.memory_zones[0].shared = true;
  config_.memory_zones[1].id = "copied";
  config_.memory_zones[1].size = MiB(16);
  BootAndPause({SerialWrite(7, 1)});
  Ram(*machine_)[12 << 20] = 0x11;
  ASSERT_EQ(machine_->Snapshot(directory()), OkStatus());
  EXPECT_EQ(fs::file_size(directory() + "/memory"), 16u << 20);
  machine_.reset();

  ASSERT_EQ(Restore(other_kvm_), OkStatus());

  EXPECT_EQ(Ram(*restored_)[12 << 20], 0x11);
}

TEST_F(SnapshotTest, MemoryInASharedFileIsNotInvented) {
  config_.memory.size = ByteSize();
  config_.memory_zones.resize(1);
  config_.memory_zones[0].id = "kept";
  config_.memory_zones[0].size = MiB(32);
  config_.memory_zones[0].file = folder_ + "/ram";
  config_.memory_zones[0].shared = true;
  BootAndPause({SerialWrite(7, 1)});
  ASSERT_EQ(machine_->Snapshot(directory()), OkStatus());
  machine_.reset();
  EXPECT_TRUE(ReadSnapshot(directory())->config.memory_zones[0].restored);

  fs::resize_file(folder_ + "/ram", 16 << 20);
  EXPECT_EQ(Restore(other_kvm_).message(),
            "memory zone kept: " + folder_ + "/ram has 16M, the zone needs 32M");
  fs::remove(folder_ + "/ram");
  EXPECT_EQ(Restore(other_kvm_).message(),
            "memory zone kept: " + folder_ + "/ram does not exist, the zone needs 32M");
  EXPECT_FALSE(fs::exists(folder_ + "/ram"));
  fs::create_directory(folder_ + "/ram");
  EXPECT_EQ(Restore(other_kvm_).message(),
            "memory zone kept was left in its file by the snapshot, which has no copy");
}

TEST_F(SnapshotTest, MemoryInAFileThatIsGoneIsCopied) {
  config_.memory.size = ByteSize();
  config_.memory_zones.resize(1);
  config_.memory_zones[0].id = "gone";
  config_.memory_zones[0].size = MiB(32);
  config_.memory_zones[0].file = folder_ + "/ram";
  config_.memory_zones[0].shared = true;
  BootAndPause({SerialWrite(7, 1)});
  fs::remove(folder_ + "/ram");
  Ram(*machine_)[20 << 20] = 0x42;

  ASSERT_EQ(machine_->Snapshot(directory()), OkStatus());

  EXPECT_EQ(fs::file_size(directory() + "/memory"), 32u << 20);
  EXPECT_FALSE(ReadSnapshot(directory())->config.memory_zones[0].restored);
  // The restore needs no file either: it makes one.
  ASSERT_EQ(Restore(other_kvm_), OkStatus());
  EXPECT_EQ(fs::file_size(folder_ + "/ram"), 32u << 20);
  EXPECT_EQ(Ram(*restored_)[20 << 20], 0x42);
}

TEST_F(SnapshotTest, MemoryComesOnDemand) {
  BootAndPause({SerialWrite(7, 1)});
  Ram(*machine_)[20 << 20] = 0x42;
  ASSERT_EQ(machine_->Snapshot(directory()), OkStatus());

  const Status status = Restore(other_kvm_, {.prefault = std::nullopt, .on_demand = true});

  // Where this user may have no userfaultfd; the text says what would let it.
  if (status.field() == "memory_restore_mode") GTEST_SKIP() << status.ToString();
  ASSERT_EQ(status, OkStatus());
  EXPECT_EQ(Ram(*restored_)[20 << 20], 0x42);
  // One out of it, while it may still be coming.
  const std::string second = folder_ + "/second";
  ASSERT_EQ(restored_->Snapshot(second), OkStatus());
  EXPECT_EQ(fs::file_size(second + "/memory"), fs::file_size(directory() + "/memory"));
}

TEST_F(SnapshotTest, PrefaultOfTheRestoreDecides) {
  config_.memory.prefault = true;
  BootAndPause({SerialWrite(7, 1)});
  ASSERT_EQ(machine_->Snapshot(directory()), OkStatus());
  ASSERT_EQ(Restore(other_kvm_, {.prefault = false}), OkStatus());
  EXPECT_FALSE(restored_->config().memory.prefault);
}

TEST_F(SnapshotTest, DevicesAndVcpusArePluggedIntoARestoredMachine) {
  config_.cpus.max = 2;
  BootAndPause({SerialWrite(7, 1)});
  ASSERT_EQ(machine_->Snapshot(directory()), OkStatus());
  // As of a host whose processor is another one.
  const std::vector<kvm_cpuid_entry2> saved = kvm_.vm().vcpus.at(0).cpuid;
  std::vector<kvm_cpuid_entry2> richer = *other_kvm_.SupportedCpuid();
  for (kvm_cpuid_entry2& leaf : richer) {
    if (leaf.function == 7) leaf.ebx |= 1u << 30;
  }
  other_kvm_.SetSupportedCpuid(richer);
  ASSERT_EQ(Restore(other_kvm_), OkStatus());
  ASSERT_EQ(restored_->Perform(VmAction::kResume), OkStatus());

  std::ofstream(folder_ + "/more") << std::string(1 << 20, 'm');
  Result<AddedDevice> added = restored_->AddDevice("disk", R"({"path":")" + folder_ + R"(/more"})");
  EXPECT_TRUE(added.has_value()) << added.status().ToString();
  ResizeRequest request;
  request.vcpus = 2;
  ASSERT_EQ(restored_->Resize(request), OkStatus());

  const FakeVm vm = other_kvm_.vm();
  EXPECT_EQ(vm.vcpus.at(1).tsc_khz, vm.vcpus.at(0).tsc_khz);
  auto features = [](const std::vector<kvm_cpuid_entry2>& leaves) {
    for (const kvm_cpuid_entry2& leaf : leaves) {
      if (leaf.function == 7) return leaf.ebx;
    }
    return 0u;
  };
  EXPECT_EQ(features(vm.vcpus.at(1).cpuid), features(saved));
}

TEST_F(SnapshotTest, ARestoreWithPrefaultCanBeSavedAgain) {
  config_.memory.size = ByteSize();
  config_.memory_zones.resize(1);
  config_.memory_zones[0].id = "zone";
  config_.memory_zones[0].size = MiB(32);
  BootAndPause({SerialWrite(7, 1)});
  ASSERT_EQ(machine_->Snapshot(directory()), OkStatus());
  ASSERT_EQ(Restore(other_kvm_, {.prefault = true}), OkStatus());
  EXPECT_TRUE(restored_->config().memory_zones[0].prefault);
  const std::string second = folder_ + "/second";
  ASSERT_EQ(restored_->Snapshot(second), OkStatus());
  EXPECT_TRUE(ReadSnapshot(second).has_value()) << ReadSnapshot(second).status().ToString();
}

TEST_F(SnapshotTest, SaysWhatDoesNotFitWhenTheConfigurationWasChanged) {
  BootAndPause({SerialWrite(7, 1)});
  ASSERT_EQ(machine_->Snapshot(directory()), OkStatus());
  EditConfig(R"("id":"root")", R"("id":"other")");
  EXPECT_EQ(Restore(other_kvm_).message(), "device other is not in PCI segment 0 of the snapshot");
  EditConfig(R"("id":"other")", R"("id":"root")");
  EditConfig("33554432", "67108864");
  EXPECT_EQ(Restore(other_kvm_).field(), "memory");
  EditConfig("67108864", "33554432");
  fs::resize_file(folder_ + "/disk", 4096);
  EXPECT_NE(Restore(other_kvm_).message().find("disk root has 8 sectors, the guest knows 2048"),
            std::string::npos)
      << Restore(other_kvm_).message();
  fs::resize_file(folder_ + "/disk", 1 << 20);
  EXPECT_EQ(Restore(other_kvm_), OkStatus());
}

TEST_F(SnapshotTest, AFailureLeavesTheMachinePausedAndNoFiles) {
  BootAndPause({SerialWrite(7, 1)});
  kvm_.FailCall(KvmCall::kSave, EIO);
  EXPECT_FALSE(machine_->Snapshot(directory()).ok());
  EXPECT_FALSE(fs::exists(directory()));
  EXPECT_EQ(machine_->Facts().state, VmState::kPaused);
  EXPECT_EQ(machine_->Snapshot(directory()), OkStatus());
  EXPECT_EQ(machine_->Snapshot(directory()).code(), StatusCode::kAlreadyExists);
  other_kvm_.FailCall(KvmCall::kRestore, EINVAL);
  EXPECT_FALSE(Restore(other_kvm_).ok());
  EXPECT_EQ(Restore(other_kvm_), OkStatus());
}

// Whatever stands in the state, it is refused or taken, and nothing breaks.
TEST_F(SnapshotTest, SurvivesChangedBytes) {
  BootAndPause({SerialWrite(7, 1)});
  ASSERT_EQ(machine_->Snapshot(directory()), OkStatus());
  machine_.reset();
  std::mt19937 random(11);
  uint32_t taken = 0;
  for (int round = 0; round < 150; ++round) {
    SnapshotContent content = *ReadSnapshot(directory());
    for (uint32_t edits = 1 + random() % 3; edits > 0; --edits) {
      content.state[random() % content.state.size()] = static_cast<uint8_t>(random());
    }
    if (round % 10 == 9) content.state.resize(random() % content.state.size());
    FakeKvm kvm;
    auto machine = Machine::Restore(kvm, std::move(content), {}, *loop_, Ignore);
    taken += machine.has_value() ? 1 : 0;
  }
  EXPECT_GT(taken, 0u);  // bytes of registers may be anything
  EXPECT_LT(taken, 150u);
}

TEST_F(SnapshotTest, TheApiMakesAVmOutOfASnapshotOnlyWhereThereIsNone) {
  BootAndPause({SerialWrite(7, 1)});
  ASSERT_EQ(machine_->Snapshot(directory()), OkStatus());
  machine_.reset();
  Confinement confinement({}, false);
  Vmm vmm(other_kvm_, *loop_, Ignore, nullptr, confinement);
  RestoreRequest request;
  request.directory = directory();
  request.resume = true;
  ASSERT_EQ(vmm.Restore(std::move(request)), OkStatus());
  EXPECT_EQ(vmm.Facts().state, VmState::kRunning);
  request = {};
  request.directory = directory();
  EXPECT_EQ(vmm.Restore(std::move(request)).code(), StatusCode::kAlreadyExists);
}

// Network devices whose TAPs somebody else has opened: a snapshot has none of their descriptors.
class DescriptorSnapshotTest : public SnapshotTest {
 protected:
  // Descriptors of the queues of an interface; empty where there are no TAPs.
  static std::vector<UniqueFd> Open(const std::string& name, uint32_t pairs) {
    std::vector<UniqueFd> fds;
    auto taps = OpenTapQueues(name, pairs);
    if (!taps.has_value()) return fds;
    for (Tap& tap : *taps) fds.push_back(std::move(tap.fd));
    return fds;
  }
  static std::vector<int> Release(std::vector<UniqueFd> fds) {
    std::vector<int> numbers;
    for (UniqueFd& fd : fds) numbers.push_back(fd.release());
    return numbers;
  }
  // Descriptors of no TAP.
  static void OpenPipe(std::vector<UniqueFd>& fds) {
    int ends[2];
    ASSERT_EQ(pipe(ends), 0);
    fds.emplace_back(ends[0]);
    fds.emplace_back(ends[1]);
  }
};

TEST_F(DescriptorSnapshotTest, TheDescriptorsOfItsTapsAreGivenAnew) {
  std::vector<UniqueFd> fds = Open("berthsnap0", 2), more = Open("berthsnap1", 1);
  if (fds.empty() || more.empty())
    GTEST_SKIP() << "no TAP can be made here (/dev/net/tun, CAP_NET_ADMIN): there are no descriptors to give";
  config_.nets.emplace_back();
  config_.nets[0].id = "net1";
  config_.nets[0].fds = Release(std::move(fds));
  BootAndPause({SerialWrite(7, 1)});
  ASSERT_EQ(machine_->Perform(VmAction::kResume), OkStatus());
  ASSERT_TRUE(machine_->AddDevice("net", R"({"id":"added"})", std::move(more)).has_value());
  ASSERT_EQ(machine_->Perform(VmAction::kPause), OkStatus());
  ASSERT_EQ(machine_->Snapshot(directory()), OkStatus());
  machine_.reset();
  const auto without = ReadSnapshot(directory());
  ASSERT_FALSE(without.has_value());
  EXPECT_EQ(without.error().message(),
            "network device net1 of the snapshot needs 2 descriptors, and has been given 0");

  RestoreRequest request;
  request.directory = directory();
  for (auto [id, name, pairs] : {std::tuple("added", "berthsnap1", 1u), {"net1", "berthsnap0", 2u}}) {
    RestoredNet& net = request.nets.emplace_back();
    net.id = id;
    for (UniqueFd& fd : Open(name, pairs)) {
      net.fds.push_back(fd.get());
      request.fds.push_back(std::move(fd));
    }
  }
  const std::vector<RestoredNet> given = request.nets;
  Confinement confinement({}, false);
  std::optional<Vmm> vmm(std::in_place, other_kvm_, *loop_, Ignore, nullptr, confinement);
  ASSERT_EQ(vmm->Restore(std::move(request)), OkStatus());

  const VmConfig config = vmm->config();
  ASSERT_EQ(config.nets.size(), 2u);
  EXPECT_EQ(config.nets[0].fds, given[1].fds);
  EXPECT_EQ(config.nets[1].fds, given[0].fds);
  for (const RestoredNet& net : given) {
    for (const int fd : net.fds) EXPECT_NE(::fcntl(fd, F_GETFD), -1) << "the device has it";
  }
  // As often as anybody likes.
  EXPECT_EQ(vmm->Snapshot(folder_ + "/second"), OkStatus());
  vmm.reset();
  for (const RestoredNet& net : given) {
    for (const int fd : net.fds) EXPECT_EQ(::fcntl(fd, F_GETFD), -1) << "they were the device's";
  }
}

TEST_F(DescriptorSnapshotTest, WhatIsNoTapIsClosedAndNamed) {
  config_.nets.resize(2);
  config_.nets[0].id = "net1";
  config_.nets[0].fds = {3};
  config_.nets[1].id = "net2";
  config_.nets[1].fds = {4};
  ASSERT_EQ(WriteSnapshot(directory(), config_, {}, [](int) { return OkStatus(); }), OkStatus());
  std::vector<UniqueFd> fds;
  OpenPipe(fds);
  const int first = fds[0].get(), second = fds[1].get();
  auto content = ReadSnapshot(directory(), {{"net1", {first}}, {"net2", {second}}}, std::move(fds));
  ASSERT_TRUE(content.has_value()) << content.error().ToString();

  const auto restored = Machine::Restore(kvm_, *std::move(content), {}, *loop_, Ignore);

  ASSERT_FALSE(restored.has_value());
  EXPECT_EQ(restored.error().field(), "net net1.tap");
  EXPECT_EQ(::fcntl(first, F_GETFD), -1);
  EXPECT_EQ(::fcntl(second, F_GETFD), -1) << "of the device that it did not come to";
}

}  // namespace
}  // namespace berth::vmm
