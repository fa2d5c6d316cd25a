#include "vmm/virtio/worker_loop.h"

#include <gtest/gtest.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

#include <fstream>

#include <random>

#include "vmm/virtio/event_fd.h"

namespace berth::vmm {
namespace {

using std::chrono::milliseconds;

class WorkerLoopTest : public testing::Test {
 protected:
  void SetUp() override {
    event_.reset(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    control_ = std::thread([this] { EXPECT_TRUE(starter_->Run().ok()); });
  }
  void TearDown() override {
    worker_.reset();
    starter_->Stop();
    control_.join();
  }
  void Start(milliseconds rest, bool starter = true) {
    worker_ = *WorkerLoop::Start({.name = "worker",
                                  .starter = starter ? starter_.get() : nullptr,
                                  .may_rest = [this] { return may_rest_.load(); },
                                  .rest = rest});
    ASSERT_TRUE(worker_->loop()
                    .Add(event_.get(), EPOLLIN,
                         [this](uint32_t) {
                           DrainEvent(event_.get());
                           thread_ = ::gettid();
                           ++seen_;
                         })
                    .ok());
  }
  // Whether it comes true within ten seconds.
  template <class Condition>
  static bool Soon(Condition condition) {
    for (int i = 0; i < 10'000; ++i) {
      if (condition()) return true;
      std::this_thread::sleep_for(milliseconds(1));
    }
    return false;
  }
  bool Signal() {
    const int before = seen_;
    SignalEvent(event_.get());
    return Soon([&] { return seen_ > before; });
  }

  std::unique_ptr<EventLoop> starter_ = *EventLoop::Create();
  std::thread control_;
  UniqueFd event_;
  std::atomic<int> seen_ = 0;
  std::atomic<pid_t> thread_ = 0;
  std::atomic<bool> may_rest_ = true;
  std::unique_ptr<WorkerLoop> worker_;
};

TEST_F(WorkerLoopTest, HasAThreadOnlyWhileThereIsWork) {
  Start(milliseconds(20));
  EXPECT_FALSE(worker_->awake());
  ASSERT_TRUE(Signal());
  const pid_t first = thread_;
  EXPECT_NE(first, ::gettid());
  ASSERT_TRUE(Soon([this] { return !worker_->awake(); }));
  EXPECT_TRUE(
      Soon([first] { return ::access(("/proc/self/task/" + std::to_string(first)).c_str(), F_OK) != 0; }));

  thread_ = 0;
  ASSERT_TRUE(Signal()) << "another thread takes over";
  EXPECT_NE(thread_, 0);
  EXPECT_NE(thread_, ::gettid());
}

TEST_F(WorkerLoopTest, StaysWhileSomethingIsUnderWay) {
  may_rest_ = false;
  Start(milliseconds(5));
  ASSERT_TRUE(Signal());
  const pid_t first = thread_;
  std::this_thread::sleep_for(milliseconds(50));
  EXPECT_TRUE(worker_->awake());
  ASSERT_TRUE(Signal());
  EXPECT_EQ(thread_, first);
  may_rest_ = true;
  EXPECT_TRUE(Soon([this] { return !worker_->awake(); }));
}

TEST_F(WorkerLoopTest, StaysWithoutAStarter) {
  Start(milliseconds(5), false);
  EXPECT_TRUE(worker_->awake());
  std::this_thread::sleep_for(milliseconds(50));
  EXPECT_TRUE(worker_->awake());
  EXPECT_TRUE(Signal());
}

TEST_F(WorkerLoopTest, RunsTasksThatComeWhileItRests) {
  Start(milliseconds(5));
  std::atomic<bool> ran = false;
  worker_->loop().Post([&ran] { ran = true; });
  EXPECT_TRUE(Soon([&ran] { return ran.load(); }));
}

// The stack of the next thread finds no room until the limit is lifted.
TEST_F(WorkerLoopTest, GoesOnOnceAThreadCanBeHad) {
  Start(milliseconds(5));
  pthread_attr_t attributes;
  ASSERT_EQ(pthread_getattr_default_np(&attributes), 0);
  const rlimit64 before = [] {
    rlimit64 limit{};
    getrlimit64(RLIMIT_AS, &limit);
    return limit;
  }();
  uint64_t pages = 0;
  std::ifstream("/proc/self/statm") >> pages;
  pthread_attr_t large = attributes;
  pthread_attr_setstacksize(&large, size_t{1} << 30);
  ASSERT_EQ(pthread_setattr_default_np(&large), 0);
  const rlimit64 small{pages * 4096 + (uint64_t{256} << 20), before.rlim_max};
  ASSERT_EQ(setrlimit64(RLIMIT_AS, &small), 0);
  SignalEvent(event_.get());
  std::this_thread::sleep_for(milliseconds(50));
  const int seen = seen_;
  ASSERT_EQ(setrlimit64(RLIMIT_AS, &before), 0);
  pthread_setattr_default_np(&attributes);

  EXPECT_EQ(seen, 0);
  EXPECT_TRUE(Soon([this] { return seen_ > 0; }));
}

// Events that come just when the thread ends, and ends of the whole at any moment.
TEST_F(WorkerLoopTest, NothingIsMissed) {
  std::mt19937 random(7);
  std::uniform_int_distribution<int> pause(0, 2500);
  for (int round = 0; round < 40; ++round) {
    Start(milliseconds(1));
    for (int i = 0; i < 20; ++i) {
      ASSERT_TRUE(Signal());
      std::this_thread::sleep_for(std::chrono::microseconds(pause(random)));
    }
    SignalEvent(event_.get());
    worker_.reset();
    DrainEvent(event_.get());
  }
}

}  // namespace
}  // namespace berth::vmm
