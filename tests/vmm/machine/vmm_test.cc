#include "vmm/machine/vmm.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <future>
#include <thread>

#include "tests/vmm/boot/kernel_image.h"
#include "vmm/bus/thread_affinity.h"
#include "vmm/config/validate.h"
#include "vmm/kvm/fake_kvm.h"
#include "vmm/memory/prefault.h"

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
  Confinement confinement_{{}, false};
  Vmm vmm_{kvm_, *loop_, [this](MachineEnd) { loop_->Stop(); }, nullptr, confinement_};
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
  EXPECT_EQ(vmm_.Resize(request).field(), "desired_ram");
  request = {};
  for (uint32_t vcpus : {0u, 1000u}) {
    request.vcpus = vcpus;
    EXPECT_EQ(vmm_.Resize(request).message(), "a guest with " + std::to_string(vcpus) +
                                                  " vCPUs; this one can have 1 to " +
                                                  std::to_string(kMaxVcpus));
    EXPECT_EQ(vmm_.Resize(request).field(), "desired_vcpus");
  }
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

// A restriction cannot be taken back: in a child, with a control loop and VMs of its own. Returns the step
// that failed, or 0.
int ConfinedSteps(const std::string& folder, const std::string& kernel) {
  FakeKvm kvm;
  auto loop = *EventLoop::Create();
  std::thread control([&loop] { (void)loop->Run(); });
  Confinement confinement({{"/proc", PathRule::Use::kRead}, {"/sys", PathRule::Use::kRead}}, false);
  Vmm vmm(kvm, *loop, [](MachineEnd) {}, nullptr, confinement);
  ConfigErrors errors;
  auto config = [&](const std::string& disk, const std::string& more) {
    return R"({"payload":{"kernel":")" + kernel +
           R"("},"memory":{"size":67108864},"serial":{"mode":"Null"},)" + R"("rng":null,"disks":[{"path":")" +
           folder + disk + R"("}])" + more + "}";
  };
  const std::string confined =
      R"(,"landlock_enable":true,"landlock_rules":[{"path":")" + folder + R"(/later","access":"rw"}])";
  auto opens = [&folder](const char* name) {
    UniqueFd file(::open((folder + name).c_str(), O_RDWR | O_CLOEXEC));
    return file.valid();
  };
  auto opens_on_control = [&](const char* name) {
    std::promise<bool> result;
    loop->Post([&] { result.set_value(opens(name)); });
    return result.get_future().get();
  };
  auto steps = [&] {
    if (vmm.Create(config("/none", confined), errors).code() != StatusCode::kNotFound) return 1;
    if (!vmm.Create(config("/other", ""), errors).ok() || !opens("/other")) return 2;
    if (!vmm.Delete().ok()) return 3;
    if (!vmm.Create(config("/disk", confined), errors).ok() || !vmm.config().landlock.enable) return 4;
    if (opens("/other") || opens_on_control("/other")) return 5;
    if (!opens("/disk") || !opens_on_control("/disk")) return 6;
    if (!vmm.Boot().ok()) return 7;
    if (!vmm.AddDevice("disk", R"({"path":")" + folder + R"(/later/disk"})", {}, errors).has_value())
      return 8;
    auto refused = vmm.AddDevice("disk", R"({"path":")" + folder + R"(/other"})", {}, errors);
    if (refused.has_value() || refused.error().hint().find("landlock_rules") == std::string::npos) return 9;
    if (!vmm.Delete().ok()) return 10;
    const Status other = vmm.Create(config("/other", ""), errors);
    if (other.code() != StatusCode::kFailedPrecondition) return 11;
    if (other.message().find(folder + "/other") == std::string::npos) return 12;
    if (!vmm.Create(config("/disk", ""), errors).ok() || vmm.config().landlock.enable) return 13;
    refused = vmm.AddDevice("disk", R"({"path":")" + folder + R"(/other"})", {}, errors);
    if (refused.has_value() || refused.error().code() != StatusCode::kFailedPrecondition) return 14;
    return 0;
  };
  const int failed = steps();
  (void)vmm.Delete();
  loop->Stop();
  control.join();
  return failed;
}

TEST_F(VmmTest, AVmThatAsksForItConfinesTheProcess) {
  if (::syscall(SYS_landlock_create_ruleset, nullptr, 0, 1) < 3)
    GTEST_SKIP() << "this kernel has no Landlock of version 3";
  const std::string folder = testing::TempDir() + "vmm_test_confined";
  std::filesystem::create_directories(folder + "/later");
  for (const char* name : {"/disk", "/other", "/later/disk"}) {
    std::ofstream(folder + name) << "x";
    std::filesystem::resize_file(folder + name, 1 << 20);
  }
  const pid_t child = ::fork();
  if (child == 0) ::_exit(ConfinedSteps(folder, kernel_));
  int status = 0;
  ::waitpid(child, &status, 0);
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0) << "the step that failed";
  std::filesystem::remove_all(folder);
}

