#include "vmm/jail/jail.h"

#include <fcntl.h>
#include <grp.h>
#include <gtest/gtest.h>
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "common/file.h"
#include "vmm/config/command_line.h"

namespace berth::vmm {
namespace {

namespace fs = std::filesystem;

template <class Body>
int InChild(Body body) {
  const pid_t child = fork();
  if (child == 0) _exit(body());
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 200 + WTERMSIG(status);
}

// Takes the right to raise limits from this process, which stays root.
bool DropSysResource() {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct sets[_LINUX_CAPABILITY_U32S_3] = {};
  if (syscall(SYS_capget, &header, sets) != 0) return false;
  sets[0].effective &= ~(1u << CAP_SYS_RESOURCE);
  sets[0].permitted &= ~(1u << CAP_SYS_RESOURCE);
  return syscall(SYS_capset, &header, sets) == 0;
}

// A control group file system of plain files.
class CgroupTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string name = (fs::temp_directory_path() / "berth-cgroup-XXXXXX").string();
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    root_ = name;
    for (const char* group : {"", "/berth", "/berth/vm1"}) {
      fs::create_directories(root_ + group);
      for (const char* file : {"cgroup.subtree_control", "cgroup.procs", "cpuset.cpus", "cpuset.mems",
                               "memory.max", "hugetlb.2MB.max", "pids.max"})
        std::ofstream(root_ + group + "/" + file) << "";
    }
  }
  void TearDown() override { fs::remove_all(root_); }
  std::string Text(const std::string& file) { return *ReadFile(root_ + file); }

  std::string root_;
};

TEST_F(CgroupTest, WritesTheLimitsAndEnters) {
  CgroupLimits limits;
  limits.cpus = CpuSet{2, 3, 8};
  limits.nodes = CpuSet{1};
  limits.memory = 1 << 30;
  limits.huge_pages_2m = 64 << 20;
  limits.processes = 100;

  ASSERT_TRUE(EnterCgroup("/berth/vm1", limits, root_).ok());

  EXPECT_EQ(Text("/berth/vm1/cpuset.cpus"), "2-3,8");
  EXPECT_EQ(Text("/berth/vm1/cpuset.mems"), "1");
  EXPECT_EQ(Text("/berth/vm1/memory.max"), "1073741824");
  EXPECT_EQ(Text("/berth/vm1/hugetlb.2MB.max"), "67108864");
  EXPECT_EQ(Text("/berth/vm1/pids.max"), "100");
  EXPECT_EQ(Text("/berth/vm1/cgroup.procs"), std::to_string(getpid()));
  EXPECT_TRUE(Text("/berth/cgroup.subtree_control").starts_with("+"));
  EXPECT_EQ(Text("/berth/memory.max"), "") << "ancestors keep their limits";
}

TEST_F(CgroupTest, RefusesNamesThatLeadElsewhere) {
  for (const char* name : {"", "/", "vm1", "/../vm1", "/berth/..", "/a//b", "/a/"})
    EXPECT_EQ(EnterCgroup(name, {}, root_).code(), StatusCode::kInvalidArgument) << name;
}

TEST_F(CgroupTest, NamesTheFileThatIsMissing) {
  CgroupLimits limits;
  limits.huge_pages_1g = 1 << 30;
  Status status = EnterCgroup("/berth/vm1", limits, root_);
  EXPECT_NE(status.message().find("hugetlb.1GB.max"), std::string::npos) << status.message();
}

class JailTest : public CgroupTest {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "needs root";
    if (InChild([] { return EnterJail({}, {}).ok() ? 0 : 1; }) != 0)
      GTEST_SKIP() << "namespaces cannot be made here";
    CgroupTest::SetUp();
  }
  void TearDown() override {
    if (!root_.empty()) CgroupTest::TearDown();
  }
};

TEST_F(JailTest, DropsEverythingThatIsNotNeeded) {
  const int inherited = open("/dev/null", O_RDONLY);
  const int kept = open("/dev/null", O_RDONLY);
  JailConfig config;
  config.uid = config.gid = 65534;
  config.cgroup = "/berth/vm1";
  config.open_files = 64;
  EXPECT_EQ(InChild([&] {
              if (!EnterJail(config, {kept}, root_).ok()) return 1;
              if (getuid() != 65534 || geteuid() != 65534 || getegid() != 65534) return 2;
              if (getgroups(0, nullptr) != 0) return 3;
              if (fcntl(inherited, F_GETFD) >= 0 || fcntl(kept, F_GETFD) < 0) return 4;
              rlimit limit{};
              getrlimit(RLIMIT_NOFILE, &limit);
              if (limit.rlim_max != 64) return 5;
              getrlimit(RLIMIT_CORE, &limit);
              if (limit.rlim_max != 0) return 6;
              if (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1 || prctl(PR_GET_DUMPABLE) != 0) return 7;
              if (open("/etc/shadow", O_RDONLY) >= 0) return 8;
              if (setuid(0) == 0) return 9;
              return 0;
            }),
            0);
  EXPECT_NE(Text("/berth/vm1/cgroup.procs"), "");
  close(inherited);
  close(kept);
}

