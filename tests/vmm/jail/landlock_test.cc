#include "vmm/jail/landlock.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "vmm/bus/unix_listener.h"

namespace berth::vmm {
namespace {

namespace fs = std::filesystem;

// Runs in a child, because a restriction cannot be taken back; returns its exit status.
template <class Body>
int InChild(Body body) {
  const pid_t child = fork();
  if (child == 0) _exit(body());
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 200 + WTERMSIG(status);
}

Status Apply(const std::vector<PathRule>& rules) {
  TRY_ASSIGN(LandlockRuleset ruleset, LandlockRuleset::Build(rules));
  return ruleset.Restrict();
}

std::vector<PathRule> AllRules(const CommandLine& line) {
  std::vector<PathRule> rules = LandlockRules(line.config, line.restore.has_value());
  const std::vector<PathRule> more = ProcessRules(line);
  rules.insert(rules.end(), more.begin(), more.end());
  return rules;
}

class LandlockTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (syscall(444, nullptr, 0, 1) < 3) GTEST_SKIP() << "this kernel has no Landlock of version 3";
    std::string name = (fs::temp_directory_path() / "berth-landlock-XXXXXX").string();
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    folder_ = name;
    std::ofstream(folder_ + "/read") << "r";
    std::ofstream(folder_ + "/write") << "w";
    std::ofstream(folder_ + "/secret") << "s";
    fs::create_directory(folder_ + "/run");
  }
  void TearDown() override {
    if (!folder_.empty()) fs::remove_all(folder_);
  }
  bool Opens(const std::string& name, int flags) const {
    const int fd = open((folder_ + "/" + name).c_str(), flags | O_CLOEXEC, 0600);
    if (fd >= 0) close(fd);
    return fd >= 0;
  }

  std::string folder_;
};

TEST_F(LandlockTest, OnlyWhatTheRulesNameCanBeUsed) {
  const std::vector<PathRule> rules = {{folder_ + "/read", PathRule::Use::kRead},
                                       {folder_ + "/write", PathRule::Use::kReadWrite},
                                       {folder_ + "/new", PathRule::Use::kReadWrite, true},
                                       {"/dev/no-such-device", PathRule::Use::kReadWrite}};
  EXPECT_EQ(InChild([&] {
              if (!Apply(rules).ok()) return 1;
              if (!Opens("read", O_RDONLY)) return 2;
              if (Opens("read", O_RDWR)) return 3;
              if (!Opens("write", O_RDWR | O_TRUNC)) return 4;
              if (!Opens("new", O_WRONLY)) return 5;
              if (Opens("secret", O_RDONLY)) return 6;
              if (Opens("other", O_WRONLY | O_CREAT)) return 7;
              if (unlink((folder_ + "/read").c_str()) == 0) return 8;
              if (open("/etc/passwd", O_RDONLY) >= 0) return 9;
              return 0;
            }),
            0);
}

TEST_F(LandlockTest, FoldersForSocketsAndTemporaryFiles) {
  const std::vector<PathRule> rules = {{folder_ + "/run", PathRule::Use::kTemporary}};
  EXPECT_EQ(InChild([&] {
              if (!Apply(rules).ok()) return 1;
              if (!Opens("run/file", O_RDWR | O_CREAT)) return 2;
              if (unlink((folder_ + "/run/file").c_str()) != 0) return 3;
              if (mkdir((folder_ + "/run/sub").c_str(), 0700) == 0) return 4;
              return 0;
            }),
            0);
}

TEST_F(LandlockTest, FilesBesideASocketAreNotOpened) {
  const std::vector<PathRule> rules = {{folder_, PathRule::Use::kSockets}};
  EXPECT_EQ(InChild([&] {
              if (!Apply(rules).ok()) return 1;
              if (!UnixListener::Open(folder_ + "/run/socket").has_value()) return 2;
              if (Opens("secret", O_RDONLY) || Opens("write", O_WRONLY)) return 3;
              return 0;
            }),
            0);
}

TEST_F(LandlockTest, AFolderThatMayBeWrittenToTakesASnapshot) {
  CommandLine line =
      *ParseCommandLine(std::vector<std::string>{"--api-socket", folder_ + "/run/api", "--landlock",
                                                 "--landlock-rules", "path=" + folder_ + ",access=rw"});
  EXPECT_EQ(InChild([&] {
              if (!Apply(AllRules(line)).ok()) return 1;
              if (mkdir((folder_ + "/snapshot.new").c_str(), 0700) != 0) return 2;
              if (!Opens("snapshot.new/config.json", O_RDWR | O_CREAT)) return 3;
              if (rename((folder_ + "/snapshot.new").c_str(), (folder_ + "/snapshot").c_str()) != 0) return 4;
              if (unlink((folder_ + "/snapshot/config.json").c_str()) != 0) return 5;
              if (rmdir((folder_ + "/snapshot").c_str()) != 0) return 6;
              return 0;
            }),
            0);
}

