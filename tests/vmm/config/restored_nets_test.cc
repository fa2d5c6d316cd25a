#include "vmm/config/restored_nets.h"

#include <gtest/gtest.h>

#include "vmm/config/command_line.h"
#include "vmm/config/json_config.h"

namespace berth::vmm {
namespace {

// Two pairs of queues by descriptors, one, a TAP, and another process.
VmConfig Saved() {
  VmConfig config;
  config.kernel = "vmlinuz";
  config.nets.resize(4);
  config.nets[0].id = "pairs";
  config.nets[0].fds = {3, 4};
  config.nets[1].id = "single";
  config.nets[1].fds = {3};
  config.nets[2].id = "tap";
  config.nets[2].tap = "tap7";
  config.nets[3].id = "other";
  config.nets[3].vhost_user = true;
  config.nets[3].vhost_socket = "/s";
  config.memory.shared = true;
  return config;
}

Status Replace(const std::vector<RestoredNet>& given) {
  VmConfig config = Saved();
  return ReplaceDescriptors(given, config);
}

TEST(RestoredNets, TakeThePlaceOfTheNumbersThatWereSaved) {
  VmConfig config = Saved();

  ASSERT_EQ(ReplaceDescriptors({{"single", {30}}, {"pairs", {10, 20}}}, config), OkStatus());

  EXPECT_EQ(config.nets[0].fds, (std::vector<int>{10, 20}));
  EXPECT_EQ(config.nets[1].fds, (std::vector<int>{30}));
  EXPECT_EQ(config.nets[2], Saved().nets[2]);
  VmConfig plain;
  EXPECT_EQ(ReplaceDescriptors({}, plain), OkStatus());
}

TEST(RestoredNets, ErrorsNameTheDevice) {
  struct Case {
    std::vector<RestoredNet> given;
    const char* message;
  };
  const Case cases[] = {
      {{{"single", {9}}}, "network device pairs of the snapshot needs 2 descriptors, and has been given 0"},
      {{{"pairs", {7, 8}}}, "network device single of the snapshot needs 1 descriptor, and has been given 0"},
      {{{"pairs", {7}}, {"single", {9}}},
       "network device pairs of the snapshot needs 2 descriptors, and has been given 1"},
      {{{"pairs", {5, 6, 7}}, {"single", {9}}},
       "network device pairs of the snapshot needs 2 descriptors, and has been given 3"},
      {{{"pairs", {7, 8}}, {"single", {9}}, {"none", {5}}}, "the snapshot has no network device none"},
      {{{"pairs", {7, 8}}, {"single", {9}}, {"tap", {5}}},
       "network device tap of the snapshot takes no descriptors: it has the TAP interface tap7"},
      {{{"pairs", {7, 8}}, {"single", {9}}, {"other", {5}}},
       "network device other of the snapshot takes no descriptors: it has another process"},
      {{{"pairs", {7, 8}}, {"single", {9}}, {"pairs", {5, 6}}}, "network device pairs stands twice"},
  };
  for (const Case& one : cases) {
    const Status status = Replace(one.given);
    EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
    EXPECT_EQ(status.message(), one.message);
    EXPECT_EQ(status.field(), "net_fds");
  }
}

TEST(RestoredNets, OnlyASnapshotsConfigurationMayHaveNumbers) {
  const std::string json = ConfigToJson(Saved());

  const auto refused = ConfigFromJson(json);
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error()[0].message, "descriptors do not travel in a text");
  const auto read = ConfigFromSnapshot(json);
  ASSERT_TRUE(read.has_value()) << ToText(read.error());
  EXPECT_EQ(read->nets, Saved().nets);
}

TEST(RestoredNets, TheCommandLineNamesInheritedDescriptors) {
  const auto line = ParseCommandLine({"--restore", "source_url=file:///s,resume=on,net_fds=[a@[23,24],b@5]"});
  ASSERT_TRUE(line.has_value()) << ToText(line.error());
  EXPECT_EQ(line->restore->nets, (std::vector<RestoredNet>{{"a", {23, 24}}, {"b", {5}}}));

  for (const char* wrong : {"[a@[2]]", "[a@[5],b@[5]]", "[a]", "[@[5]]", "[a@[]]", "[a@[x]]", "[]"}) {
    const auto refused =
        ParseCommandLine({"--restore", std::string("source_url=file:///s,resume=on,net_fds=") + wrong});
    ASSERT_FALSE(refused.has_value()) << wrong;
    EXPECT_EQ(refused.error().size(), 1u) << wrong;
    EXPECT_EQ(refused.error()[0].key, "net_fds") << wrong;
  }
}

}  // namespace
}  // namespace berth::vmm
