#include <unistd.h>

#include <chrono>

#include "tests/vmm/machine/hotplug_fixture.h"

namespace berth::vmm {
namespace {

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

TEST_F(HotplugTest, AVcpuBelowOneThatTheGuestHasKeptComesBack) {
  config_.cpus.boot = 4;
  config_.cpus.max = 4;
  Start();
  ASSERT_TRUE(Resize(2, std::nullopt).ok());
  Guest({ScriptedExit::MmioWrite(kPlatform + layout::kCpuHotplugOffset, Bytes(2)),
         ScriptedExit::MmioWrite(kPlatform + layout::kCpuHotplugOffset + 4, {8})});
  EXPECT_EQ(Request("vcpus").actual, 3u) << "0, 1 and 3";
  ASSERT_TRUE(Resize(3, std::nullopt).ok());
  EXPECT_EQ(Request("vcpus").state, HotplugState::kPending) << "2 is there again, 3 still has to go";
  EXPECT_EQ(Request("vcpus").actual, 4u);
  Guest({ScriptedExit::MmioWrite(kPlatform + layout::kCpuHotplugOffset, Bytes(3)),
         ScriptedExit::MmioWrite(kPlatform + layout::kCpuHotplugOffset + 4, {8})});
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

}  // namespace
}  // namespace berth::vmm
