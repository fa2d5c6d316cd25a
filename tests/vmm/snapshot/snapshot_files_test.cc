#include "vmm/snapshot/snapshot_files.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "common/file.h"

namespace berth::vmm {
namespace {

namespace fs = std::filesystem;

class SnapshotFilesTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = (fs::temp_directory_path() / "berth-snapshot-XXXXXX").string();
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    root_ = name;
    config_.kernel = "/boot/vmlinuz";
    config_.cmdline = "console=ttyS0";
  }
  void TearDown() override { fs::remove_all(root_); }
  Status Write(const std::string& directory) {
    return WriteSnapshot(directory, config_, {1, 2, 3}, [](int file) {
      return ::pwrite(file, "ram", 3, 4096) == 3 ? OkStatus() : Internal("write");
    });
  }

  std::string root_;
  VmConfig config_;
};

TEST_F(SnapshotFilesTest, ReadsWhatItHasWritten) {
  ASSERT_EQ(Write(root_ + "/s"), OkStatus());

  Result<SnapshotContent> content = ReadSnapshot(root_ + "/s");

  ASSERT_TRUE(content.has_value()) << content.error().ToString();
  EXPECT_EQ(content->config.cmdline, "console=ttyS0");
  EXPECT_EQ(content->state, (std::vector<uint8_t>{1, 2, 3}));
  EXPECT_EQ(content->memory_size, 4099u);
  EXPECT_EQ(fs::status(root_ + "/s").permissions(), fs::perms::owner_all);
  EXPECT_EQ(fs::status(root_ + "/s/memory").permissions(), fs::perms::owner_read | fs::perms::owner_write);
}

TEST_F(SnapshotFilesTest, OverwritesNothing) {
  ASSERT_EQ(Write(root_ + "/s"), OkStatus());
  const Status again = Write(root_ + "/s");
  EXPECT_EQ(again.code(), StatusCode::kAlreadyExists);
  EXPECT_EQ(again.field(), "destination_url");
  EXPECT_TRUE(ReadSnapshot(root_ + "/s").has_value());
}

TEST_F(SnapshotFilesTest, LeavesNothingWhenMemoryCannotBeWritten) {
  const Status status =
      WriteSnapshot(root_ + "/s", config_, {}, [](int) { return ResourceExhausted("disk full"); });
  EXPECT_EQ(status.code(), StatusCode::kResourceExhausted);
  EXPECT_FALSE(fs::exists(root_ + "/s"));
}

TEST_F(SnapshotFilesTest, WritesNothingThatItCouldNotRead) {
  const std::vector<uint8_t> state((64 << 20) - 23);
  EXPECT_EQ(WriteSnapshot(root_ + "/s", config_, state, [](int) { return OkStatus(); }).message(),
            "the devices' state has 67108841 bytes, more than the 67108840 that a snapshot can have");
  EXPECT_FALSE(fs::exists(root_ + "/s"));
}

TEST_F(SnapshotFilesTest, NamesTheFileThatIsMissingOrDamaged) {
  EXPECT_EQ(ReadSnapshot(root_ + "/none").status().code(), StatusCode::kNotFound);
  ASSERT_EQ(Write(root_ + "/s"), OkStatus());
  std::string state = *ReadFile(root_ + "/s/state");
  state.back() ^= 1;
  std::ofstream(root_ + "/s/state", std::ios::trunc) << state;
  EXPECT_EQ(ReadSnapshot(root_ + "/s").status().message(),
            root_ + "/s/state: is damaged: its checksum is wrong");
  std::ofstream(root_ + "/s/config.json", std::ios::trunc) << R"({"cpus":{"boot_vcpus":0}})";
  EXPECT_NE(ReadSnapshot(root_ + "/s").status().message().find("config.json"), std::string::npos);
}

TEST_F(SnapshotFilesTest, RefusesEveryTruncationAndEveryChangedByteOfTheState) {
  const std::vector<uint8_t> file = WrapState({9, 8, 7, 6});
  EXPECT_EQ(*UnwrapState(file), (std::vector<uint8_t>{9, 8, 7, 6}));
  for (size_t size = 0; size < file.size(); ++size) {
    EXPECT_FALSE(UnwrapState({file.begin(), file.begin() + static_cast<long>(size)}).has_value()) << size;
  }
  for (size_t at = 0; at < file.size(); ++at) {
    std::vector<uint8_t> changed = file;
    changed[at] ^= 0x10;
    EXPECT_FALSE(UnwrapState(changed).has_value()) << at;
  }
}

TEST(DirectoryOfUrl, TakesAbsolutePathsOnly) {
  EXPECT_EQ(*DirectoryOfUrl("file:///var/snap/", "source_url"), "/var/snap");
  for (const char* url : {"", "/var/snap", "file://", "file:///", "file://var", "http:///x"}) {
    EXPECT_EQ(DirectoryOfUrl(url, "source_url").status().field(), "source_url") << url;
  }
}

}  // namespace
}  // namespace berth::vmm
