#include "vmm/machine/assigned_devices.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <optional>

#include "tests/vmm/boot/kernel_image.h"
#include "vmm/bus/layout.h"
#include "vmm/kvm/fake_kvm.h"
#include "vmm/machine/machine.h"
#include "vmm/vfio/fake_vfio.h"
#include "vmm/viommu/vtd/spec.h"

namespace berth::vmm {
namespace {

// A machine on FakeKvm with a device of FakeVfio.
class AssignedDevicesTest : public testing::Test {
 protected:
  void SetUp() override {
    directory_ =
        testing::TempDir() + "assigned_" + testing::UnitTest::GetInstance()->current_test_info()->name();
    std::filesystem::remove_all(directory_);
    std::filesystem::create_directories(directory_);
    KernelImage image;
    std::ofstream(directory_ + "/vmlinuz", std::ios::binary)
        .write(reinterpret_cast<const char*>(image.bytes().data()), static_cast<long>(image.bytes().size()));
    config_.kernel = directory_ + "/vmlinuz";
    config_.memory.size = MiB(64);
    config_.serial.mode = SerialConfig::Mode::kOff;
    config_.rng.clear();
    config_.devices = {{.path = "/sys/bus/pci/devices/0000:21:10.0", .id = "vf"}};
  }
  void TearDown() override {
    machine_.reset();
    std::filesystem::remove_all(directory_);
  }

  // The machine owns the host; what it needs is set up before.
  Status Create(FakeVfioDevice::Options options = {}) {
    VfioSource source;
    source.check = [this](const VfioDemand& demand) {
      demand_ = demand;
      return refuse_;
    };
    source.open = [this, options](const std::vector<std::string>&,
                                  bool) -> Result<std::unique_ptr<VfioHost>> {
      if (device_ != nullptr) iommu_ = FakeIommu();  // what was mapped went with the host before
      auto host = std::make_unique<FakeVfioHost>(iommu_);
      device_ = &host->Add(options);
      if (fail_) device_->FailCall(*fail_, EIO, 0);
      return std::unique_ptr<VfioHost>(std::move(host));
    };
    auto machine = Machine::Create(
        kvm_, config_, *loop_,
        [this](MachineEnd end) {
          end_ = std::move(end);
          loop_->Stop();
        },
        nullptr, source);
    if (!machine.has_value()) return machine.error();
    machine_ = *std::move(machine);
    return OkStatus();
  }
  static ScriptedExit PowerOff() {
    return ScriptedExit::Out(layout::kSleepControlPort, {layout::kSleepTypeS5 << 2 | layout::kSleepEnable});
  }
  static ScriptedExit Reset() { return ScriptedExit::Out(layout::kResetPort, {layout::kResetValue}); }
  // A write of the guest into the configuration space of the function in slot 1.
  static ScriptedExit WriteConfig(uint32_t offset, std::vector<uint8_t> data) {
    return ScriptedExit::MmioWrite(layout::kPciConfigBase + (1 << 15) + offset, std::move(data));
  }

