#include "vmm/cvm/tdx_launch.h"

#include "tests/vmm/cvm/fake_tdx.h"
#include "tests/vmm/cvm/images.h"
#include "tests/vmm/cvm/launch_rig.h"
#include "vmm/cvm/td_hob.h"

namespace berth::vmm {
namespace {

class TdxLaunchTest : public LaunchRig {
 protected:
  void SetUp() override {
    LaunchRig::SetUp();
    kvm_.AddPlatform(tdx_);
    kvm_cpuid_entry2 leaf{};
    leaf.function = 1;
    leaf.eax = 0xfff0;
    tdx_->configurable.assign(100, {});
    tdx_->configurable[99] = leaf;
    for (uint32_t i = 0; i < 99; ++i) tdx_->configurable[i].function = 0x1000 + i;
    Make(UsualTdvf());
  }
  void Make(const std::vector<TdvfEntry>& sections) {
    image_ = MakeTdvf(sections);
    TdxLaunch::Options options;
    options.mr_config_id[0] = 0x5a;
    auto launch = TdxLaunch::Create(image_, options);
    ASSERT_TRUE(launch.has_value()) << launch.error().ToString();
    launch_ = *std::move(launch);
  }
  std::string Failure() {
    Status status = Launch(*launch_);
    return status.ok() ? "launched" : status.message();
  }

