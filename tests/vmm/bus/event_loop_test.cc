#include "vmm/bus/event_loop.h"

#include <gtest/gtest.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <atomic>
#include <thread>

namespace berth::vmm {
namespace {

TEST(EventLoop, RunsCallbacksOfReadyDescriptors) {
  auto loop = *EventLoop::Create();
  UniqueFd fd(eventfd(1, EFD_NONBLOCK));
  uint32_t seen = 0;
  ASSERT_TRUE(loop->Add(fd.get(), EPOLLIN,
                        [&](uint32_t events) {
                          seen = events;
                          loop->Stop();
                        })
                  .ok());
  EXPECT_TRUE(loop->Run().ok());
  EXPECT_EQ(seen, static_cast<uint32_t>(EPOLLIN));
}

TEST(EventLoop, RunsPostedTasksFromAnotherThreadBeforeItStops) {
  auto loop = *EventLoop::Create();
  int sum = 0;
  std::thread poster([&] {
    for (int i = 1; i <= 100; ++i) loop->Post([&sum, i] { sum += i; });
    loop->Stop();
  });
  EXPECT_TRUE(loop->Run().ok());
  poster.join();
  EXPECT_EQ(sum, 5050);
}

TEST(EventLoop, ReturnsAtOnceWhenStoppedBeforeAndRunsAgain) {
  auto loop = *EventLoop::Create();
  loop->Stop();
  EXPECT_TRUE(loop->Run().ok());

  bool ran = false;
  loop->Post([&] {
    ran = true;
    loop->Stop();
  });
  EXPECT_TRUE(loop->Run().ok());
  EXPECT_TRUE(ran);
}

TEST(EventLoop, RefusesADescriptorTwiceAndABadOne) {
  auto loop = *EventLoop::Create();
  UniqueFd fd(eventfd(0, EFD_NONBLOCK));
  EXPECT_TRUE(loop->Add(fd.get(), EPOLLIN, [](uint32_t) {}).ok());
  EXPECT_EQ(loop->Add(fd.get(), EPOLLIN, [](uint32_t) {}).code(), StatusCode::kAlreadyExists);
  EXPECT_FALSE(loop->Add(-1, EPOLLIN, [](uint32_t) {}).ok());
  EXPECT_EQ(loop->Modify(12345, EPOLLIN).code(), StatusCode::kNotFound);
}

TEST(EventLoop, DoesNotRunACallbackThatAnotherOneOfTheSameBatchRemoved) {
  auto loop = *EventLoop::Create();
  UniqueFd a(eventfd(1, EFD_NONBLOCK));
  UniqueFd b(eventfd(1, EFD_NONBLOCK));
  int calls = 0;
  auto once = [&](uint32_t) {
    ++calls;
    loop->Remove(a.get());
    loop->Remove(b.get());
    loop->Stop();
  };
  ASSERT_TRUE(loop->Add(a.get(), EPOLLIN, once).ok());
  ASSERT_TRUE(loop->Add(b.get(), EPOLLIN, once).ok());
  EXPECT_TRUE(loop->Run().ok());
  EXPECT_EQ(calls, 1);
}

TEST(EventLoop, RemoveWaitsForACallbackThatIsRunning) {
  auto loop = *EventLoop::Create();
  UniqueFd fd(eventfd(1, EFD_NONBLOCK));
  std::atomic<bool> entered{false};
  std::atomic<bool> left{false};
  ASSERT_TRUE(loop->Add(fd.get(), EPOLLIN,
                        [&](uint32_t) {
                          entered = true;
                          for (int i = 0; i < 100; ++i) std::this_thread::yield();
                          left = true;
                        })
                  .ok());
  std::thread runner([&] { EXPECT_TRUE(loop->Run().ok()); });
  while (!entered) std::this_thread::yield();
  loop->Remove(fd.get());
  EXPECT_TRUE(left);
  loop->Stop();
  runner.join();
}

}  // namespace
}  // namespace berth::vmm
