#include "vmm/machine/vmm.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <thread>

#include "tests/vmm/boot/kernel_image.h"
#include "vmm/kvm/fake_kvm.h"

namespace berth::vmm {
namespace {

class VmmTest : public ::testing::Test {
 protected:
  void SetUp() override {
    kernel_ = testing::TempDir() + "vmm_test_vmlinuz";
    KernelImage image;
    std::ofstream(kernel_, std::ios::binary)
        .write(reinterpret_cast<const char*>(image.bytes().data()), static_cast<long>(image.bytes().size()));
    thread_ = std::thread([this] { EXPECT_TRUE(loop_->Run().ok()); });
  }
  void TearDown() override {
    loop_->Stop();
    thread_.join();
    std::filesystem::remove(kernel_);
  }
  std::string Config() const {
    return R"({"payload":{"kernel":")" + kernel_ +
           R"("},"memory":{"size":67108864},"serial":{"mode":"Null"},"rng":null})";
  }

  std::string kernel_;
  ConfigErrors errors_;
  FakeKvm kvm_;
  std::unique_ptr<EventLoop> loop_ = *EventLoop::Create();
  std::thread thread_;
  Vmm vmm_{kvm_, *loop_, [this](MachineEnd) { loop_->Stop(); }, nullptr};
};

TEST_F(VmmTest, AVmIsCreatedBootedShutDownBootedAndDeleted) {
  EXPECT_FALSE(vmm_.exists());
  EXPECT_EQ(vmm_.Boot().code(), StatusCode::kNotFound);
  ASSERT_TRUE(vmm_.Create(Config(), errors_).ok());
  EXPECT_EQ(vmm_.Create(Config(), errors_).code(), StatusCode::kAlreadyExists);
  EXPECT_EQ(vmm_.Facts().state, VmState::kCreated);
  EXPECT_EQ(vmm_.config().memory.size, MiB(64));
  EXPECT_EQ(vmm_.Perform(VmAction::kPause).code(), StatusCode::kFailedPrecondition);

  ASSERT_TRUE(vmm_.Boot().ok());
  EXPECT_EQ(vmm_.Facts().state, VmState::kRunning);
  ASSERT_TRUE(vmm_.Perform(VmAction::kShutdown).ok());
  ASSERT_TRUE(vmm_.Boot().ok());
  EXPECT_EQ(vmm_.Counters()["vm"]["boots"], 2u);

  ASSERT_TRUE(vmm_.Delete().ok());
  EXPECT_FALSE(vmm_.exists());
  EXPECT_TRUE(vmm_.Delete().ok()) << "there is none already";
  ASSERT_TRUE(vmm_.Create(Config(), errors_).ok());
  ASSERT_TRUE(vmm_.Boot().ok());
  EXPECT_EQ(vmm_.Counters()["vm"]["boots"], 1u);
  ASSERT_TRUE(vmm_.Delete().ok());
}

TEST_F(VmmTest, ConfigurationsAreValidatedWithAllErrors) {
  Status status = vmm_.Create(R"({"payload":{},"memory":{"size":5000},"cpus":{"boot_vcpus":0}})", errors_);
  EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
  for (const char* code : {"KernelMissing", "MisalignedMemorySize", "[InvalidValue]"})
    EXPECT_NE(status.message().find(code), std::string::npos) << status.message();
  EXPECT_FALSE(vmm_.exists());
}

TEST_F(VmmTest, DevicesAreAddedBeforeTheFirstBoot) {
  ASSERT_TRUE(vmm_.Create(Config(), errors_).ok());
  Result<AddedDevice> added =
      vmm_.AddDevice("disk", R"({"path":")" + kernel_ + R"(","readonly":true})", {}, errors_);
  ASSERT_TRUE(added.has_value()) << added.status().ToString();
  EXPECT_EQ(added->id, "disk0");
  EXPECT_FALSE(added->place);
  ASSERT_TRUE(vmm_.Boot().ok());
  EXPECT_EQ(vmm_.Facts().devices[0].id, "disk0");
  EXPECT_TRUE(vmm_.Counters()["disk0"].contains("read_bytes"));
  ASSERT_TRUE(vmm_.Delete().ok());
}

TEST_F(VmmTest, AllErrorsAreToldOneByOne) {
  EXPECT_FALSE(vmm_.Create(R"({"payload":{},"memory":{"size":5000},"cpus":{"boot_vcpus":0}})", errors_).ok());
  EXPECT_GE(errors_.size(), 3u);
  EXPECT_FALSE(vmm_.Preflight("{", errors_).has_value());
  EXPECT_EQ(errors_.size(), 1u);
  ASSERT_TRUE(vmm_.Create(Config(), errors_).ok());
  EXPECT_FALSE(vmm_.AddDevice("disk", R"({"path":""})", {}, errors_).has_value());
  EXPECT_FALSE(errors_.empty());
  ASSERT_TRUE(vmm_.Boot().ok());
  errors_.clear();
  EXPECT_FALSE(vmm_.AddDevice("disk", R"({"path":""})", {}, errors_).has_value());
  EXPECT_FALSE(errors_.empty());
}

