#include "vmm/cvm/host_check.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "vmm/kvm/fake_kvm.h"

namespace berth::vmm {
namespace {

class HostCheck : public testing::Test {
 protected:
  HostCheck() : root_(testing::TempDir() + "host_check") {
    std::filesystem::remove_all(root_);
    std::filesystem::create_directories(root_);
    kvm_ = *FakeKvm().Probe();
  }
  ~HostCheck() override { std::filesystem::remove_all(root_); }

  void Put(const std::string& path, const std::string& text) {
    std::filesystem::create_directories(std::filesystem::path(root_ + path).parent_path());
    std::ofstream(root_ + path) << text;
  }
  std::string Codes(ConfidentialKind kind) {
    std::string codes;
    for (const HostLack& lack : MissingForConfidential(kind, kvm_, root_)) codes += lack.code + " ";
    return codes;
  }

  std::string root_;
  KvmCapabilities kvm_;
};

TEST_F(HostCheck, ACompleteHostLacksNothing) {
  EXPECT_EQ(Codes(ConfidentialKind::kSwProtected), "");
  kvm_.vm_types = 0x31;
  Put("/sys/module/kvm_intel/parameters/tdx", "Y\n");
  Put("/sys/module/kvm_amd/parameters/sev_snp", "Y\n");
  Put("/proc/cpuinfo", "processor : 0\nflags\t\t: fpu sev_snp tdx_host_platform\n");
  Put("/dev/sev", "");
  EXPECT_EQ(Codes(ConfidentialKind::kTdx), "");
  EXPECT_EQ(Codes(ConfidentialKind::kSevSnp), "");
}

TEST_F(HostCheck, AnOldKernelLacksAllOfIt) {
  kvm_ = {};
  EXPECT_EQ(Codes(ConfidentialKind::kSwProtected),
            "KvmVmType KvmUserMemory2 KvmMemoryFault KvmMemoryAttributes KvmGuestMemfd KvmExitHypercall ");
  EXPECT_EQ(MissingForConfidential(ConfidentialKind::kSwProtected, kvm_, root_)[0].message,
            "KVM makes no software-protected VMs: KVM_CAP_VM_TYPES (capability 235) is 0, bit 1 is needed");
}

TEST_F(HostCheck, SaysWhatIsWrongWithModuleProcessorAndDevice) {
  Put("/sys/module/kvm_amd/parameters/sev_snp", "N\n");
  Put("/proc/cpuinfo", "processor : 0\nflags\t\t: fpu sev_snp_not\n");

  const auto lacks = MissingForConfidential(ConfidentialKind::kSevSnp, kvm_, root_);

  ASSERT_EQ(lacks.size(), 4u);
  EXPECT_EQ(lacks[1].message, "parameter sev_snp of module kvm_amd is N, must be Y");
  EXPECT_EQ(lacks[2].message,
            "the processor or its firmware has no SEV-SNP: /proc/cpuinfo does not list sev_snp");
  EXPECT_EQ(lacks[3].message, "/dev/sev: No such file or directory");
}

TEST_F(HostCheck, VirtccaNeedsAnotherProcessor) {
  EXPECT_EQ(Codes(ConfidentialKind::kVirtcca), "Architecture FileMissing ");
}

}  // namespace
}  // namespace berth::vmm
