#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>

#include "vmm/bus/unix_listener.h"
#include "vmm/jail/landlock.h"

namespace berth::vmm {
namespace {

TEST(LandlockPaths, OfRulesMustExist) {
  EXPECT_TRUE(MissingRulePaths({{"/", false}, {"/dev/null", true}}).empty());

  const ConfigErrors missing =
      MissingRulePaths({{"/", false}, {"/nonexistent", true}, {"/dev/nonexistent", true}});

  ASSERT_EQ(missing.size(), 2u);
  EXPECT_EQ(missing[0].option, "landlock-rules[1]");
  EXPECT_EQ(missing[0].value, "/nonexistent");
  EXPECT_EQ(missing[1].option, "landlock-rules[2]");
}

TEST(LandlockPaths, AFolderThatMayBeWrittenToTakesTheSocketOfAVsock) {
  if (syscall(444, nullptr, 0, 1) < 3) GTEST_SKIP() << "this kernel has no Landlock of version 3";
  std::string folder = (std::filesystem::temp_directory_path() / "berth-landlock-XXXXXX").string();
  ASSERT_NE(mkdtemp(folder.data()), nullptr);
  const pid_t child = fork();  // a restriction cannot be taken back
  if (child == 0) {
    auto ruleset = LandlockRuleset::Build({{folder, PathRule::Use::kTree}});
    if (!ruleset.has_value() || !ruleset->Restrict().ok()) _exit(1);
    _exit(UnixListener::Open(folder + "/v").has_value() ? 0 : 2);
  }
  int status = 0;
  waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace berth::vmm
