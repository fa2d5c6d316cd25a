// Devices of the host in confidential guests: what they reach is what the guest shares, at each time.
#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <thread>

#include "tests/vmm/boot/kernel_image.h"
#include "tests/vmm/cvm/tdx_guest.h"
#include "vmm/bus/layout.h"
#include "vmm/kvm/fake_kvm.h"
#include "vmm/machine/machine.h"
#include "vmm/vfio/fake_vfio.h"

namespace berth::vmm {
namespace {

constexpr uint64_t kRam = 64u << 20;
constexpr char kDevice[] = R"({"path": "/sys/bus/pci/devices/0000:21:10.0", "id": "vf"})";

class SharedDevicesTest : public testing::TestWithParam<FakeIommu::Interface> {
 protected:
  void SetUp() override {
    std::string name = testing::UnitTest::GetInstance()->current_test_info()->name();
    std::replace(name.begin(), name.end(), '/', '_');
    directory_ = testing::TempDir() + "shared_devices_" + name;
    std::filesystem::remove_all(directory_);
    std::filesystem::create_directories(directory_);
    KernelImage image;
    Put("vmlinuz", image.bytes());
    config_.kernel = directory_ + "/vmlinuz";
    config_.memory.size = MiB(64);
    config_.serial.mode = SerialConfig::Mode::kOff;
    config_.rng.clear();
    config_.platform.confidential = ConfidentialKind::kSwProtected;
    config_.devices = {{.path = "/sys/bus/pci/devices/0000:21:10.0", .id = "vf"}};
    iommu_ = NewIommu();
  }
  void TearDown() override {
    machine_.reset();
    std::filesystem::remove_all(directory_);
  }
  FakeIommu NewIommu() const { return FakeIommu({.interface = GetParam(), .entry_limit = entry_limit_}); }
  template <class Bytes>
  void Put(const std::string& name, const Bytes& bytes) {
    std::ofstream(directory_ + "/" + name, std::ios::binary)
        .write(reinterpret_cast<const char*>(bytes.data()), static_cast<long>(bytes.size()));
  }
  Status Boot() {
    VfioSource source;
    source.check = [](const VfioDemand&) { return OkStatus(); };
    source.open = [this](const std::vector<std::string>&,
                         bool by_parts) -> Result<std::unique_ptr<VfioHost>> {
      EXPECT_TRUE(by_parts);
      if (opened_++ > 0) iommu_ = NewIommu();  // what was mapped went with the host before
      auto host = std::make_unique<FakeVfioHost>(iommu_);
      host->Add(device_);
      return std::unique_ptr<VfioHost>(std::move(host));
    };
    TRY_ASSIGN(machine_, Machine::Create(
                             kvm_, config_, *loop_,
                             [this](MachineEnd end) {
                               end_ = std::move(end);
                               loop_->Stop();
                             },
                             nullptr, source));
    return machine_->Boot();
  }
  // The vCPU plays these exits, all of them conversions but so many.
  void Convert(std::vector<ScriptedExit> exits, size_t others = 0) {
    const auto served = [this] {
      const FakeVm vm = kvm_.vm();  // a copy
      size_t calls = 0;
      for (const auto& data : vm.vcpus.at(0).completed) calls += data.size() == 8 ? 1 : 0;
      return calls;
    };
    // An exit is over when the next one comes.
    exits.push_back(ScriptedExit::Out(0x80, {1}));
    const size_t wanted = served() + exits.size() - 1 - others;
    kvm_.Script(0, std::move(exits));
    WaitFor([&] { return served() >= wanted; });
  }
  static void WaitFor(const std::function<bool()>& done) {
    for (int i = 0; i < 60'000 && !done(); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    ASSERT_TRUE(done());
  }
  // Results of the guest's calls so far.
  std::vector<int64_t> Results() {
    std::vector<int64_t> results;
    const FakeVm vm = kvm_.vm();  // a copy
    for (const auto& data : vm.vcpus.at(0).completed) {
      if (data.size() == 8) std::memcpy(&results.emplace_back(), data.data(), 8);
    }
    return results;
  }
  // The guest writes the device's command register.
  static std::vector<ScriptedExit> SetCommand(uint8_t value) {
    constexpr uint8_t kSlot1 = 0x08;
    return {ScriptedExit::Out(0xcf8, {0x04, kSlot1, 0x00, 0x80}, 4), ScriptedExit::Out(0xcfc, {value, 0}, 2)};
  }
  // Every page is mapped for the device, at the guest's own memory, if and only if the guest shares it.
  void ExpectMappedIsShared() {
    const FakeVm vm = kvm_.vm();
    auto* ram = reinterpret_cast<uint8_t*>(machine_->Facts().memory_regions.at(0).host_address);
    uint64_t mapped = 0;
    for (const auto& [iova, mapping] : iommu_.mappings()) {
      ASSERT_TRUE(vm.IsShared(iova, mapping.size)) << std::hex << iova << "+" << mapping.size;
      ASSERT_EQ(mapping.host, ram + iova);
      mapped += mapping.size;
    }
    uint64_t is_private = 0;
    for (const auto& [start, end] : vm.private_ranges)
      is_private += std::min(end, kRam) - std::min(start, kRam);
    EXPECT_EQ(mapped, kRam - is_private);
  }
  static ScriptedExit Reset() { return ScriptedExit::Out(layout::kResetPort, {layout::kResetValue}); }

  std::string directory_;
  VmConfig config_;
  FakeVfioDevice::Options device_;
  FakeKvm kvm_;
  FakeIommu iommu_;
  int opened_ = 0;
  uint64_t entry_limit_ = 65535;
  std::unique_ptr<EventLoop> loop_ = *EventLoop::Create();
  MachineEnd end_;
  std::unique_ptr<Machine> machine_;
};

TEST_P(SharedDevicesTest, ReachWhatTheGuestSharesAfterEachConversion) {
  Status booted = Boot();
  ASSERT_TRUE(booted.ok()) << booted.ToString();
  ExpectMappedIsShared();
  EXPECT_NE(iommu_.Translate(0x1000000, true), nullptr);

  Convert({ScriptedExit::MapGpa(0x1000000, 512, true)});
  ExpectMappedIsShared();
  EXPECT_EQ(iommu_.Translate(0x1000000, true), nullptr);
  EXPECT_EQ(iommu_.Translate(0x11ff000, false), nullptr);
  EXPECT_NE(iommu_.Translate(0x1200000, true), nullptr);

  // A page inside of private memory, pages inside of shared memory, a range over both.
  Convert({ScriptedExit::MapGpa(0x1008000, 1, false)});
  ExpectMappedIsShared();
  Convert({ScriptedExit::MapGpa(0x2003000, 3, true), ScriptedExit::MapGpa(0x2005000, 1, false)});
  ExpectMappedIsShared();
  Convert({ScriptedExit::MapGpa(0x0f00000, 1024, true)});
  ExpectMappedIsShared();
  Convert({ScriptedExit::MapGpa(0x0f00000, 1024, false), ScriptedExit::MapGpa(0x2000000, 512, false)});
  ExpectMappedIsShared();
  EXPECT_EQ(kvm_.vm().private_ranges.size(), 0u);
}

TEST_P(SharedDevicesTest, ADeviceThatComesLaterFindsWhatIsSharedThen) {
  config_.devices.clear();
  ASSERT_TRUE(Boot().ok());
  Convert({ScriptedExit::MapGpa(0x1000000, 512, true), ScriptedExit::MapGpa(0x1008000, 1, false)});

  auto added = machine_->AddDevice("device", kDevice);

  ASSERT_TRUE(added.has_value()) << added.error().ToString();
  ExpectMappedIsShared();
  Convert({ScriptedExit::MapGpa(0x1010000, 4, false), ScriptedExit::MapGpa(0x3000000, 1, true)});
  ExpectMappedIsShared();
}

TEST_P(SharedDevicesTest, ADeviceThatIsGoneHearsNothing) {
  ASSERT_TRUE(Boot().ok());
  ASSERT_TRUE(machine_->RemoveDevice("vf", std::chrono::seconds(1)).ok());
  // The guest ejects slot 1 of segment 0.
  const uint64_t hotplug = layout::PlatformAreaBase(36) + layout::kPciHotplugOffset;
  kvm_.Script(0, {ScriptedExit::MmioWrite(hotplug + 12, {0, 0, 0, 0}),
                  ScriptedExit::MmioWrite(hotplug + 8, {2, 0, 0, 0})});
  std::thread control([this] {
    WaitFor([this] { return machine_->Facts().devices.empty(); });
    WaitFor([this] { return machine_->config().devices.empty(); });
    loop_->Stop();
  });
  ASSERT_TRUE(loop_->Run().ok());
  control.join();
  const uint64_t calls = iommu_.calls();

  Convert({ScriptedExit::MapGpa(0x1000000, 512, true), ScriptedExit::MapGpa(0x1008000, 1, false)});
  EXPECT_EQ(iommu_.calls(), calls);
  EXPECT_TRUE(kvm_.vm().IsPrivate(0x1000000, 0x8000));

  // And one that comes after it is told.
  auto added = machine_->AddDevice("device", kDevice);
  ASSERT_TRUE(added.has_value()) << added.error().ToString();
  ExpectMappedIsShared();
}

TEST_P(SharedDevicesTest, AResetSharesAllMemoryAgain) {
  ASSERT_TRUE(Boot().ok());
  Convert({ScriptedExit::MapGpa(0x1000000, 512, true), ScriptedExit::MapGpa(0x2003000, 3, true)});
  kvm_.Script(0, {Reset()});
  std::thread control([this] {
    WaitFor([this] { return machine_->Counters()["vm"]["boots"] == 2; });
    loop_->Stop();
  });
  ASSERT_TRUE(loop_->Run().ok());
  control.join();

  EXPECT_EQ(kvm_.vms_created(), 2u);
  EXPECT_TRUE(kvm_.vm().IsShared(0, kRam));
  ExpectMappedIsShared();
  Convert({ScriptedExit::MapGpa(0x1000000, 512, true)});
  ExpectMappedIsShared();
}

// Whatever call of the IOMMU fails: the guest is told to try again or ends, and devices reach no private
// page.
TEST_P(SharedDevicesTest, AFailureOfTheIommuLeavesBothSidesAsTheyWere) {
  ASSERT_TRUE(Boot().ok());
  for (uint32_t after = 0; after < 4; ++after) {
    iommu_.FailCall(after, ENOMEM);
    Convert({ScriptedExit::MapGpa(0x1000000, 512, true), ScriptedExit::MapGpa(0x1008000, 1, false),
             ScriptedExit::MapGpa(0x1000000, 512, false)});
    iommu_.ForgetFailures();
    ExpectMappedIsShared();
  }
}

TEST_P(SharedDevicesTest, NothingIsMappedForTheFirstTimeWhileMemoryIsPrivate) {
  const auto tdx = UseTdx(kvm_, config_, directory_ + "/tdvf");
  Status booted = Boot();
  ASSERT_TRUE(booted.ok()) << booted.ToString();
  EXPECT_TRUE(iommu_.mappings().empty());

  Convert({ScriptedExit::MapGpa(0x1000000, 512, false)});
  ExpectMappedIsShared();
  Convert({ScriptedExit::MapGpa(0x1008000, 1, true)});
  ExpectMappedIsShared();
}

TEST_P(SharedDevicesTest, ADeviceWithAnInterruptLineOnlyIsNoneForATdxGuest) {
  const auto tdx = UseTdx(kvm_, config_, directory_ + "/tdvf");
  device_.intx = true;
  device_.msix_vectors = 0;

  const Status refused = Boot();

  EXPECT_EQ(refused.field(), "device vf");
  EXPECT_NE(refused.message().find("neither MSI nor MSI-X"), std::string::npos) << refused.ToString();
}

// Where the kernel cannot cut and has too few mappings for single pages: the guest takes back a part of what
// it has shared in one go while the device cannot do DMA, and is refused while it can.
TEST_P(SharedDevicesTest, MappingsAreTakenApartWhileNoDeviceMayDoDma) {
  // iommufd has no dma_entry_limit, so that the refusal this is about cannot happen there.
  if (GetParam() != FakeIommu::Interface::kType1) GTEST_SKIP() << "only type1 limits mappings";
  entry_limit_ = 2000;
  iommu_ = NewIommu();
  const auto tdx = UseTdx(kvm_, config_, directory_ + "/tdvf");
  Status booted = Boot();
  ASSERT_TRUE(booted.ok()) << booted.ToString();
  Convert({ScriptedExit::MapGpa(0x1000000, 512, false)});
  EXPECT_EQ(iommu_.mappings().size(), 1u);
  Convert({ScriptedExit::MapGpa(0x1008000, 1, true)});
  ExpectMappedIsShared();
  EXPECT_EQ(iommu_.mappings().size(), 2u);

  std::vector<ScriptedExit> on = SetCommand(4);
  on.push_back(ScriptedExit::MapGpa(0x1010000, 1, true));
  Convert(on, 2);
  ExpectMappedIsShared();
  EXPECT_EQ(iommu_.mappings().size(), 2u);

  std::vector<ScriptedExit> off = SetCommand(0);
  off.push_back(ScriptedExit::MapGpa(0x1010000, 1, true));
  Convert(off, 2);
  ExpectMappedIsShared();
  EXPECT_EQ(iommu_.mappings().size(), 3u);
  EXPECT_EQ(Results(), (std::vector<int64_t>{0, 0, EINVAL, 0}));
}

INSTANTIATE_TEST_SUITE_P(Interfaces, SharedDevicesTest,
                         testing::Values(FakeIommu::Interface::kType1, FakeIommu::Interface::kIommufd,
                                         FakeIommu::Interface::kIommufdCut));

}  // namespace
}  // namespace berth::vmm