  std::string directory_;
  VmConfig config_;
  FakeKvm kvm_;
  FakeIommu iommu_;
  FakeVfioDevice* device_ = nullptr;
  VfioDemand demand_;
  Status refuse_;
  std::optional<VfioCall> fail_;
  std::unique_ptr<EventLoop> loop_ = *EventLoop::Create();
  MachineEnd end_;
  std::unique_ptr<Machine> machine_;
};

TEST_F(AssignedDevicesTest, MapsAllOfTheGuestsMemoryByOneRun) {
  ASSERT_TRUE(Create().ok());
  EXPECT_EQ(demand_.addresses, (std::vector<std::string>{"0000:21:10.0"}));
  EXPECT_EQ(demand_.ram, (std::vector<IovaRange>{{0, (64u << 20) - 1}}));
  ASSERT_TRUE(machine_->Boot().ok());

  auto mappings = iommu_.mappings();
  ASSERT_EQ(mappings.size(), 1u);
  EXPECT_EQ(mappings.at(0).size, 64u << 20);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(mappings.at(0).host),
            machine_->Facts().memory_regions[0].host_address);
  EXPECT_EQ(kvm_.vm().vfio_files.size(), 1u);
}

TEST_F(AssignedDevicesTest, OpensNothingWhenTheHostIsNotReady) {
  refuse_ = FailedPrecondition("device 0000:21:10.0 is bound to igbvf", "device");
  Status status = Create();
  EXPECT_EQ(status, refuse_);
  EXPECT_EQ(device_, nullptr);
}

// The first attempt leaves nothing behind that the second would take for a host whose memory is mapped.
TEST_F(AssignedDevicesTest, ASecondAttemptToPlugTheFirstDeviceMapsTheMemory) {
  config_.devices.clear();
  ASSERT_TRUE(Create({.address = "0000:21:10.0"}).ok());
  ASSERT_TRUE(machine_->Boot().ok());
  ASSERT_FALSE(machine_->AddDevice("device", R"({"path":"/sys/bus/pci/devices/0000:21:10.7"})").has_value());

  Result<AddedDevice> added =
      machine_->AddDevice("device", R"({"path":"/sys/bus/pci/devices/0000:21:10.0"})");

  ASSERT_TRUE(added.has_value()) << added.status().ToString();
  EXPECT_EQ(iommu_.mappings().size(), 1u);
}

TEST_F(AssignedDevicesTest, SaysWhichDeviceCannotBeUsed) {
  Status status = Create({.address = "0000:21:10.7"});
  EXPECT_EQ(status.code(), StatusCode::kNotFound);
  EXPECT_EQ(status.field(), "device vf");
}

TEST_F(AssignedDevicesTest, FailsWithFiguresWhenTheKernelRefusesTheMemory) {
  iommu_ = FakeIommu({.ranges = {{0x1000000, 0xffffffff}}});
  Status status = Create();
  EXPECT_EQ(status.code(), StatusCode::kOutOfRange);
  EXPECT_NE(status.message().find("0x1000000-0xffffffff"), std::string::npos) << status.message();
}

TEST_F(AssignedDevicesTest, ResetsTheDeviceAtEachPowerOnAndUnmapsItsBars) {
  // The guest turns memory decoding on, so the BARs are mapped, and resets.
  kvm_.Script(0, {WriteConfig(4, {6, 0}), Reset()});
  ASSERT_TRUE(Create().ok());
  ASSERT_TRUE(machine_->Boot().ok());
  std::thread guest([this] {
    while (kvm_.vms_created() < 2) std::this_thread::yield();
    kvm_.Script(0, {WriteConfig(4, {6, 0}), PowerOff()});
  });
  ASSERT_TRUE(loop_->Run().ok());
  guest.join();

  EXPECT_EQ(end_.kind, MachineEnd::Kind::kPoweredOff);
  EXPECT_EQ(device_->resets(), 2u);
  EXPECT_EQ(iommu_.mappings().size(), 1u);  // the RAM
  EXPECT_TRUE(device_->irqs().empty());
}

TEST_F(AssignedDevicesTest, ADeviceBehindTheIommuReachesAllMemoryUntilADriverTakesItOver) {
  config_.devices[0].iommu = true;
  ASSERT_TRUE(Create().ok());
  EXPECT_EQ(demand_.alone, (std::vector<std::string>{"0000:21:10.0"}));
  EXPECT_EQ(demand_.spaces, 1u);
  EXPECT_TRUE(iommu_.mappings().empty());
  ASSERT_TRUE(machine_->Boot().ok());
  EXPECT_EQ(iommu_.mappings().size(), 1u);

  std::map<std::string, std::string> places;
  for (const auto& device : machine_->Facts().devices) places[device.id] = device.place;
  EXPECT_EQ(places, (std::map<std::string, std::string>{{"iommu0", "0000:00:01.0"}, {"vf", "0000:00:02.0"}}));
  machine_.reset();
}

TEST_F(AssignedDevicesTest, ADeviceIsPluggedBehindTheIommuOnlyOnASegmentOfIts) {
  config_.devices.clear();
  config_.platform.num_pci_segments = 3;
  config_.platform.iommu_segments = {1};
  ASSERT_TRUE(Create().ok());
  ASSERT_TRUE(machine_->Boot().ok());
  const std::string path = R"({"path": "/sys/bus/pci/devices/0000:21:10.0", "id": "vf", "iommu": true, )";
  auto refused = machine_->AddDevice("device", path + R"("pci_segment": 2})");
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code(), StatusCode::kFailedPrecondition) << refused.error().ToString();
  EXPECT_EQ(device_, nullptr);
  auto added = machine_->AddDevice("device", path + R"("pci_segment": 1})");
  ASSERT_TRUE(added.has_value()) << added.error().ToString();
  EXPECT_EQ(added->place, "0001:00:00.0");
  EXPECT_EQ(iommu_.mappings().size(), 1u);
}

