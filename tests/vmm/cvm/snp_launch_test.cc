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

TEST_F(SnpLaunchTest, TellsKvmTheSevFeaturesOfTheIgvmFile) {
  const uint64_t features = kSevSnpActive | FakeSnp::kDebugSwap;
  IgvmBuilder builder;
  builder.Platform();
  const auto vmsa = BuildVmsa({0x100010, 0, features});
  for (uint16_t vcpu : {0, 1}) builder.Vp(0, builder.Data({vmsa.begin(), vmsa.end()}), vcpu);
  const std::vector<uint8_t> file = builder.Build();

  auto launch = SnpLaunch::FromIgvm(file, options_);
  ASSERT_TRUE(launch.has_value()) << launch.error().ToString();
  Status status = Launch(**launch);

  ASSERT_TRUE(status.ok()) << status.ToString();
  EXPECT_EQ(snp_->features, features);
  SnpDigest expected;
  for (int vcpu = 0; vcpu < 2; ++vcpu) expected.AddVmsa(vmsa);
  EXPECT_EQ((*launch)->measurement()->digest,
            std::vector<uint8_t>(expected.value().begin(), expected.value().end()));
}

TEST_F(SnpLaunchTest, RefusesSevFeaturesThatKvmDoesNotGive) {
  IgvmBuilder builder;
  builder.Platform();
  const auto vmsa = BuildVmsa({0x100010, 0, kSevSnpActive | 1 << 3});  // restricted injection
  for (uint16_t vcpu : {0, 1}) builder.Vp(0, builder.Data({vmsa.begin(), vmsa.end()}), vcpu);
  const std::vector<uint8_t> file = builder.Build();

  const Status status = Launch(**SnpLaunch::FromIgvm(file, options_));

  EXPECT_NE(status.message().find("the kernel does not know the guest's SEV features (0x9)"),
            std::string::npos)
      << status.message();
}

TEST_F(SnpLaunchTest, RefusesAStateThatKvmWouldNotBuild) {
  struct Case {
    size_t offset;
    uint8_t value;
    std::string_view message;
  };
  constexpr Case kCases[] = {
      {0x268, 7, "has 0x7040600070407 at offset 0x268 of its VMSA, where KVM would put 0x7040600070406"},
      {0x3f0, 1, "has 0x1 at offset 0x3f0 of its VMSA, where KVM would put 0"},
      {0xd1, 0, "has 0 at offset 0xd0 of its VMSA, where KVM would put 0x1000"},
      {0x3b0, 0, "has 0 at offset 0x3b0 of its VMSA, where KVM would put 0x1"}};
  for (const Case& one : kCases) {
    auto vmsa = BuildVmsa({0x100010, 0, 1});
    vmsa[one.offset] = one.value;
    IgvmBuilder builder;
    builder.Platform();
    for (uint16_t vcpu : {0, 1}) builder.Vp(0, builder.Data({vmsa.begin(), vmsa.end()}), vcpu);
    const std::vector<uint8_t> file = builder.Build();

    auto launch = SnpLaunch::FromIgvm(file, options_);

    ASSERT_FALSE(launch.has_value()) << one.message;
    EXPECT_EQ(launch.error().code(), StatusCode::kFailedPrecondition);
    EXPECT_EQ(launch.error().message(), "the IGVM file's state of vCPU 0: " + std::string(one.message) +
                                            ": the guest would not be the one that was measured");
  }
}

TEST_F(SnpLaunchTest, HandsTheSignedIdentityToTheFirmware) {
  IgvmBuilder builder;
  builder.Platform();
  builder.Policy(0xb0000);
  const auto vmsa = BuildVmsa({0x100010, 0, 1});
  builder.Vp(0, builder.Data({vmsa.begin(), vmsa.end()}), 0);
  // IGVM_VHS_SNP_ID_BLOCK (the igvm crate's igvm_defs): identity, algorithms, then signatures of 144 bytes
  // and keys of 152, whose curve is followed by four bytes that are reserved.
  std::vector<uint8_t> body;
  IgvmBuilder::Append(body, uint32_t{1});
  IgvmBuilder::Append(body, uint32_t{1});  // an author key
  auto fill = [&body](size_t size, uint8_t value) { body.insert(body.end(), size, value); };
  fill(48, 0xd1);                          // digest
  fill(16, 0xfa);                          // family
  fill(16, 0x1a);                          // image
  IgvmBuilder::Append(body, uint32_t{1});  // version
  IgvmBuilder::Append(body, uint32_t{9});  // SVN
  IgvmBuilder::Append(body, uint32_t{1});  // ECDSA P-384, twice
  IgvmBuilder::Append(body, uint32_t{1});
  for (uint8_t of : {0x10, 0x20}) {
    fill(144, of | 1);
    IgvmBuilder::Append(body, uint32_t{2});  // the curve
    fill(4, 0);
    fill(144, of | 2);
  }
  builder.Header(0x30b, body);
  const std::vector<uint8_t> file = builder.Build();
  options_.vcpus = 1;
  auto launch = SnpLaunch::FromIgvm(file, options_);
  ASSERT_TRUE(launch.has_value()) << launch.error().ToString();

  Status status = Launch(**launch, {}, 1);

  // SEV-SNP Firmware ABI: ID_BLOCK (table 74) and ID_AUTH_INFO (table 75).
  ASSERT_TRUE(status.ok()) << status.ToString();
  auto word = [](const std::vector<uint8_t>& bytes, size_t at, size_t size) {
    uint64_t value = 0;
    std::memcpy(&value, bytes.data() + at, size);
    return value;
  };
  const std::vector<uint8_t>& block = snp_->id_block;
  EXPECT_EQ(std::vector<uint8_t>(block.begin(), block.begin() + 48), std::vector<uint8_t>(48, 0xd1));
  EXPECT_EQ(std::vector<uint8_t>(block.begin() + 48, block.begin() + 64), std::vector<uint8_t>(16, 0xfa));
  EXPECT_EQ(std::vector<uint8_t>(block.begin() + 64, block.begin() + 80), std::vector<uint8_t>(16, 0x1a));
  EXPECT_EQ(word(block, 80, 4), 1u);
  EXPECT_EQ(word(block, 84, 4), 9u);
  EXPECT_EQ(word(block, 88, 8), 0xb0000u);
  EXPECT_TRUE(snp_->author_key);
  const std::vector<uint8_t>& auth = snp_->id_auth;
  ASSERT_EQ(auth.size(), 4096u);
  EXPECT_EQ(word(auth, 0, 8), 0x100000001u);
  struct Place {
    size_t signature, key;
    uint8_t of;
  };
  for (const Place& place : {Place{0x40, 0x240, 0x10}, Place{0x680, 0x880, 0x20}}) {
    for (size_t i = 0; i < 512; ++i) EXPECT_EQ(auth[place.signature + i], i < 144 ? place.of | 1 : 0) << i;
    EXPECT_EQ(word(auth, place.key, 4), 2u);
    for (size_t i = 4; i < 1028; ++i) EXPECT_EQ(auth[place.key + i], i < 148 ? place.of | 2 : 0) << i;
  }
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
