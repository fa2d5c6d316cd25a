#include "vmm/virtio/balloon.h"

#include <gtest/gtest.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include <atomic>
#include <future>
#include <thread>

#include "tests/fakes/fake_interrupts.h"
#include "tests/fakes/virtio_driver.h"

namespace berth::vmm {
namespace {

constexpr uint64_t kPages = 0x20000;  // where the pages lie that come and go

class BalloonTest : public ::testing::Test {
 protected:
  explicit BalloonTest(bool in_file = false) : ram_({{0, 0x40000}}, in_file, in_file) {}
  void Start(VirtioBalloon::Options options) {
    device_ = VirtioBalloon::Create(options, *loop_);
    transport_ = *VirtioPciTransport::Create(device_, ram_.memory(), interrupts_, io_events_);
    driver_.emplace(*transport_);
    ASSERT_TRUE(driver_->Negotiate(driver_->DeviceFeatures()));
    driver_->EnableMsix(4);
    driver_->SetUpQueue(0, inflate_);
    driver_->SetUpQueue(1, deflate_);
    if (options.free_page_reporting) driver_->SetUpQueue(2, report_);
    driver_->Start();
    ASSERT_EQ(driver_->status(), 0x0f);
  }
  void Kick(uint16_t queue) {
    driver_->Notify(queue);
    loop_->Stop();
    ASSERT_TRUE(loop_->Run().ok());
  }
  bool Empty(uint64_t address) { return ram_.Get(address, 4096) == std::vector<uint8_t>(4096, 0); }