// The pages of a guest with a device of the host are locked, by a user who cannot raise the limit.
TEST_F(JailTest, LockedMemoryIsLimitedByTheControlGroupAlone) {
  JailConfig config;
  config.uid = config.gid = 65534;
  const auto locked_in_jail = [&](rlim_t hard, bool capable) {
    return InChild([&] {
      rlimit limit{4096, hard};
      if (setrlimit(RLIMIT_MEMLOCK, &limit) != 0) return 1;
      if (!capable && prctl(PR_CAPBSET_DROP, CAP_SYS_RESOURCE, 0, 0, 0) != 0) return 2;
      if (!capable && !DropSysResource()) return 3;
      if (!EnterJail(config, {}, root_).ok()) return 4;
      getrlimit(RLIMIT_MEMLOCK, &limit);
      if (limit.rlim_cur == RLIM_INFINITY) return 5;
      return limit.rlim_cur == hard ? 6 : 7;
    });
  };

  const bool may_raise = InChild([] {
                           const rlimit low{4096, 4096}, high{8192, 8192};
                           if (setrlimit(RLIMIT_MEMLOCK, &low) != 0) return 1;
                           return setrlimit(RLIMIT_MEMLOCK, &high) == 0 ? 0 : 2;
                         }) == 0;
  EXPECT_EQ(locked_in_jail(1 << 20, true), may_raise ? 5 : 6);
  EXPECT_EQ(locked_in_jail(1 << 20, false), 6) << "as far as this root may raise it";
}

TEST_F(JailTest, RootWithoutAUserKeepsNoCapability) {
  const std::string theirs = root_ + "/theirs";
  std::ofstream(theirs) << "";
  ASSERT_EQ(chown(theirs.c_str(), 65534, 65534), 0);
  ASSERT_EQ(chmod(theirs.c_str(), 0600), 0);
  EXPECT_EQ(InChild([&] {
              if (!EnterJail({}, {}, root_).ok()) return 1;
              if (geteuid() != 0) return 2;
              const std::string status = *ReadFile("/proc/thread-self/status");
              for (const char* set : {"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"}) {
                if (status.find(std::string(set) + ":\t0000000000000000") == std::string::npos) return 3;
              }
              if (open(theirs.c_str(), O_RDONLY) >= 0) return 4;
              if (open("/dev/null", O_RDWR) < 0) return 5;
              return 0;
            }),
            0);
}

TEST_F(JailTest, AStepThatFailsIsNamed) {
  JailConfig config;
  config.cgroup = "/absent/vm1";
  config.limits.memory = 1;
  EXPECT_EQ(InChild([&] {
              fs::remove(root_ + "/cgroup.subtree_control");
              Status status = EnterJail(config, {}, root_);
              return status.message().find("jail: open ") == 0 ? 0 : 1;
            }),
            0);
}

TEST(JailOption, ReadsWhatItIsTold) {
  CommandLine line = *ParseCommandLine(std::vector<std::string>{
      "--kernel", "k", "--jail",
      "uid=1000,gid=1001,cgroup=/berth/"
      "vm1,cpus=[2-3],nodes=1,memory=2G,hugepages_2m=1G,processes=64,open_files=500"});
  ASSERT_TRUE(line.jail);
  EXPECT_EQ(line.jail->uid, 1000u);
  EXPECT_EQ(line.jail->gid, 1001u);
  EXPECT_EQ(line.jail->cgroup, "/berth/vm1");
  EXPECT_EQ(line.jail->cpus, (CpuSet{2, 3}));
  EXPECT_EQ(line.jail->nodes, (CpuSet{1}));
  EXPECT_EQ(line.jail->memory, uint64_t{2} << 30);
  EXPECT_EQ(line.jail->huge_pages_2m, uint64_t{1} << 30);
  EXPECT_EQ(line.jail->processes, 64u);
  EXPECT_EQ(line.jail->open_files, 500u);
  EXPECT_FALSE(ParseCommandLine(std::vector<std::string>{"--kernel", "k", "--jail", "memory=1G"}).has_value())
      << "a limit without a group";
  EXPECT_FALSE(ParseCommandLine(std::vector<std::string>{"--kernel", "k", "--jail", "uid=1000,open_files=10"})
                   .has_value());
}

}  // namespace
}  // namespace berth::vmm
