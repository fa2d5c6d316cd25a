#include "vmm/virtio/rng.h"

#include <gtest/gtest.h>

#include "tests/fakes/fake_interrupts.h"
#include "tests/fakes/hidden_page.h"
#include "tests/fakes/virtio_driver.h"

namespace berth::vmm {
namespace {

constexpr uint64_t kData = 0x4000;

class RngTest : public ::testing::Test {
 protected:
  void Start() {
    ASSERT_TRUE(driver_.Negotiate(kVirtioVersion1 | kVirtioIndirect));
    driver_.EnableMsix(2);
    driver_.SetUpQueue(0, queue_);
    driver_.Start();
    ASSERT_EQ(driver_.status(), 0x0f);
  }
  // Lets the loop handle what is ready.
  void RunOnce() {
    loop_->Stop();
    ASSERT_TRUE(loop_->Run().ok());
  }

  GuestRam ram_{{{0, 0x10000}}};
  DriverQueue queue_{ram_, 0x1000, 8};
  FakeMsiController interrupts_;
  FakeIoEvents io_events_;
  std::unique_ptr<EventLoop> loop_ = *EventLoop::Create();
  std::shared_ptr<VirtioPciTransport> transport_ = *VirtioPciTransport::Create(
      *VirtioRng::Open("/dev/urandom", *loop_), ram_.memory(), interrupts_, io_events_);
  VirtioDriver driver_{*transport_};
};

TEST_F(RngTest, FillsTheBuffersAndInterrupts) {
  Start();
  queue_.Post({{kData, 32, true}, {kData + 64, 32, true}});
  driver_.Notify(0);
  RunOnce();
  EXPECT_EQ(queue_.UsedIndex(), 1);
  EXPECT_EQ(queue_.Used(0), (DriverQueue::UsedElement{0, 64}));
  EXPECT_EQ(interrupts_.Count(VirtioDriver::kMsiData + 1), 1u);
  EXPECT_NE(ram_.Get(kData, 32), std::vector<uint8_t>(32, 0));
  EXPECT_NE(ram_.Get(kData + 64, 32), std::vector<uint8_t>(32, 0));
  EXPECT_EQ(ram_.Get(kData + 32, 32), std::vector<uint8_t>(32, 0));
}

// Of nothing a driver would ask again at once, for ever.
TEST(VirtioRng, ASourceThatHasRunDryDoesNotLeaveBuffersEmpty) {
  GuestRam ram{{{0, 0x10000}}};
  DriverQueue queue{ram, 0x1000, 8};
  FakeMsiController interrupts;
  FakeIoEvents io_events;
  auto loop = *EventLoop::Create();
  auto transport =
      *VirtioPciTransport::Create(*VirtioRng::Open("/dev/null", *loop), ram.memory(), interrupts, io_events);
  VirtioDriver driver{*transport};
  ASSERT_TRUE(driver.Negotiate(kVirtioVersion1));
  driver.SetUpQueue(0, queue);
  driver.Start();
  queue.Post({{kData, 32, true}});
  driver.Notify(0);
  loop->Stop();
  ASSERT_TRUE(loop->Run().ok());
  EXPECT_EQ(queue.Used(0), (DriverQueue::UsedElement{0, 32}));
  EXPECT_NE(ram.Get(kData, 32), std::vector<uint8_t>(32, 0));
}

TEST_F(RngTest, AnswersAHugeRequestWithALimitedAmount) {
  Start();
  queue_.Post({{kData, 0xc000, true}});
  driver_.Notify(0);
  RunOnce();
  EXPECT_EQ(queue_.Used(0), (DriverQueue::UsedElement{0, VirtioRng::kBytesPerRequest}));
}

TEST_F(RngTest, NeedsAResetAfterABadRingAndWorksAgainAfterIt) {
  Start();
  queue_.SetAvailableIndex(100);
  driver_.Notify(0);
  RunOnce();
  EXPECT_TRUE(driver_.status() & VirtioDriver::kNeedsReset);
  driver_.Notify(0);
  RunOnce();  // it does not look at the ring any more
  EXPECT_EQ(queue_.UsedIndex(), 0);

  queue_.SetAvailableIndex(0);
  Start();
  queue_.Post({{kData, 8, true}});
  driver_.Notify(0);
  RunOnce();
  EXPECT_EQ(queue_.UsedIndex(), 1);
}

// A confidential guest that makes a running device's rings private, and is told so.
TEST_F(RngTest, NeedsAResetOnceItsRingsArePrivateAndWorksAgainAfterIt) {
  HiddenPage pages;
  ram_.memory().ShowOnly(&pages);
  {
    const MemoryUse guest = ram_.memory().Use();
    Start();
    queue_.Post({{kData, 8, true}});
    driver_.Notify(0);
    RunOnce();
    ASSERT_EQ(queue_.UsedIndex(), 1);
    queue_.Post({{kData, 8, true}});
  }
  const uint64_t told = interrupts_.Count(VirtioDriver::kMsiData);
  pages.Hide(0x1000);

  driver_.Notify(0);
  RunOnce();

  EXPECT_TRUE(driver_.status() & VirtioDriver::kNeedsReset);
  EXPECT_EQ(interrupts_.Count(VirtioDriver::kMsiData), told + 1) << "the driver hears of it";
  EXPECT_TRUE(pages.Held().empty());
  EXPECT_EQ(pages.users(), 0);
  // Shared again: nothing happens before the driver has reset the device.
  pages.Show();
  driver_.Notify(0);
  RunOnce();
  {
    const MemoryUse guest = ram_.memory().Use();
    EXPECT_EQ(queue_.UsedIndex(), 1);
    queue_ = DriverQueue(ram_, 0x1000, 8);
    for (uint64_t at = 0x1000; at < 0x2000; at += 8) ram_.PutObject<uint64_t>(at, 0);
    Start();
    EXPECT_FALSE(driver_.status() & VirtioDriver::kNeedsReset);
    queue_.Post({{kData, 8, true}});
    driver_.Notify(0);
    RunOnce();
    EXPECT_EQ(queue_.UsedIndex(), 1);
  }
  driver_.SetStatus(0);
  ram_.memory().ShowOnly(nullptr);
}

TEST_F(RngTest, NeedsItsQueue) {
  ASSERT_TRUE(driver_.Negotiate(kVirtioVersion1));
  driver_.Start();
  EXPECT_TRUE(driver_.status() & VirtioDriver::kNeedsReset);
}

TEST(VirtioRng, NamesASourceThatCannotBeOpened) {
  auto loop = *EventLoop::Create();
  auto rng = VirtioRng::Open("/nonexistent/random", *loop);
  EXPECT_EQ(rng.status().code(), StatusCode::kNotFound);
  EXPECT_NE(rng.status().message().find("/nonexistent/random"), std::string::npos);
}

}  // namespace
}  // namespace berth::vmm