  GuestRam ram_;
  DriverQueue inflate_{ram_, 0x1000, 8}, deflate_{ram_, 0x2000, 8}, report_{ram_, 0x3000, 8};
  FakeMsiController interrupts_;
  FakeIoEvents io_events_;
  std::unique_ptr<EventLoop> loop_ = *EventLoop::Create();
  std::shared_ptr<VirtioBalloon> device_;
  std::shared_ptr<VirtioPciTransport> transport_;
  std::optional<VirtioDriver> driver_;
};

TEST_F(BalloonTest, GivesBackThePagesThatTheGuestHandsOutAndNoOthers) {
  Start({.bytes = 3 * 4096});
  EXPECT_EQ(driver_->Read<uint32_t>(VirtioPciTransport::kDeviceOffset), 3u);
  for (uint64_t page = 0; page < 5; ++page) ram_.Put(kPages + page * 4096, {7});
  const uint32_t numbers[] = {0x22, 0x21, 0x24};  // downwards, then one apart
  for (size_t i = 0; i < 3; ++i) ram_.PutObject(0x8000 + 4 * i, numbers[i]);
  inflate_.Post({{0x8000, 12}});

  Kick(0);

  EXPECT_FALSE(Empty(kPages));
  EXPECT_TRUE(Empty(kPages + 0x1000));
  EXPECT_TRUE(Empty(kPages + 0x2000));
  EXPECT_FALSE(Empty(kPages + 0x3000));
  EXPECT_TRUE(Empty(kPages + 0x4000));
  EXPECT_EQ(inflate_.UsedIndex(), 1);
  driver_->Write<uint32_t>(VirtioPciTransport::kDeviceOffset + 4, 3);
  EXPECT_EQ(device_->actual(), 3u * 4096);
}

TEST_F(BalloonTest, PagesOutsideOfRamAreLeftAlone) {
  Start({});
  const uint32_t numbers[] = {0x3f, 0x40, 0xffffffff, 0};
  for (size_t i = 0; i < 4; ++i) ram_.PutObject(0x8000 + 4 * i, numbers[i]);
  inflate_.Post({{0x8000, 16}});
  Kick(0);
  EXPECT_EQ(inflate_.UsedIndex(), 1);
  EXPECT_EQ(driver_->status(), 0x0f);
}

TEST_F(BalloonTest, AnArrayThatIsCutBreaksTheRules) {
  Start({});
  inflate_.Post({{0x8000, 6}});
  Kick(0);
  EXPECT_TRUE(driver_->status() & VirtioDriver::kNeedsReset);
}

TEST_F(BalloonTest, MorePagesAtOnceThanThereIsTimeForBreakTheRules) {
  Start({});
  inflate_.Post({{0x8000, 0x8000}, {0x8000, 0x8000}});
  Kick(0);
  EXPECT_EQ(driver_->status(), 0x0f);
  EXPECT_EQ(inflate_.UsedIndex(), 1);
  inflate_.Post({{0x8000, 0x8000}, {0x8000, 0x8000}, {0x8000, 4}});
  Kick(0);
  EXPECT_TRUE(driver_->status() & VirtioDriver::kNeedsReset);
}

TEST_F(BalloonTest, ADriverThatBrokeTheRulesStartsAgainAfterAReset) {
  Start({});
  inflate_.Post({{0x8000, 6}});
  Kick(0);
  ASSERT_TRUE(driver_->status() & VirtioDriver::kNeedsReset);
  // Its callback still runs while another thread resets: the reset returns after it.
  std::promise<void> running;
  std::atomic<bool> over{false};
  UniqueFd kick(eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK));
  std::promise<void> go_on;
  ASSERT_TRUE(loop_
                  ->Add(kick.get(), EPOLLIN,
                        [&](uint32_t) {
                          loop_->Remove(kick.get());
                          running.set_value();
                          go_on.get_future().wait();
                          over = true;
                        })
                  .ok());
  std::thread thread([this] { EXPECT_TRUE(loop_->Run().ok()); });
  running.get_future().wait();
  std::thread guest([&] {
    driver_->SetStatus(0);
    EXPECT_TRUE(over);
  });
  go_on.set_value();
  guest.join();
  loop_->Stop();
  thread.join();
}

TEST_F(BalloonTest, AsksForAnotherSizeByAnInterrupt) {
  Start({});
  device_->Request(8192);
  EXPECT_EQ(interrupts_.Count(VirtioDriver::kMsiData), 1u);
  EXPECT_EQ(driver_->Read<uint32_t>(VirtioPciTransport::kDeviceOffset), 2u);
  device_->Request(8192);
  EXPECT_EQ(interrupts_.Count(VirtioDriver::kMsiData), 1u);
}

TEST_F(BalloonTest, ReportedPagesAreGivenBackAndTheBufferReturned) {
  Start({.deflate_on_oom = true, .free_page_reporting = true});
  EXPECT_EQ(driver_->DeviceFeatures() & 0x24, 0x24u);
  ram_.Put(kPages, {7});
  ram_.Put(kPages + 0x2000, {7});
  report_.Post({{kPages, 0x2000, true}});
  Kick(2);
  EXPECT_TRUE(Empty(kPages));
  EXPECT_FALSE(Empty(kPages + 0x2000));
  EXPECT_EQ(report_.UsedIndex(), 1);
  EXPECT_EQ(device_->reported(), 0x2000u);
}

TEST_F(BalloonTest, AResetForgetsWhatTheDriverHad) {
  Start({});
  driver_->Write<uint32_t>(VirtioPciTransport::kDeviceOffset + 4, 5);
  driver_->SetStatus(0);
  EXPECT_EQ(device_->actual(), 0u);
  device_->Request(4096);  // nobody to interrupt
}

class BalloonInAFileTest : public BalloonTest {
 protected:
  BalloonInAFileTest() : BalloonTest(true) {}
};

// Whoever fills the file system meanwhile would leave the guest without them.
TEST_F(BalloonInAFileTest, PagesWhoseRoomIsReservedStay) {
  Start({.free_page_reporting = true});
  ram_.Put(kPages, {7});
  ram_.PutObject(0x8000, static_cast<uint32_t>(kPages / 4096));
  inflate_.Post({{0x8000, 4}});
  report_.Post({{kPages, 4096, true}});

  Kick(0);
  Kick(2);

  EXPECT_EQ(inflate_.UsedIndex(), 1);
  EXPECT_EQ(report_.UsedIndex(), 1);
  EXPECT_EQ(ram_.Get(kPages, 1)[0], 7);
  EXPECT_EQ(device_->reported(), 0u);
}

}  // namespace
}  // namespace berth::vmm