TEST_F(LandlockTest, APathThatDoesNotExistIsAnError) {
  EXPECT_EQ(InChild([] {
              Status status = Apply({{"/nonexistent/image", PathRule::Use::kRead}});
              return status.code() == StatusCode::kNotFound ? 0 : 1;
            }),
            0);
}

TEST(LandlockRules, FollowFromTheCommandLine) {
  CommandLine line = *ParseCommandLine(std::vector<std::string>{
      "--kernel", "/boot/k", "--disk", "path=/d,readonly=on", "path=/e", "--serial", "socket=/run/vm/s",
      "--console", "file=/log/c", "--memory", "size=0", "--memory-zone", "id=a,size=1G,file=/tmp",
      "--api-socket", "/run/api", "--landlock", "--landlock-rules", "path=/images,access=rw",
      "path=/ro,access=r"});
  EXPECT_TRUE(line.config.landlock.enable);
  const std::vector<PathRule> rules = AllRules(line);
  auto has = [&](const PathRule& rule) { return std::find(rules.begin(), rules.end(), rule) != rules.end(); };
  using Use = PathRule::Use;
  EXPECT_TRUE(has({"/dev/sev", Use::kReadWrite})) << "what launches SEV-SNP guests";
  EXPECT_TRUE(has({"/boot/k", Use::kRead}));
  EXPECT_TRUE(has({"/d", Use::kRead}));
  EXPECT_TRUE(has({"/e", Use::kReadWrite}));
  EXPECT_TRUE(has({"/run/vm", Use::kSockets}));
  EXPECT_TRUE(has({"/run", Use::kSockets}));
  EXPECT_TRUE(has({"/log/c", Use::kReadWrite, true}));
  EXPECT_TRUE(has({"/tmp", Use::kTemporary}));
  EXPECT_TRUE(has({"/images", Use::kReadWrite}));
  EXPECT_TRUE(has({"/ro", Use::kRead}));
  line.config.memory_zones[0].file = "/nonexistent/ram";
  auto makes_ram = [&] {
    return std::ranges::count(AllRules(line), PathRule{"/nonexistent/ram", Use::kReadWrite, true}) > 0;
  };
  EXPECT_TRUE(makes_ram());
  line.restore.emplace();
  EXPECT_TRUE(makes_ram()) << "the snapshot has a copy";
  line.config.memory_zones[0].restored = true;
  EXPECT_FALSE(makes_ram()) << "a saved guest's memory";
  EXPECT_FALSE(
      ParseCommandLine(std::vector<std::string>{"--kernel", "k", "--landlock-rules", "path=/x,access=x"})
          .has_value());
}

TEST(LandlockRules, TellWhichPathsOfAnotherVmAreOutside) {
  using Use = PathRule::Use;
  const std::string folder = testing::TempDir() + "landlock_outside";
  fs::remove_all(folder);
  fs::create_directories(folder + "/below");
  for (const char* name : {"/read", "/write", "/below/file", "/other"}) std::ofstream(folder + name) << "x";
  fs::create_symlink(folder + "/read", folder + "/link");
  const std::vector<PathRule> in_force = {
      {folder + "/read", Use::kRead}, {folder + "/write", Use::kReadWrite}, {folder + "/below", Use::kTree}};
  auto outside = [&](PathRule rule) { return !PathsOutside({std::move(rule)}, in_force).empty(); };

  EXPECT_FALSE(outside({folder + "/read", Use::kRead}));
  EXPECT_FALSE(outside({folder + "/link", Use::kRead})) << "another name of the same file";
  EXPECT_FALSE(outside({folder + "/write", Use::kRead}));
  EXPECT_FALSE(outside({folder + "/below/file", Use::kReadWrite}));
  EXPECT_FALSE(outside({folder + "/below/new", Use::kReadWrite, true}));
  EXPECT_FALSE(outside({folder + "/below", Use::kSockets}));
  EXPECT_FALSE(outside({"/dev/none-such", Use::kReadWrite})) << "this host may lack it";
  EXPECT_TRUE(outside({folder + "/read", Use::kReadWrite}));
  EXPECT_TRUE(outside({folder + "/other", Use::kRead}));
  EXPECT_TRUE(outside({folder + "/belowing", Use::kReadWrite, true})) << "a longer name";
  EXPECT_TRUE(outside({folder, Use::kSockets}));
  EXPECT_TRUE(outside({folder + "/new", Use::kReadWrite, true}));
  fs::remove_all(folder);
}

}  // namespace
}  // namespace berth::vmm
