#include "vmm/cvm/virtcca_launch.h"

#include "tests/vmm/cvm/fake_tmm.h"
#include "tests/vmm/cvm/launch_rig.h"

namespace berth::vmm {
namespace {

constexpr uint64_t kGiB = uint64_t{1} << 30;
constexpr uint64_t kBase = kGiB;

class VirtccaLaunchTest : public LaunchRig {
 protected:
  void SetUp() override {
    LaunchRig::SetUp();
    private_memory_ = false;  // secure memory is the monitor's, not guest_memfd's
    kvm_.AddPlatform(tmm_);
    options_.nodes = {{kBase, kGiB, 2, {0}}, {kBase + kGiB, kGiB, 3, {1, 70}}};
    options_.images = {kBase, kBase + 0x1001000, kBase + 0x4000000, kBase + 0x4805000};
  }
  Status Run() {
    VirtccaLaunch launch(options_);
    return Launch(launch);
  }
  std::string Failure() {
    Status status = Run();
    return status.ok() ? "launched" : status.message();
  }

  std::shared_ptr<FakeTmm> tmm_ = std::make_shared<FakeTmm>();
  VirtccaLaunch::Options options_;
};

TEST_F(VirtccaLaunchTest, MakesAGuestWithTwoNodes) {
  options_.sha512 = true;
  options_.sve_vector_bits = 256;
  options_.pmu_counters = 4;

  Status status = Run();

  ASSERT_TRUE(status.ok()) << status.ToString();
  EXPECT_EQ(tmm_->state, FakeTmm::State::kActive);
  EXPECT_EQ(tmm_->configured,
            (std::vector<uint32_t>{abi::kTmmCfgHashAlgo, abi::kTmmCfgSve, abi::kTmmCfgPmu}));
  ASSERT_TRUE(tmm_->user_data.has_value());
  EXPECT_EQ(tmm_->user_data->ram_size, 2 * kGiB);
  EXPECT_EQ(tmm_->user_data->numa_info.numa_nodes[1].host_numa_nodes[0], 3);
  EXPECT_EQ(tmm_->user_data->numa_info.numa_nodes[1].cpu_id[0], 2u);
  EXPECT_EQ(tmm_->user_data->numa_info.numa_nodes[1].cpu_id[1], uint64_t{1} << 6);
  ASSERT_EQ(tmm_->populated.size(), 1u);
  EXPECT_EQ(tmm_->populated[0].flags, abi::kTmmPopulateMeasure);
  EXPECT_EQ(tmm_->tecs, (std::set<uint32_t>{0, 1}));
}

TEST_F(VirtccaLaunchTest, ChecksWhatTheKernelWouldRefuse) {
  auto with = [&](auto change) {
    const VirtccaLaunch::Options saved = options_;
    change(options_);
    std::string text = Failure();
    options_ = saved;
    return text;
  };
  using Options = VirtccaLaunch::Options;
  EXPECT_NE(with([](Options& o) { o.nodes[1].size += 4096; }).find("steps of 2 MiB"), std::string::npos);
  EXPECT_NE(with([](Options& o) { std::swap(o.nodes[0], o.nodes[1]); }).find("ascending"), std::string::npos);
  EXPECT_NE(with([](Options& o) { o.nodes = {{kBase, kGiB / 2, 0, {0}}}; }).find("1 GiB"), std::string::npos);
  EXPECT_NE(with([](Options& o) { o.images.dtb_end = kBase + 3 * kGiB; }).find("first node"),
            std::string::npos);
  EXPECT_NE(with([](Options& o) { o.images.initrd_start = kBase + 4096; }).find("one after the other"),
            std::string::npos);
  EXPECT_NE(with([](Options& o) { o.nodes[0].vcpus = {256}; }).find("above 255"), std::string::npos);
  EXPECT_NE(with([](Options& o) { o.nodes.clear(); }).find("0 nodes"), std::string::npos);
}

TEST_F(VirtccaLaunchTest, SaysWhenSecureMemoryIsShort) {
  tmm_->secure_memory = kGiB;
  EXPECT_NE(Failure().find("not enough secure memory on a node of the guest"), std::string::npos);
}

TEST_F(VirtccaLaunchTest, SaysWhatTheMonitorDoesNotHave) {
  tmm_->sha512 = false;
  options_.sha512 = true;
  EXPECT_EQ(Failure(),
            "virtCCA configuration of the measurement: Invalid argument: the monitor (TMM) does not "
            "support the value");
}

struct TmmError {
  uint64_t command;
  const char* name;
  int error;
  const char* meaning;
};
class TmmErrors : public VirtccaLaunchTest, public testing::WithParamInterface<TmmError> {};
TEST_P(TmmErrors, AreExplained) {
  tmm_->FailNext(GetParam().command, GetParam().error);

  const std::string text = Failure();

  EXPECT_NE(text.find(GetParam().name), std::string::npos) << text;
  EXPECT_NE(text.find(GetParam().meaning), std::string::npos) << text;
  EXPECT_NE(tmm_->state, FakeTmm::State::kActive);
}
INSTANTIATE_TEST_SUITE_P(
    All, TmmErrors,
    testing::Values(TmmError{abi::kTmmConfigCvm, "configuration of the measurement", EINVAL, "monitor"},
                    TmmError{abi::kTmmConfigCvm, "configuration of the measurement", EBUSY, "exists already"},
                    TmmError{abi::kTmmConfigCvm, "configuration of the measurement", EFAULT,
                             "another version"},
                    TmmError{FakeTmm::kUserData, "user data", EINVAL, "nodes or the places"},
                    TmmError{FakeTmm::kUserData, "user data", EFAULT, "no virtCCA VM"},
                    TmmError{FakeTmm::kUserData, "user data", ENOTTY, "virtcca_cvm_host=1"},
                    TmmError{abi::kTmmCreateRd, "CREATE_RD", ENOMEM, "secure memory"},
                    TmmError{abi::kTmmCreateRd, "CREATE_RD", EFAULT, "no parameters"},
                    TmmError{FakeTmm::kTec, "context of vCPU 0", EINVAL, "does not exist"},
                    TmmError{FakeTmm::kTec, "context of vCPU 0", EPERM, "already"},
                    TmmError{FakeTmm::kTec, "context of vCPU 0", ENOMEM, "secure memory"},
                    TmmError{abi::kTmmPopulateCvm, "POPULATE", EINVAL, "whole pages"},
                    TmmError{abi::kTmmPopulateCvm, "POPULATE", EFAULT, "outside"},
                    TmmError{abi::kTmmActivateCvm, "ACTIVATE", EINVAL, "runs already"},
                    TmmError{abi::kTmmActivateCvm, "ACTIVATE", EFAULT, "memory_info"},
                    TmmError{abi::kTmmActivateCvm, "ACTIVATE", ENXIO, "monitor refuses"}));

TEST_F(VirtccaLaunchTest, KvmKeepsItsOrder) {
  auto vm = kvm_.CreateVm(VmType::kArmRealm);
  ASSERT_TRUE(vm.has_value());
  vm_ = *std::move(vm);
  VirtccaLaunch launch(options_);
  auto vcpu = vm_->CreateVcpu(0);
  ASSERT_TRUE(vcpu.has_value());
  EXPECT_FALSE(launch.Load(*vm_, **vcpu, {}).ok()) << "POPULATE before CREATE_RD";
  EXPECT_FALSE(launch.Finish(*vm_).ok()) << "ACTIVATE before CREATE_RD";
  EXPECT_FALSE(launch.InitVcpu(**vcpu, 0).ok()) << "a TEC before CREATE_RD";
  ASSERT_TRUE(launch.InitVm(*vm_, cpuid_).ok());
  EXPECT_FALSE(launch.InitVm(*vm_, cpuid_).ok()) << "configuration after CREATE_RD";
  EXPECT_FALSE((*vcpu)->Run().has_value()) << "KVM_RUN before ACTIVATE";
}

}  // namespace
}  // namespace berth::vmm
