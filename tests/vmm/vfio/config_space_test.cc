#include "vmm/vfio/config_space.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <cstring>

#include "vmm/vfio/fake_vfio.h"

namespace berth::vmm {
namespace {

using Options = FakeVfioDevice::Options;

class ConfigSpaceTest : public testing::Test {
 protected:
  void Make(Options options) {
    device_ = std::make_unique<FakeVfioDevice>(std::move(options));
    auto config = AssignedConfig::Create(*device_);
    ASSERT_TRUE(config.has_value()) << config.status().ToString();
    config_ = *std::move(config);
  }
  uint32_t Read(uint32_t offset, size_t size = 4) const {
    uint32_t value = 0;
    config_->Read(offset, {reinterpret_cast<uint8_t*>(&value), size});
    return value;
  }
  void Write(uint32_t offset, uint32_t value, size_t size = 4) {
    config_->Write(offset, {reinterpret_cast<const uint8_t*>(&value), size});
  }
  // (id, offset) as a guest walks them.
  std::vector<std::pair<uint32_t, uint32_t>> Capabilities() const {
    std::vector<std::pair<uint32_t, uint32_t>> list;
    for (uint32_t at = Read(0x34, 1); at != 0 && list.size() < 48; at = Read(at + 1, 1)) {
      list.emplace_back(Read(at, 1), at);
    }
    return list;
  }
  uint32_t OffsetOf(uint32_t id) const {
    for (const auto& [found, offset] : Capabilities()) {
      if (found == id) return offset;
    }
    return 0;
  }

  std::unique_ptr<FakeVfioDevice> device_;
  std::unique_ptr<AssignedConfig> config_;
};

TEST_F(ConfigSpaceTest, ShowsTheDevicesIdentityAsAFunctionOfItsOwn) {
  Make({});
  EXPECT_EQ(Read(0x00), 0x10ca8086u);
  EXPECT_EQ(Read(0x08), 0x02000001u);
  EXPECT_EQ(Read(0x0e, 1), 0u);  // not multifunction
  EXPECT_EQ(Read(0x30), 0u);     // no expansion ROM
  EXPECT_EQ(Read(0x3d, 1), 0u);  // no pin
}

TEST_F(ConfigSpaceTest, HidesCapabilitiesThatReachBeyondTheGuest) {
  Make({.msi_vectors = 4});
  std::vector<uint32_t> ids;
  for (const auto& [id, offset] : Capabilities()) ids.push_back(id);
  EXPECT_EQ(ids, (std::vector<uint32_t>{0x01, 0x05, 0x11, 0x10}));

  EXPECT_EQ(Read(0x100), 0x18010001u);  // AER points to the serial number
  EXPECT_EQ(Read(0x180), 0x00010003u);
  EXPECT_EQ(Read(0x184), 0x12345678u);
  EXPECT_EQ(Read(0x140), 0u);
  EXPECT_EQ(Read(0x144), 0u);
  Write(0x148, 7);  // SR-IOV control: must not arrive
  EXPECT_FALSE(device_->config_writes().contains(0x148));
}

TEST_F(ConfigSpaceTest, ShowsNoInterruptsThatTheHostCannotGive) {
  Make({.msix_vectors = 0});
  EXPECT_EQ(OffsetOf(0x11), 0u);
  EXPECT_EQ(OffsetOf(0x05), 0u);
  EXPECT_FALSE(config_->msi().has_value());
  EXPECT_FALSE(config_->msix().has_value());
}

TEST_F(ConfigSpaceTest, ShowsNoInterruptLineWhereItsEndIsNotHeardOf) {
  FakeVfioDevice both({.intx = true});
  EXPECT_TRUE((*AssignedConfig::Create(both))->has_intx());
  auto shown = AssignedConfig::Create(both, /*lines=*/false);
  ASSERT_TRUE(shown.has_value()) << shown.status().ToString();
  EXPECT_FALSE((*shown)->has_intx());
  EXPECT_TRUE((*shown)->msix().has_value());

  FakeVfioDevice line_only({.intx = true, .msix_vectors = 0});
  EXPECT_TRUE(AssignedConfig::Create(line_only).has_value());
  auto refused = AssignedConfig::Create(line_only, /*lines=*/false);
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code(), StatusCode::kFailedPrecondition);
  EXPECT_NE(refused.error().message().find("0000:21:10.0 has neither MSI nor MSI-X"), std::string::npos);

