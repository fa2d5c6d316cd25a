#include "vmm/devices/pvpanic.h"

#include <gtest/gtest.h>

#include <vector>

namespace berth::vmm {
namespace {

TEST(Pvpanic, TellsWhatItKnowsAndPassesOnWhatHappened) {
  std::vector<GuestPanic> panics;
  auto function = MakePvpanic([&](GuestPanic panic) { panics.push_back(panic); });
  EXPECT_EQ(function->config().Read32(0), 0x00111b36u);
  ASSERT_TRUE(function->config().bar(0));
  auto bar = function->BarDevice(0);
  uint8_t value = 0;
  bar->Read(0, {&value, 1});
  EXPECT_EQ(value, 3);

  for (uint8_t event : {2, 1, 0, 8, 3}) bar->Write(0, {&event, 1});
  const uint8_t panicked = 1;
  bar->Write(1, {&panicked, 1});

  EXPECT_EQ(panics, (std::vector<GuestPanic>{GuestPanic::kCrashLoaded, GuestPanic::kPanicked,
                                             GuestPanic::kPanicked, GuestPanic::kCrashLoaded}));
}

}  // namespace
}  // namespace berth::vmm