// The guest makes a table of zeros the root, turns translation on, and asks whether it is.
TEST_F(AssignedDevicesTest, BehindAnIntelIommuADeviceReachesWhatTheGuestsTablesSay) {
  config_.devices[0].iommu = true;
  config_.platform.iommu_model = IommuModel::kIntel;
  constexpr uint64_t kUnit = layout::kVtdBase;
  kvm_.Script(0, {ScriptedExit::MmioRead(kUnit + vtd::kCapability, 8),
                  ScriptedExit::MmioWrite(kUnit + vtd::kRootTable, {0, 0, 0, 2, 0, 0, 0, 0}),
                  ScriptedExit::MmioWrite(kUnit + vtd::kGlobalCommand, {0, 0, 0, 0x40}),
                  ScriptedExit::MmioWrite(kUnit + vtd::kGlobalCommand, {0, 0, 0, 0x80}),
                  ScriptedExit::MmioRead(kUnit + vtd::kGlobalStatus, 4), PowerOff()});
  iommu_ = FakeIommu({.ranges = {{0, 0xfedfffff}, {0xfef00000, (uint64_t{1} << 40) - 1}}});
  ASSERT_TRUE(Create().ok());
  ASSERT_TRUE(machine_->Boot().ok());
  ASSERT_TRUE(loop_->Run().ok());

  EXPECT_TRUE(iommu_.mappings().empty());
  const FakeVm vm = kvm_.vm();
  const auto& completed = vm.vcpus.at(0).completed;
  ASSERT_GE(completed.size(), 5u);
  EXPECT_EQ((completed[0][2] & 0x3f) + 1, 39) << "the host has 40 bits";
  EXPECT_EQ(completed[4], (std::vector<uint8_t>{0, 0, 0, 0xc0}));
}

TEST_F(AssignedDevicesTest, AnIntelIommuIsNoWiderThanTheHosts) {
  config_.devices[0].iommu = true;
  config_.platform.iommu_model = IommuModel::kIntel;
  config_.platform.iommu_address_width = 48;
  iommu_ = FakeIommu({.ranges = {{0, 0xfedfffff}, {0xfef00000, (uint64_t{1} << 40) - 1}}});
  ASSERT_TRUE(Create().ok());
  const Status status = machine_->Boot();
  EXPECT_EQ(status.code(), StatusCode::kFailedPrecondition) << status.ToString();
  EXPECT_EQ(status.field(), "platform iommu_address_width");
}

TEST_F(AssignedDevicesTest, WithAnIntelIommuDevicesAreAlwaysBehindIt) {
  config_.devices.clear();
  config_.platform.iommu_model = IommuModel::kIntel;
  config_.platform.num_pci_segments = 2;
  ASSERT_TRUE(Create().ok());
  ASSERT_TRUE(machine_->Boot().ok());
  const std::string path = R"({"path": "/sys/bus/pci/devices/0000:21:10.0", "id": "vf", "pci_segment": 1)";
  auto refused = machine_->AddDevice("device", path + "}");
  ASSERT_FALSE(refused.has_value());
  EXPECT_NE(refused.error().message().find("NotBehindIommu"), std::string::npos);
  auto added = machine_->AddDevice("device", path + R"(, "iommu": true})");
  ASSERT_TRUE(added.has_value()) << added.error().ToString();
  EXPECT_EQ(added->place, "0001:00:00.0");
  EXPECT_EQ(iommu_.mappings().size(), 1u);
  ASSERT_EQ(machine_->Facts().devices.size(), 1u) << "the units are no PCI functions";
}

TEST_F(AssignedDevicesTest, NoSnapshotIsTakenOfAMachineWithAnIntelIommu) {
  config_.devices.clear();
  config_.platform.iommu_model = IommuModel::kIntel;
  ASSERT_TRUE(Create().ok());
  ASSERT_TRUE(machine_->Boot().ok());
  ASSERT_TRUE(machine_->Perform(VmAction::kPause).ok());
  const Status status = machine_->Snapshot(directory_ + "/snapshot");
  EXPECT_EQ(status.code(), StatusCode::kFailedPrecondition);
  EXPECT_NE(status.message().find("Intel IOMMU"), std::string::npos) << status.ToString();
}

