#include "vmm/cvm/snp_launch.h"

#include <unistd.h>

#include <cstdio>
#include <fstream>

#include "tests/vmm/cvm/fake_snp.h"
#include "tests/vmm/cvm/images.h"
#include "tests/vmm/cvm/launch_rig.h"

namespace berth::vmm {
namespace {

class SnpLaunchTest : public LaunchRig {
 protected:
  void SetUp() override {
    LaunchRig::SetUp();
    kvm_.AddPlatform(snp_);
    device_ = testing::TempDir() + "fake-sev-" + std::to_string(::getpid());
    std::ofstream(device_) << "";
    options_.device = device_;
    options_.vcpus = 2;
    options_.host_data[0] = 0x42;
    MakeFirmware();
  }
  void TearDown() override {
    LaunchRig::TearDown();
    std::remove(device_.c_str());
  }
  void MakeFirmware() {
    image_ = MakeSevFirmware({{0x800000, 0x2000, 1}, {0x80d000, 0x1000, 2}, {0x80e000, 0x1000, 3}});
    auto launch = SnpLaunch::FromFirmware(image_, options_);
    ASSERT_TRUE(launch.has_value()) << launch.error().ToString();
    launch_ = *std::move(launch);
  }
  std::string Failure() {
    Status status = Launch(*launch_);
    return status.ok() ? "launched" : status.message();
  }