TEST_F(VmmTest, WhatHasNotBootedIsResizedAndLosesDevices) {
  ASSERT_TRUE(vmm_.Create(Config(), errors_).ok());
  ASSERT_TRUE(vmm_.AddDevice("disk", R"({"path":")" + kernel_ + R"(","readonly":true})", {}, errors_));
  ResizeRequest request;
  request.vcpus = 3;
  request.ram = uint64_t{128} << 20;
  ASSERT_TRUE(vmm_.Resize(request).ok());
  EXPECT_EQ(vmm_.config().cpus.boot, 3u);
  EXPECT_EQ(vmm_.config().memory.size, MiB(128));
  request.ram = 4097;
  EXPECT_EQ(vmm_.Resize(request).code(), StatusCode::kInvalidArgument);
  request = {};
  request.balloon = 4096;
  EXPECT_EQ(vmm_.Resize(request).field(), "desired_balloon");
  EXPECT_EQ(vmm_.ResizeZone("m0", 4096, {}).field(), "id");
  EXPECT_EQ(vmm_.config().memory.size, MiB(128));

  EXPECT_EQ(vmm_.RemoveDevice("disk1", {}).code(), StatusCode::kNotFound);
  ASSERT_TRUE(vmm_.RemoveDevice("disk0", {}).ok());
  EXPECT_TRUE(vmm_.config().disks.empty());
  ASSERT_TRUE(vmm_.Boot().ok());
  EXPECT_EQ(vmm_.Facts().vcpus.size(), 3u);
}

TEST_F(VmmTest, DescriptorsOfAVmThatHasNotBootedAreRefusedNotLost) {
  ASSERT_TRUE(vmm_.Create(Config(), errors_).ok());
  std::vector<UniqueFd> fds;
  fds.emplace_back(::open("/dev/null", O_RDWR | O_CLOEXEC));
  auto added = vmm_.AddDevice("net", R"({"tap":"zz"})", std::move(fds), errors_);
  ASSERT_FALSE(added.has_value());
  EXPECT_EQ(added.error().field(), "fds");
  EXPECT_TRUE(vmm_.config().nets.empty());
}

TEST_F(VmmTest, ADeviceOfTheHostIsAddedBeforeTheFirstBoot) {
  ASSERT_TRUE(vmm_.Create(Config(), errors_).ok());
  Result<AddedDevice> added =
      vmm_.AddDevice("device", R"({"path":"/sys/bus/pci/devices/0000:21:10.0"})", {}, errors_);
  ASSERT_TRUE(added.has_value()) << added.status().ToString();
  EXPECT_EQ(added->id, "device0");
  EXPECT_FALSE(added->place);
  EXPECT_EQ(vmm_.config().devices.size(), 1u);
  ASSERT_TRUE(vmm_.Delete().ok());
}

TEST_F(VmmTest, ABootThatFailsCanBeTriedAgain) {
  ASSERT_TRUE(vmm_.Create(Config(), errors_).ok());
  kvm_.FailCall(KvmCall::kCreateVm, ENOMEM);
  EXPECT_FALSE(vmm_.Boot().ok());
  EXPECT_TRUE(vmm_.Boot().ok());
  ASSERT_TRUE(vmm_.Delete().ok());
}

TEST_F(VmmTest, LooksAtAHostWithoutAVm) {
  EXPECT_EQ(vmm_.Preflight("", errors_).status().code(), StatusCode::kNotFound);
  EXPECT_EQ(vmm_.Preflight("{", errors_).status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(*vmm_.Preflight(Config(), errors_), "[]");
  EXPECT_NE(vmm_.Accounting().find("\"total\""), std::string::npos);
}

TEST_F(VmmTest, SendsNmisToEveryVcpu) {
  ASSERT_TRUE(vmm_.Create(Config(), errors_).ok());
  ASSERT_TRUE(vmm_.Boot().ok());
  ASSERT_TRUE(vmm_.Perform(VmAction::kNmi).ok());
  EXPECT_EQ(kvm_.vm().signalled, (std::vector<MsiMessage>{{0xfee00000, 0x400}}));
  ASSERT_TRUE(vmm_.Delete().ok());
}

}  // namespace
}  // namespace berth::vmm
