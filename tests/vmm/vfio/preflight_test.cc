#include "vmm/vfio/preflight.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

namespace berth::vmm {
namespace {

namespace fs = std::filesystem;

// A tree of sysfs with two devices in one group and one alone.
class PreflightTest : public testing::Test {
 protected:
  void SetUp() override {
    root_ = testing::TempDir() + "preflight_" + testing::UnitTest::GetInstance()->current_test_info()->name();
    fs::remove_all(root_);
    AddDevice("0000:21:10.0", 17, "vfio-pci");
    AddDevice("0000:84:01.0", 23, "vfio-pci");
    AddDevice("0000:84:02.0", 23, "vfio-pci");
    Put("sys/module/vfio_iommu_type1/parameters/dma_entry_limit", "65535\n");
  }
  void TearDown() override { fs::remove_all(root_); }

  void Put(const std::string& path, const std::string& text) {
    fs::create_directories(fs::path(root_ + "/" + path).parent_path());
    std::ofstream(root_ + "/" + path) << text;
  }
  void AddDevice(const std::string& address, int group, const std::string& driver) {
    const std::string device = root_ + "/sys/bus/pci/devices/" + address;
    const std::string folder = root_ + "/sys/kernel/iommu_groups/" + std::to_string(group);
    fs::create_directories(device);
    fs::create_directories(folder + "/devices/" + address);
    fs::create_symlink("../../../../kernel/iommu_groups/" + std::to_string(group), device + "/iommu_group");
    Bind(address, driver);
    std::ofstream(folder + "/reserved_regions") << "0x00000000fee00000 0x00000000feefffff msi\n";
  }
  void Bind(const std::string& address, const std::string& driver) {
    const std::string link = root_ + "/sys/bus/pci/devices/" + address + "/driver";
    fs::remove(link);
    if (!driver.empty()) fs::create_symlink("../../../../bus/pci/drivers/" + driver, link);
  }
  Status Check(VfioDemand demand, uint64_t memlock = UINT64_MAX,
               VfioInterface interface = VfioInterface::kGroup) {
    return CheckVfioHost(demand, interface, VfioSysfs(root_), {memlock});
  }

  std::string root_;
  const IovaRange ram_{0, (uint64_t{512} << 20) - 1};
};

TEST_F(PreflightTest, AcceptsDevicesThatAreReady) {
  EXPECT_TRUE(Check({{"0000:21:10.0", "0000:84:01.0"}, {ram_}, 3}).ok());
  Bind("0000:84:02.0", "");
  AddDevice("0000:83:00.0", 23, "pcieport");
  EXPECT_TRUE(Check({{"0000:84:01.0"}, {ram_}, 3}).ok());
}

TEST_F(PreflightTest, ADeviceWithASpaceOfItsOwnIsAloneInItsGroup) {
  VfioDemand demand{{"0000:21:10.0", "0000:84:01.0"}, {ram_}, 3};
  demand.spaces = 2;
  demand.alone = {"0000:84:01.0"};
  EXPECT_TRUE(Check(demand).ok());
  EXPECT_EQ(Check(demand, uint64_t{600} << 20).code(), StatusCode::kResourceExhausted);
  demand.others = {"0000:84:02.0"};
  Status status = Check(demand);
  EXPECT_EQ(status.code(), StatusCode::kFailedPrecondition);
  EXPECT_NE(status.message().find("group 23 together with 0000:84:02.0"), std::string::npos)
      << status.message();
}

TEST_F(PreflightTest, NamesTheDriverThatHoldsTheDevice) {
  Bind("0000:21:10.0", "igbvf");
  Status status = Check({{"0000:21:10.0"}, {ram_}, 3});
  EXPECT_EQ(status.code(), StatusCode::kFailedPrecondition);
  EXPECT_EQ(status.message(), "device 0000:21:10.0 is bound to igbvf");
  EXPECT_EQ(Check({{"0000:99:00.0"}, {ram_}, 3}).code(), StatusCode::kNotFound);
}

TEST_F(PreflightTest, NamesTheOtherDeviceOfAGroupThatIsNotViable) {
  Bind("0000:84:02.0", "e1000");
  Status status = Check({{"0000:84:01.0"}, {ram_}, 3});
  EXPECT_EQ(status.message(),
            "device 0000:84:01.0 is in IOMMU group 23 together with 0000:84:02.0, which is bound to e1000");
}

TEST_F(PreflightTest, SaysHowMuchMemoryMustBeLocked) {
  Status status = Check({{"0000:21:10.0"}, {ram_}, 3}, uint64_t{8} << 20);
  EXPECT_EQ(status.code(), StatusCode::kResourceExhausted);
  EXPECT_NE(status.message().find("512 MiB"), std::string::npos) << status.message();
  EXPECT_NE(status.message().find("8.00 MiB"), std::string::npos) << status.message();
}

TEST_F(PreflightTest, SaysHowManyMappingsAreNeeded) {
  Status status = Check({{"0000:21:10.0"}, {ram_}, 70000});
  EXPECT_EQ(status.code(), StatusCode::kResourceExhausted);
  EXPECT_NE(status.message().find("70000"), std::string::npos);
  EXPECT_NE(status.hint().find("dma_entry_limit to at least 70000"), std::string::npos);
  EXPECT_TRUE(Check({{"0000:21:10.0"}, {ram_}, 70000}, UINT64_MAX, VfioInterface::kDeviceFile).ok());
}

TEST_F(PreflightTest, FindsRamWhereTheHostCannotMap) {
  Put("sys/kernel/iommu_groups/17/reserved_regions",
      "0x0000000010000000 0x000000001fffffff direct\n0x0000000000000000 0x0000000000ffffff "
      "direct-relaxable\n");
  Status reserved = Check({{"0000:21:10.0"}, {ram_}, 3});
  EXPECT_EQ(reserved.code(), StatusCode::kOutOfRange);
  EXPECT_NE(reserved.message().find("0x10000000-0x1fffffff (direct)"), std::string::npos)
      << reserved.message();

  Put("sys/bus/pci/devices/0000:84:01.0/iommu/intel-iommu/cap", "d2008c22260206\n");  // 39 bits
  Status wide = Check({{"0000:84:01.0"}, {ram_, {uint64_t{1} << 40, (uint64_t{1} << 40) + 4095}}, 3});
  EXPECT_EQ(wide.code(), StatusCode::kOutOfRange);
  EXPECT_NE(wide.message().find("of 39 bits"), std::string::npos) << wide.message();
}

TEST_F(PreflightTest, RefusesADeviceThatIsGivenTwice) {
  EXPECT_EQ(Check({{"0000:21:10.0", "0000:21:10.0"}, {ram_}, 3}).code(), StatusCode::kInvalidArgument);
}

TEST_F(PreflightTest, PrefersDeviceFilesWhereAllDevicesHaveOne) {
  const std::vector<std::string> both = {"0000:21:10.0", "0000:84:01.0"};
  EXPECT_EQ(ChooseVfioInterface(both, root_), VfioInterface::kGroup);
  Put("dev/iommu", "");
  for (int i : {0, 1}) {
    EXPECT_EQ(ChooseVfioInterface(both, root_), VfioInterface::kGroup);
    fs::create_directories(root_ + "/sys/bus/pci/devices/" + both[static_cast<size_t>(i)] + "/vfio-dev/vfio" +
                           std::to_string(i));
    Put("dev/vfio/devices/vfio" + std::to_string(i), "");
  }
  EXPECT_EQ(ChooseVfioInterface(both, root_), VfioInterface::kDeviceFile);
}

}  // namespace
}  // namespace berth::vmm