TEST_F(VmmTest, RulesOfPathsThatDoNotExistAreRefused) {
  std::string config = Config();
  config.back() = ',';
  config += R"("landlock_enable":true,"landlock_rules":[{"path":"/none/such","access":"r"}]})";
  EXPECT_EQ(vmm_.Create(config, errors_).code(), StatusCode::kInvalidArgument);
  ASSERT_EQ(errors_.size(), 1u);
  EXPECT_EQ(errors_[0].code, "LandlockPathMissing");
  EXPECT_FALSE(vmm_.exists());
}

TEST(DeviceThreads, RunNearTheirMemoryBesideBoundVcpus) {
  const CpuSet near = CpusOfHostNode(0) & AllowedCpus(0);
  if (near.Count() < 2) GTEST_SKIP() << "this host's NUMA node 0 has fewer than two CPUs";
  VmConfig config;
  config.memory_zones.resize(1);
  config.memory_zones[0].id = "a";
  config.memory_zones[0].host_numa_node = 0;
  EXPECT_EQ(CpusForDeviceLoop(config), near) << "all memory is there";
  config.memory_zones.emplace_back().id = "b";
  EXPECT_TRUE(CpusForDeviceLoop(config).empty()) << "memory may be elsewhere as well";
  config.numa.resize(2);
  config.numa[0].memory_zones = {"b"};
  config.numa[1].guest_numa_id = 1;
  config.numa[1].memory_zones = {"a"};
  EXPECT_TRUE(CpusForDeviceLoop(config).empty()) << "segment 0 belongs to the first node";
  config.numa[1].pci_segments = {0};
  EXPECT_EQ(CpusForDeviceLoop(config), near);
  config.cpus.affinity[0] = {near.First()};
  EXPECT_EQ(CpusForDeviceLoop(config), near - CpuSet{near.First()});
  EXPECT_EQ(CpusNearSegment(config, 0), near - CpuSet{near.First()});
  config.cpus.affinity[1] = near;
  EXPECT_TRUE(CpusForDeviceLoop(config).empty()) << "it would wait for a vCPU that waits for it";
  EXPECT_EQ(CpusNearSegment(config, 0), near) << "whoever waits for a disk sleeps";
}

TEST_F(VmmTest, ADiskIsMadeLarger) {
  const std::string image = testing::TempDir() + "vmm_test_image";
  std::ofstream(image) << std::string(1 << 20, 'x');
  EXPECT_EQ(vmm_.ResizeDisk("data", 2 << 20).code(), StatusCode::kNotFound);
  ASSERT_TRUE(vmm_.Create(Config(), errors_).ok());
  ASSERT_TRUE(vmm_.AddDevice("disk", R"({"id":"data","path":")" + image + R"("})", {}, errors_));
  ASSERT_TRUE(
      vmm_.AddDevice("disk", R"({"id":"fixed","readonly":true,"path":")" + kernel_ + R"("})", {}, errors_));
  EXPECT_EQ(vmm_.ResizeDisk("data", 2 << 20).code(), StatusCode::kFailedPrecondition) << "not booted";
  ASSERT_TRUE(vmm_.Boot().ok());

  EXPECT_EQ(vmm_.ResizeDisk("data", 2 << 20), OkStatus());

  EXPECT_EQ(std::filesystem::file_size(image), 2u << 20);
  EXPECT_EQ(vmm_.ResizeDisk("data", 1 << 20).code(), StatusCode::kInvalidArgument) << "smaller";
  EXPECT_EQ(vmm_.ResizeDisk("none", 4 << 20).code(), StatusCode::kNotFound);
  EXPECT_FALSE(vmm_.ResizeDisk("fixed", 4 << 20).ok());
  EXPECT_EQ(std::filesystem::file_size(image), 2u << 20);
  ASSERT_TRUE(vmm_.Delete().ok());
  std::filesystem::remove(image);
}

TEST_F(VmmTest, ACoreFileIsOfAVmThatIsPaused) {
  const std::string core = testing::TempDir() + "vmm_test_core";
  std::filesystem::remove(core);
  EXPECT_EQ(vmm_.CoreDump(core).code(), StatusCode::kNotFound);
  ASSERT_TRUE(vmm_.Create(Config(), errors_).ok());
  EXPECT_EQ(vmm_.CoreDump(core).code(), StatusCode::kFailedPrecondition) << "not booted";
  ASSERT_TRUE(vmm_.Boot().ok());
  EXPECT_EQ(vmm_.CoreDump(core).message(), "coredump: the VM is Running, must be Paused");
  EXPECT_FALSE(std::filesystem::exists(core));
  ASSERT_TRUE(vmm_.Perform(VmAction::kPause).ok());

  EXPECT_EQ(vmm_.CoreDump(core), OkStatus());

  EXPECT_GT(std::filesystem::file_size(core), 64u << 20);
  ASSERT_TRUE(vmm_.Delete().ok());
  std::filesystem::remove(core);
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
