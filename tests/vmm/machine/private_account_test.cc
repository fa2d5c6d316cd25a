#include "vmm/machine/private_account.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

namespace berth::vmm {
namespace {

using Nodes = std::map<uint32_t, uint64_t>;
constexpr char kStat[] =
    "anon N0=4096 N1=0\nfile N0=8192 N1=4096\nunevictable N0=0 N1=2097152 N2=4096 Nx=1 N3=\nslab N0=1 N1=2\n";

TEST(PrivateAccount, ReadsWhatCannotBeEvicted) {
  EXPECT_EQ(*UnevictableByNode(kStat), (Nodes{{1, 2097152}, {2, 4096}}));
  EXPECT_EQ(UnevictableByNode("anon N0=1\n").status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(UnevictableByNode("").status().code(), StatusCode::kInvalidArgument);
}

class CgroupTest : public testing::Test {
 protected:
  CgroupTest() { std::filesystem::create_directories(root_ + "/vms/one"); }
  ~CgroupTest() override { std::filesystem::remove_all(root_); }
  void Put(const std::string& name, const std::string& text) {
    std::ofstream(root_ + "/vms/one/" + name) << text;
  }
  const std::string root_ = testing::TempDir() + "private_account_cgroups";
  static constexpr char kMembership[] = "1:name=systemd:/other\n0::/vms/one\n";
};

TEST_F(CgroupTest, IsTheProcessesOwn) {
  Put("memory.numa_stat", kStat);
  Put("cgroup.procs", "42\n");
  EXPECT_EQ(*UnevictableOfCgroup(root_, kMembership, 42), (Nodes{{1, 2097152}, {2, 4096}}));
}

TEST_F(CgroupTest, OrWhyNotIsSaid) {
  EXPECT_EQ(UnevictableOfCgroup(root_, "1:name=systemd:/\n", 42).status().message(),
            "the process is in no cgroup of version 2");
  EXPECT_EQ(UnevictableOfCgroup(root_, kMembership, 42).status().code(), StatusCode::kFailedPrecondition);
  Put("cgroup.procs", "42\n43\n");
  EXPECT_EQ(UnevictableOfCgroup(root_, kMembership, 42).status().message(),
            "the cgroup /vms/one is not the VMM's alone");
  Put("cgroup.procs", "42\n");
  const Status status = UnevictableOfCgroup(root_, kMembership, 42).status();
  EXPECT_NE(status.message().find("memory.numa_stat"), std::string::npos) << status.message();
}

}  // namespace
}  // namespace berth::vmm