  std::shared_ptr<FakeTdx> tdx_ = std::make_shared<FakeTdx>();
  std::vector<uint8_t> image_;
  std::unique_ptr<TdxLaunch> launch_;
};

TEST_F(TdxLaunchTest, BuildsTheGuestFromItsFirmware) {
  Status status = Launch(*launch_);

  ASSERT_TRUE(status.ok()) << status.ToString();
  EXPECT_TRUE(tdx_->final);
  EXPECT_EQ(tdx_->attributes, uint64_t{1} << 28);
  EXPECT_EQ(tdx_->xfam, 7u);
  EXPECT_EQ(tdx_->mr_config_id[0], 0x5au);
  EXPECT_EQ(tdx_->vcpu_rcx, (std::map<uint32_t, uint64_t>{{0, 0x809000}, {1, 0x809000}}));
  // BFV, CFV, two pages of list, one temporary.
  EXPECT_EQ(tdx_->pages.size(), 6u);
  EXPECT_EQ(tdx_->measured, (std::set<uint64_t>{0xffffe000, 0xfffff000}));
  EXPECT_EQ(tdx_->pages.at(0xffffe000), std::vector<uint8_t>(image_.begin() + 8192, image_.begin() + 12288));
  auto list = ParseTdHob(0x809000, tdx_->pages.at(0x809000));
  ASSERT_TRUE(list.has_value()) << list.error().ToString();
  EXPECT_EQ(list->ranges.size(), 5u);
}

TEST_F(TdxLaunchTest, ChoosesOnlyCpuidBitsThatMayBeChosen) {
  ASSERT_TRUE(Launch(*launch_).ok());

  ASSERT_EQ(tdx_->cpuid.size(), 1u);
  EXPECT_EQ(tdx_->cpuid[0].function, 1u);
  EXPECT_EQ(tdx_->cpuid[0].eax, 0x800f12u & 0xfff0u);
}

TEST_F(TdxLaunchTest, MeasuresWhatItHasAdded) {
  ASSERT_TRUE(Launch(*launch_).ok());
  MrtdBuilder expected;
  auto add = [&](uint64_t gpa) {
    expected.AddPage(gpa);
    if (tdx_->measured.contains(gpa)) expected.ExtendPage(gpa, tdx_->pages.at(gpa));
  };
  for (uint64_t gpa :
       std::vector<uint64_t>{0xffffe000, 0xfffff000, 0xffffd000, 0x809000, 0x80a000, 0x810000}) {
    add(gpa);
  }
  const Sha384Digest digest = expected.Finish();

  ASSERT_TRUE(launch_->measurement().has_value());
  EXPECT_EQ(launch_->measurement()->name, "mrtd");
  EXPECT_EQ(launch_->measurement()->digest, std::vector<uint8_t>(digest.begin(), digest.end()));
}

TEST_F(TdxLaunchTest, GivesAKernelToTdShim) {
  auto sections = UsualTdvf();
  sections.push_back({0, 0, 0x900000, 8192, 5, 0});
  sections.push_back({0, 0, 0x910000, 4096, 6, 0});
  Make(sections);
  const std::vector<uint8_t> kernel(5000, 0x77);
  LaunchContent content;
  content.kernel = kernel;
  content.cmdline = "console=ttyS0";

  Status status = Launch(*launch_, content);

  ASSERT_TRUE(status.ok()) << status.ToString();
  EXPECT_EQ(tdx_->pages.at(0x900000)[0], 0x77);
  EXPECT_EQ(tdx_->pages.at(0x901000)[5000 - 4096], 0);
  EXPECT_EQ(tdx_->pages.at(0x910000)[0], 'c');
  EXPECT_TRUE(ParseTdHob(0x809000, tdx_->pages.at(0x809000))->linux_payload);
}

TEST_F(TdxLaunchTest, RefusesAKernelThatTheFirmwareDoesNotTake) {
  const std::vector<uint8_t> kernel(5000);
  LaunchContent content;
  content.kernel = kernel;

  EXPECT_EQ(Launch(*launch_, content).field(), "kernel");
}

TEST_F(TdxLaunchTest, GoesOnWhereASignalInterruptedIt) {
  tdx_->FailNext(abi::kTdxInitMemRegion, {EINTR, 0, 1});
  tdx_->FailNext(abi::kTdxInitMemRegion, {EAGAIN, 0, 0});
  tdx_->FailNext(abi::kTdxInitVm, {EAGAIN, 0, 0});
  tdx_->FailNext(abi::kTdxFinalizeVm, {EAGAIN, 0, 0});

  Status status = Launch(*launch_);

  ASSERT_TRUE(status.ok()) << status.ToString();
  EXPECT_EQ(tdx_->pages.size(), 6u);
}

TEST_F(TdxLaunchTest, GivesUpWhenTheKernelNeverGoesOn) {
  for (int i = 0; i < 3000; ++i) tdx_->FailNext(abi::kTdxInitMemRegion, {EAGAIN, 0, 0});
  EXPECT_NE(Failure().find("KVM_TDX_INIT_MEM_REGION of BFV at 0xffffe000"), std::string::npos);
}

// Every command with every error that the kernel gives for it: the launch ends with a text that names both.
struct TdxError {
  uint32_t command;
  const char* name;
  int error;
  const char* meaning;
};
class TdxErrors : public TdxLaunchTest, public testing::WithParamInterface<TdxError> {};
TEST_P(TdxErrors, AreExplained) {
  tdx_->FailNext(GetParam().command, {GetParam().error, 0xc000020100000000, 0});

  const std::string text = Failure();

  EXPECT_NE(text.find(GetParam().name), std::string::npos) << text;
  EXPECT_NE(text.find(GetParam().meaning), std::string::npos) << text;
  EXPECT_NE(text.find("TDX module status 0xc000020100000000"), std::string::npos) << text;
  EXPECT_FALSE(tdx_->final);
}
INSTANTIATE_TEST_SUITE_P(
    All, TdxErrors,
    testing::Values(TdxError{abi::kTdxCapabilities, "KVM_TDX_CAPABILITIES", ENOTTY, "Linux 6.16"},
                    TdxError{abi::kTdxInitVm, "KVM_TDX_INIT_VM", EINVAL, "refuses an attribute"},
                    TdxError{abi::kTdxInitVm, "KVM_TDX_INIT_VM", E2BIG, "too many CPUID leaves"},
                    TdxError{abi::kTdxInitVm, "KVM_TDX_INIT_VM", EBUSY, "another TD is being made"},
                    TdxError{abi::kTdxInitVm, "KVM_TDX_INIT_VM", ENOSPC, "key ids"},
                    TdxError{abi::kTdxInitVm, "KVM_TDX_INIT_VM", EIO, "module failed"},
                    TdxError{abi::kTdxInitVcpu, "KVM_TDX_INIT_VCPU of vCPU 0", EINVAL, "x2APIC"},
                    TdxError{abi::kTdxInitVcpu, "KVM_TDX_INIT_VCPU of vCPU 0", EIO, "module failed"},
                    TdxError{abi::kTdxInitMemRegion, "INIT_MEM_REGION of BFV", EINVAL,
                             "not whole private pages"},
                    TdxError{abi::kTdxInitMemRegion, "INIT_MEM_REGION of BFV", EFAULT, "no guest_memfd"},
                    TdxError{abi::kTdxInitMemRegion, "INIT_MEM_REGION of BFV", EEXIST, "added already"},
                    TdxError{abi::kTdxInitMemRegion, "INIT_MEM_REGION of BFV", ENOMEM, "no memory"},
                    TdxError{abi::kTdxInitMemRegion, "INIT_MEM_REGION of BFV", EIO, "refuses the page"},
                    TdxError{abi::kTdxFinalizeVm, "KVM_TDX_FINALIZE_VM", EINVAL, "final already"},
                    TdxError{abi::kTdxFinalizeVm, "KVM_TDX_FINALIZE_VM", EIO, "module failed"}));

TEST_F(TdxLaunchTest, NamesAttributesThatTheHostLacks) {
  tdx_->supported_attributes = 0;
  EXPECT_NE(Failure().find("TD attributes 0x10000000"), std::string::npos);
}

TEST_F(TdxLaunchTest, NeedsPrivateMemory) {
  private_memory_ = false;
  EXPECT_NE(Failure().find("no guest_memfd, or is shared"), std::string::npos);
}

TEST_F(TdxLaunchTest, KvmKeepsItsOrder) {
  auto vm = kvm_.CreateVm(VmType::kTdx);
  ASSERT_TRUE(vm.has_value());
  vm_ = *std::move(vm);
  EXPECT_FALSE(vm_->CreateVcpu(0).has_value()) << "a vCPU before INIT_VM";
  EXPECT_FALSE(launch_->Finish(*vm_).ok()) << "FINALIZE before INIT_VM";
  ASSERT_TRUE(vm_->EnableSplitIrqchip(24).ok());
  ASSERT_TRUE(launch_->InitVm(*vm_, cpuid_).ok());
  EXPECT_FALSE(launch_->InitVm(*vm_, cpuid_).ok()) << "INIT_VM twice";
  auto vcpu = vm_->CreateVcpu(0);
  ASSERT_TRUE(vcpu.has_value());
  EXPECT_FALSE(launch_->InitVcpu(**vcpu, 0).ok()) << "INIT_VCPU without x2APIC in CPUID";
  EXPECT_FALSE((*vcpu)->SetState({}).ok()) << "registers are the guest's";
  EXPECT_FALSE((*vcpu)->Run().has_value()) << "KVM_RUN before FINALIZE";
}

TEST_F(TdxLaunchTest, DevicesAreReachedBySharedAddressesOnly) {
  constexpr uint64_t kShared = uint64_t{1} << 47;
  EXPECT_FALSE(FakeTdx::Mmio(0xfec00000, kShared).has_value());
  EXPECT_EQ(FakeTdx::Mmio(0xfec00000 | kShared, kShared)->address, 0xfec00000u);
}

}  // namespace
}  // namespace berth::vmm