  std::shared_ptr<FakeSnp> snp_ = std::make_shared<FakeSnp>();
  std::string device_;
  SnpLaunch::Options options_;
  std::vector<uint8_t> image_;
  std::unique_ptr<SnpLaunch> launch_;
};

TEST_F(SnpLaunchTest, BuildsTheGuestFromItsFirmware) {
  Status status = Launch(*launch_);

  ASSERT_TRUE(status.ok()) << status.ToString();
  EXPECT_TRUE(snp_->finished);
  EXPECT_EQ(snp_->policy, 0x30000u);
  EXPECT_EQ(snp_->host_data[0], 0x42);
  EXPECT_EQ(snp_->pages.size(), 6u);
  EXPECT_EQ(snp_->pages.at(0xffffe000).content, std::vector<uint8_t>(image_.begin(), image_.begin() + 4096));
  EXPECT_EQ(snp_->pages.at(0x80d000).type, abi::kSnpPageSecrets);
  EXPECT_EQ(snp_->pages.at(0x80e000).type, abi::kSnpPageCpuid);
  EXPECT_EQ(snp_->pages.at(0x80e000).content[0], 2) << "leaves";
}

TEST_F(SnpLaunchTest, StartsProcessorsWhereTheFirmwareSays) {
  ASSERT_TRUE(Launch(*launch_).ok());
  const FakeVm vm = kvm_.vm();

  EXPECT_EQ(vm.vcpus.at(0).state.regs.rip, 0xfff0u);
  EXPECT_EQ(vm.vcpus.at(0).state.sregs.cs.base, 0xffff0000u);
  EXPECT_EQ(vm.vcpus.at(0).state.regs.rdx, 0x800f12u);
  EXPECT_EQ(vm.vcpus.at(1).state.regs.rip, 0xb004u);
  EXPECT_EQ(vm.vcpus.at(1).state.sregs.cs.base, 0x800000u);
}

TEST_F(SnpLaunchTest, MeasuresWhatItHasLaunched) {
  ASSERT_TRUE(Launch(*launch_).ok());
  SnpDigest expected;
  for (const auto& [gpa, type] : snp_->order) {
    if (type == abi::kSnpPageNormal) expected.AddNormal(gpa, snp_->pages.at(gpa).content);
    if (type == abi::kSnpPageZero) expected.AddZero(gpa, 4096);
    if (type == abi::kSnpPageSecrets) expected.AddSecrets(gpa);
    if (type == abi::kSnpPageCpuid) expected.AddCpuid(gpa);
  }
  for (uint32_t eip : {0xfffffff0u, 0x80b004u}) expected.AddVmsa(BuildVmsa({eip, 0x800f12, 1}));

  ASSERT_TRUE(launch_->measurement().has_value());
  EXPECT_EQ(launch_->measurement()->name, "launch_digest");
  EXPECT_EQ(launch_->measurement()->digest,
            std::vector<uint8_t>(expected.value().begin(), expected.value().end()));
}

TEST_F(SnpLaunchTest, StartsFromAnIgvmFile) {
  IgvmBuilder builder;
  builder.Platform();
  builder.Policy(0xb0000);
  builder.Page(0x100000, builder.Data(std::vector<uint8_t>(4096, 1)));
  builder.Page(0x101000, -1, 0, 2);
  builder.Page(0x102000, -1, 1);
  const auto vmsa = BuildVmsa({0x100010, 0, 1});
  const std::vector<uint8_t> state(vmsa.begin(), vmsa.end());
  builder.Vp(0, builder.Data(state), 0);
  const std::vector<uint8_t> file = builder.Build();
  options_.vcpus = 1;
  auto launch = SnpLaunch::FromIgvm(file, options_);
  ASSERT_TRUE(launch.has_value()) << launch.error().ToString();

  Status status = Launch(**launch, {}, 1);

  ASSERT_TRUE(status.ok()) << status.ToString();
  EXPECT_EQ(snp_->policy, 0xb0000u);
  EXPECT_EQ(snp_->order, (std::vector<std::pair<uint64_t, uint8_t>>{{0x100000, abi::kSnpPageNormal},
                                                                    {0x101000, abi::kSnpPageUnmeasured},
                                                                    {0x102000, abi::kSnpPageSecrets}}));
  EXPECT_EQ(kvm_.vm().vcpus.at(0).state.sregs.cs.base, 0x100000u);
}

TEST_F(SnpLaunchTest, RefusesAnIgvmFileWithoutTheStatesOfAllVcpus) {
  IgvmBuilder builder;
  builder.Platform();
  const auto vmsa = BuildVmsa({});
  builder.Vp(0, builder.Data({vmsa.begin(), vmsa.end()}), 0);
  const std::vector<uint8_t> file = builder.Build();

  EXPECT_EQ(SnpLaunch::FromIgvm(file, options_).error().message(),
            "the IGVM file has no state of vCPU 1, the guest has 2");
}

TEST_F(SnpLaunchTest, GoesOnWhereTheKernelStopped) {
  snp_->FailNext(abi::kSnpLaunchUpdate, {EAGAIN, 0, 1});
  snp_->FailNext(abi::kSnpLaunchUpdate, {EINTR, 0, 0});

  Status status = Launch(*launch_);

  ASSERT_TRUE(status.ok()) << status.ToString();
  EXPECT_EQ(snp_->pages.size(), 6u);
}

struct SnpError {
  uint32_t command;
  const char* name;
  int error;
  uint32_t firmware;
  const char* meaning;
};
class SnpErrors : public SnpLaunchTest, public testing::WithParamInterface<SnpError> {};
TEST_P(SnpErrors, AreExplained) {
  snp_->FailNext(GetParam().command, {GetParam().error, GetParam().firmware, 0});

  const std::string text = Failure();

  EXPECT_NE(text.find(GetParam().name), std::string::npos) << text;
  EXPECT_NE(text.find(GetParam().meaning), std::string::npos) << text;
  EXPECT_FALSE(snp_->finished);
}
INSTANTIATE_TEST_SUITE_P(
    All, SnpErrors,
    testing::Values(SnpError{abi::kSevInit2, "KVM_SEV_INIT2", EINVAL, 0, "initialised already"},
                    SnpError{abi::kSevInit2, "KVM_SEV_INIT2", EBUSY, 0, "ASIDs"},
                    SnpError{abi::kSevInit2, "KVM_SEV_INIT2", ENOTTY, 0, "no SNP VM"},
                    SnpError{abi::kSevInit2, "KVM_SEV_INIT2", EIO, 0x01, "platform is not initialised"},
                    SnpError{abi::kSnpLaunchStart, "LAUNCH_START with policy 0x30000", EINVAL, 0, "SMT"},
                    SnpError{abi::kSnpLaunchStart, "LAUNCH_START", ENOTTY, 0, "no SNP VM"},
                    SnpError{abi::kSnpLaunchStart, "LAUNCH_START", EIO, 0x07, "policy is not allowed"},
                    SnpError{abi::kSnpLaunchUpdate, "LAUNCH_UPDATE of page type 1 at 0xffffe000", EINVAL, 0,
                             "not private"},
                    SnpError{abi::kSnpLaunchUpdate, "LAUNCH_UPDATE", EPERM, 0, "belongs to the guest"},
                    SnpError{abi::kSnpLaunchUpdate, "LAUNCH_UPDATE", ENOMEM, 0, "no memory"},
                    SnpError{abi::kSnpLaunchUpdate, "LAUNCH_UPDATE", EFAULT, 0, "cannot be read"},
                    SnpError{abi::kSnpLaunchUpdate, "LAUNCH_UPDATE", EIO, 0x10, "no such guest"},
                    SnpError{abi::kSnpLaunchFinish, "LAUNCH_FINISH", EINVAL, 0, "not started"},
                    SnpError{abi::kSnpLaunchFinish, "LAUNCH_FINISH", EFAULT, 0, "identity block"},
                    SnpError{abi::kSnpLaunchFinish, "LAUNCH_FINISH", EIO, 0x0a, "signature"},
                    SnpError{abi::kSnpLaunchFinish, "LAUNCH_FINISH", EIO, 0x0b,
                             "identity block does not match"}));

TEST_F(SnpLaunchTest, SaysWhichCpuidTheFirmwareRefuses) {
  snp_->refuse_cpuid = true;
  EXPECT_NE(Failure().find("CPUID leaf 0x1/0: eax 0x800f12 is refused, 0x800f13 would be accepted"),
            std::string::npos);
}

TEST_F(SnpLaunchTest, APolicyWithoutMultiThreadingNeedsAHostWithoutIt) {
  options_.policy = 0x20000;
  MakeFirmware();
  EXPECT_NE(Failure().find("forbids multi-threading (bit 16 not set) while SMT is on"), std::string::npos);
}

TEST_F(SnpLaunchTest, NamesTheMissingDevice) {
  std::remove(device_.c_str());
  Status status = Launch(*launch_);
  EXPECT_EQ(status.code(), StatusCode::kNotFound);
  EXPECT_NE(status.hint().find("sev_snp=1"), std::string::npos);
}

TEST_F(SnpLaunchTest, NeedsPrivateMemory) {
  private_memory_ = false;
  EXPECT_NE(Failure().find("no guest_memfd"), std::string::npos);
}

TEST_F(SnpLaunchTest, KvmKeepsItsOrder) {
  auto vm = kvm_.CreateVm(VmType::kSevSnp);
  ASSERT_TRUE(vm.has_value());
  vm_ = *std::move(vm);
  EXPECT_FALSE(vm_->CreateVcpu(0).has_value()) << "a vCPU before INIT2";
  EXPECT_FALSE(launch_->Finish(*vm_).ok()) << "FINISH before START";
  ASSERT_TRUE(launch_->InitVm(*vm_, cpuid_).ok());
  EXPECT_FALSE(launch_->InitVm(*vm_, cpuid_).ok()) << "INIT2 twice";
  auto vcpu = vm_->CreateVcpu(0);
  ASSERT_TRUE(vcpu.has_value());
  EXPECT_FALSE((*vcpu)->Run().has_value()) << "KVM_RUN before FINISH";
}

}  // namespace
}  // namespace berth::vmm