  FakeVfioDevice silent({.msix_vectors = 0});  // nothing is lost with it
  EXPECT_TRUE(AssignedConfig::Create(silent, /*lines=*/false).has_value());
}

TEST_F(ConfigSpaceTest, KeepsThePowerStateFromTheDevice) {
  Make({});
  const uint32_t power = OffsetOf(0x01);
  EXPECT_EQ(Read(power + 2, 2), 0x0603u & 0x07ffu);  // cannot wake anything
  EXPECT_EQ(Read(power + 4, 2), 0x0008u);            // keeps its state
  Write(power + 4, 0x8103, 2);

  EXPECT_EQ(Read(power + 4, 2), 0x000bu);
  EXPECT_FALSE(device_->config_writes().contains(power + 4));
}

TEST_F(ConfigSpaceTest, MakesAnEndpointAnIntegratedOneWithoutALink) {
  Make({});
  const uint32_t express = OffsetOf(0x10);
  EXPECT_EQ(Read(express + 2, 2), 0x0092u);
  EXPECT_EQ(Read(express + 0x0c), 0u);
  EXPECT_EQ(Read(express + 4), 0x10008000u);  // device capabilities are its own
  Write(express + 8, 0x8000, 2);              // a function level reset reaches the device
  EXPECT_EQ(device_->config_writes().at(express + 9), 0x80);
}

TEST_F(ConfigSpaceTest, KeepsDecodingOnInTheDevice) {
  Make({.bars = {{.index = 0, .size = 0x80}, {.index = 1, .size = 0x20, .io = true}}, .msix_vectors = 0});
  ASSERT_TRUE(config_->Restart().ok());
  EXPECT_EQ(device_->command(), 0x0003);
  EXPECT_EQ(Read(0x04, 2), 0u);

  Write(0x04, 0x0407, 2);
  EXPECT_EQ(device_->command(), 0x0407);
  EXPECT_TRUE(config_->header().memory_enabled());
  Write(0x04, 0x0000, 2);

  EXPECT_EQ(device_->command(), 0x0003);
  EXPECT_FALSE(config_->header().memory_enabled());
  EXPECT_EQ(Read(0x04, 2), 0u);
}

TEST_F(ConfigSpaceTest, SizesTheBarsAsTheDevicesRegions) {
  Make({.bars = {{.index = 0, .size = 0x20000},
                 {.index = 2, .size = 0x40, .io = true},
                 {.index = 4, .size = 0x4000, .wide = true}},
        .msix_bar = 4});
  for (uint32_t bar = 0; bar < 6; ++bar) Write(0x10 + 4 * bar, 0xffffffff);
  EXPECT_EQ(Read(0x10), 0xfffe0000u);
  EXPECT_EQ(Read(0x18), 0xffffffc1u);
  EXPECT_EQ(Read(0x20), 0xffffc004u);
  EXPECT_EQ(Read(0x24), 0xffffffffu);
  EXPECT_EQ(Read(0x14), 0u);
  for (uint32_t at = 0x10; at < 0x28; ++at) EXPECT_FALSE(device_->config_writes().contains(at));
}

TEST_F(ConfigSpaceTest, RefusesABarThatCannotBe) {
  FakeVfioDevice device({.bars = {{.index = 5, .size = 0x4000, .wide = true}}, .msix_vectors = 0});
  auto config = AssignedConfig::Create(device);
  ASSERT_FALSE(config.has_value());
  EXPECT_EQ(config.error().code(), StatusCode::kFailedPrecondition);
  EXPECT_NE(config.error().message().find("BAR 5"), std::string::npos);
}

TEST_F(ConfigSpaceTest, ReadsOnesFromADeviceThatIsGone) {
  Make({});
  device_->FailCall(VfioCall::kRead, EIO);
  EXPECT_EQ(Read(0x00), 0xffffffffu);
  EXPECT_EQ(Read(0xffe, 4), 0u);  // behind the end
}

TEST_F(ConfigSpaceTest, PassesOtherRegistersOn) {
  Make({});
  Write(0x0c, 0x10, 1);
  EXPECT_EQ(device_->config_writes().at(0x0c), 0x10);
  Write(0x3c, 0x0b, 1);  // the interrupt line is the guest's own
  EXPECT_EQ(Read(0x3c, 1), 0x0bu);
  EXPECT_FALSE(device_->config_writes().contains(0x3c));
  // command and status in one: the status part reaches the device
  Write(0x04, 0xf9000006);
  EXPECT_EQ(device_->config_writes().at(0x07), 0xf9);
}

}  // namespace
}  // namespace berth::vmm
