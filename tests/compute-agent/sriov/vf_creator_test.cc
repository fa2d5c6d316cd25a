#include "compute-agent/sriov/vf_creator.h"

#include <gtest/gtest.h>

#include "compute-agent/inventory/discover.h"
#include "tests/fakes/fake_sysfs.h"

namespace berth::agent {
namespace {

const PciAddress kPf = *PciAddress::Parse("0000:41:00.0");

// A host whose PF makes VFs as the kernel does: from none to some, and only as many as the card can have.
class VfCreator : public testing::Test {
 protected:
  VfCreator() {
    host_.Node(0).Cpus("0").Memory(GiB(1));
    host_.Device("0000:41:00.0").Id("8086", "1572").TotalVfs(8);
    host_.Device("0000:42:00.0").Id("8086", "154d");
  }
  Result<CreatedVfs> Create(const std::vector<VfCount>& wanted) {
    HostInventory inventory = Discover(host_.Open());
    return CreateVfs(inventory, wanted, "", [this](const std::string& path, std::string_view text) -> Status {
      ++writes_;
      if (broken_) return Internal("write " + path + ": Input/output error");
      if (path != "/sys/bus/pci/devices/0000:41:00.0/sriov_numvfs") return NotFound(path);
      if (enabled_ != 0) return {StatusCode::kFailedPrecondition, "Device or resource busy"};
      enabled_ = static_cast<uint32_t>(std::stoul(std::string(text)));
      host_.Device("0000:41:00.0").Vfs(enabled_, "154c");
      return OkStatus();
    });
  }

  fakes::FakeSysfs host_;
  uint32_t enabled_ = 0;
  int writes_ = 0;
  bool broken_ = false;
};

TEST_F(VfCreator, MakesTheConfiguredVfsOnceAndLeavesThemAloneThen) {
  auto created = Create({{kPf, 4}});
  ASSERT_TRUE(created.has_value());
  EXPECT_TRUE(created->changed);
  EXPECT_EQ(created->warnings, std::vector<std::string>());
  EXPECT_EQ(Discover(host_.Open()).pci_devices.size(), 6u);

  created = Create({{kPf, 4}});

  EXPECT_FALSE(created->changed);
  EXPECT_EQ(writes_, 1);
}

TEST_F(VfCreator, AnotherNumberOfVfsIsToldAndNeverChanged) {
  ASSERT_TRUE(Create({{kPf, 4}}).has_value());

  auto created = Create({{kPf, 8}});

  EXPECT_FALSE(created->changed);
  EXPECT_EQ(writes_, 1);
  EXPECT_EQ(
      created->warnings,
      (std::vector<std::string>{
          "sriov: 0000:41:00.0 has 4 VFs, 8 are configured: not changed, since that removes the VFs that "
          "are there. When no guest uses them: echo 0 > "
          "/sys/bus/pci/devices/0000:41:00.0/sriov_numvfs, then start the agent again"}));
  EXPECT_EQ(Create({{kPf, 0}})->warnings.size(), 1u);
}

TEST_F(VfCreator, WhatCannotBeIsRefusedBeforeAnythingIsDone) {
  EXPECT_EQ(
      Create({{kPf, 4}, {*PciAddress::Parse("0000:42:00.0"), 1}, {kPf, 9}}).status().ToString(),
      "INVALID_ARGUMENT: sriov: 0000:42:00.0 cannot have VFs, it is of type-PCI; 0000:41:00.0 can have 8 "
      "VFs, 9 are configured");
  EXPECT_EQ(writes_, 0);
}

TEST_F(VfCreator, ACardThatIsMissingOrRefusesIsAWarning) {
  broken_ = true;
  auto created = Create({{*PciAddress::Parse("0000:99:00.0"), 1}, {kPf, 4}});
  ASSERT_TRUE(created.has_value());
  EXPECT_FALSE(created->changed);
  EXPECT_EQ(created->warnings,
            (std::vector<std::string>{"sriov: 0000:99:00.0 is not there",
                                      "sriov: 0000:41:00.0: its driver makes no VFs: write "
                                      "/sys/bus/pci/devices/0000:41:00.0/sriov_numvfs: Input/output error"}));
}

}  // namespace
}  // namespace berth::agent
