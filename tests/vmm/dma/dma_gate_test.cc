#include "vmm/dma/dma_gate.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

namespace berth::vmm {
namespace {

TEST(DmaGate, IsStillWhileNoDeviceMayDoDma) {
  DmaGate gate;
  const int a = 0, b = 0;
  EXPECT_NE(gate.HoldStill(), nullptr);
  gate.Change(&a, [] { return true; });
  EXPECT_EQ(gate.HoldStill(), nullptr);
  gate.Change(&b, [] { return true; });
  gate.Change(&a, [] { return false; });
  EXPECT_EQ(gate.HoldStill(), nullptr);
  gate.Forget(&b);
  EXPECT_NE(gate.HoldStill(), nullptr);
}

TEST(DmaGate, LetsNoDeviceStartBeforeStillnessEnds) {
  DmaGate gate;
  const int device = 0;
  std::atomic<bool> wanted = false, started = false;
  DmaGate::Stillness still = gate.HoldStill();
  ASSERT_NE(still, nullptr);
  std::thread guest([&] {
    wanted = true;
    gate.Change(&device, [&] {
      started = true;
      return true;
    });
  });
  while (!wanted) std::this_thread::yield();
  EXPECT_FALSE(started);

  still.reset();

  guest.join();
  EXPECT_TRUE(started);
  EXPECT_EQ(gate.HoldStill(), nullptr);
}

}  // namespace
}  // namespace berth::vmm
