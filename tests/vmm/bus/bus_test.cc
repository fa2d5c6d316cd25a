#include "vmm/bus/bus.h"

#include <gtest/gtest.h>

#include "tests/fakes/fake_device.h"

namespace berth::vmm {
namespace {

TEST(Bus, DispatchesByRangeWithTheOffsetFromItsBase) {
  Bus bus;
  auto device = std::make_shared<FakeDevice>(0x5a);
  ASSERT_TRUE(bus.Insert(0x1000, 0x10, device, "device").ok());

  uint8_t data[2] = {};
  EXPECT_TRUE(bus.Read(0x1004, data));
  EXPECT_EQ(data[0], 0x5a);
  EXPECT_EQ(device->reads.at(0), std::make_pair(uint64_t{4}, size_t{2}));

  const uint8_t value[1] = {7};
  EXPECT_TRUE(bus.Write(0x100f, value));
  EXPECT_EQ(device->writes.at(0).first, 0xfu);
}

TEST(Bus, ReadsOnesWhereNoDeviceOwnsTheWholeAccess) {
  Bus bus;
  auto device = std::make_shared<FakeDevice>(0);
  ASSERT_TRUE(bus.Insert(0x1000, 0x10, device, "device").ok());

  uint8_t data[4] = {};
  EXPECT_FALSE(bus.Read(0x100e, data));  // crosses the end
  EXPECT_EQ(data[0], 0xff);
  EXPECT_FALSE(bus.Read(0xfff, data));
  EXPECT_FALSE(bus.Read(~uint64_t{0}, data));
  EXPECT_FALSE(bus.Write(0x1010, data));
  EXPECT_TRUE(device->reads.empty());
}

TEST(Bus, RefusesOverlapAndNamesBothRanges) {
  Bus bus;
  ASSERT_TRUE(bus.Insert(0x1000, 0x1000, std::make_shared<FakeDevice>(), "first").ok());

  for (uint64_t base : {0x1fff, 0x1000, 0x1800}) {
    Status status = bus.Insert(base, 1, std::make_shared<FakeDevice>(), "second");
    EXPECT_EQ(status.code(), StatusCode::kAlreadyExists);
    EXPECT_NE(status.message().find("first"), std::string::npos);
    EXPECT_NE(status.message().find("second"), std::string::npos);
  }
  EXPECT_EQ(bus.Insert(0xfff, 2, std::make_shared<FakeDevice>(), "x").code(), StatusCode::kAlreadyExists);
  EXPECT_TRUE(bus.Insert(0xfff, 1, std::make_shared<FakeDevice>(), "before").ok());
  EXPECT_TRUE(bus.Insert(0x2000, 1, std::make_shared<FakeDevice>(), "after").ok());
}

TEST(Bus, RefusesEmptyAndWrappingRanges) {
  Bus bus;
  EXPECT_EQ(bus.Insert(0, 0, std::make_shared<FakeDevice>(), "empty").code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(bus.Insert(~uint64_t{0}, 2, std::make_shared<FakeDevice>(), "wraps").code(),
            StatusCode::kInvalidArgument);
  EXPECT_TRUE(bus.Insert(~uint64_t{0}, 1, std::make_shared<FakeDevice>(), "last byte").ok());
}

TEST(Bus, MovesARangeOntoItsOwnOldPlaceButNotOntoAnother) {
  Bus bus;
  auto device = std::make_shared<FakeDevice>(1);
  ASSERT_TRUE(bus.Insert(0x1000, 0x1000, device, "moving").ok());
  ASSERT_TRUE(bus.Insert(0x4000, 0x1000, std::make_shared<FakeDevice>(2), "fixed").ok());
  uint8_t data[1];

  EXPECT_TRUE(bus.Move(0x1000, 0x1800).ok());
  EXPECT_TRUE(bus.Read(0x27ff, data));
  EXPECT_EQ(bus.Move(0x1800, 0x3800).code(), StatusCode::kAlreadyExists);
  EXPECT_TRUE(bus.Read(0x27ff, data));  // still there
  EXPECT_FALSE(bus.Read(0x3800, data));
  EXPECT_EQ(bus.Move(0x9000, 0x8000).code(), StatusCode::kNotFound);
}

TEST(Bus, ReleasesARemovedDevice) {
  Bus bus;
  auto device = std::make_shared<FakeDevice>();
  ASSERT_TRUE(bus.Insert(0x1000, 8, device, "device").ok());
  EXPECT_EQ(device.use_count(), 2);

  EXPECT_TRUE(bus.Remove(0x1000).ok());
  EXPECT_EQ(device.use_count(), 1);
  EXPECT_EQ(bus.Remove(0x1000).code(), StatusCode::kNotFound);
}

}  // namespace
}  // namespace berth::vmm