TEST_F(AssignedDevicesTest, UsesADeviceThatCannotBeReset) {
  ASSERT_TRUE(Create({.can_reset = false}).ok());
  EXPECT_TRUE(machine_->Boot().ok());
}

TEST_F(AssignedDevicesTest, EndsTheMachineWhenTheDeviceFails) {
  ASSERT_TRUE(Create().ok());
  ASSERT_TRUE(machine_->Boot().ok());
  ASSERT_TRUE(device_->Fire(VFIO_PCI_ERR_IRQ_INDEX, 0));
  ASSERT_TRUE(loop_->Run().ok());
  EXPECT_EQ(end_.kind, MachineEnd::Kind::kFailed);
  EXPECT_NE(end_.message.find("device vf"), std::string::npos);
}

// A slot that a device has not started in is free for the next attempt.
TEST_F(AssignedDevicesTest, ADeviceThatCannotStartLeavesItsSlot) {
  const std::string json = R"({"path":"/sys/bus/pci/devices/0000:21:10.0","id":"vf"})";
  config_.devices.clear();
  fail_ = VfioCall::kSetTriggers;
  ASSERT_TRUE(Create().ok());
  ASSERT_TRUE(machine_->Boot().ok());
  ASSERT_FALSE(machine_->AddDevice("device", json).has_value());
  EXPECT_TRUE(machine_->Facts().devices.empty());

  fail_.reset();
  auto added = machine_->AddDevice("device", json);

  ASSERT_TRUE(added.has_value()) << added.error().ToString();
  EXPECT_EQ(added->place, "0000:00:01.0");
}

TEST_F(AssignedDevicesTest, NoSnapshotIsTakenOfAMachineWithADeviceOfTheHost) {
  ASSERT_TRUE(Create().ok());
  ASSERT_TRUE(machine_->Boot().ok());
  ASSERT_TRUE(machine_->Perform(VmAction::kPause).ok());

  const Status status = machine_->Snapshot(directory_ + "/snapshot");

  EXPECT_EQ(status.code(), StatusCode::kFailedPrecondition);
  EXPECT_NE(status.message().find("device vf is a device of the host"), std::string::npos);
  EXPECT_FALSE(std::filesystem::exists(directory_ + "/snapshot"));
}

TEST_F(AssignedDevicesTest, SurvivesEveryFailureOfVfio) {
  for (VfioCall call : {VfioCall::kRead, VfioCall::kWrite, VfioCall::kMap, VfioCall::kSetTriggers}) {
    for (uint32_t after = 0; after < 6; ++after) {
      SCOPED_TRACE(std::to_string(static_cast<int>(call)) + " " + std::to_string(after));
      ASSERT_TRUE(Create({.intx = true}).ok());
      device_->FailCall(call, EIO, after);
      static_cast<void>(machine_->Boot());
      machine_.reset();
      EXPECT_LE(iommu_.mappings().size(), 1u);
      iommu_ = FakeIommu();
    }
  }
}

TEST_F(AssignedDevicesTest, ComesToNoMemoryThatItCannotPin) {
  config_.devices.clear();
  config_.memory.mergeable = true;
  ASSERT_TRUE(Create().ok());
  const std::string vf = R"({"path":"/sys/bus/pci/devices/0000:21:10.0"})";
  EXPECT_NE(machine_->AddDevice("device", vf).status().message().find("[MergeableWithDevice]"),
            std::string::npos);

  config_.memory = {};
  config_.memory.size = ByteSize();
  config_.memory_zones.resize(1);
  config_.memory_zones[0].id = "m0";
  config_.memory_zones[0].size = MiB(64);
  config_.memory_zones[0].file = directory_ + "/ram";
  machine_.reset();
  ASSERT_TRUE(Create().ok());
  EXPECT_EQ(
      machine_->AddDevice("device", vf).status().message(),
      "memory zone m0 maps its file privately: beside a device of the host it would take its memory twice");
  config_.memory_zones[0].shared = true;
  machine_.reset();
  ASSERT_TRUE(Create().ok());
  EXPECT_TRUE(machine_->AddDevice("device", vf).has_value());
}

}  // namespace
}  // namespace berth::vmm
