#include "vmm/virtio/queue.h"

#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <optional>
#include <string>

#include "tests/fakes/hidden_page.h"
#include "tests/fakes/virtio_driver.h"

namespace berth::vmm {
namespace {

constexpr uint64_t kRings = 0x1000;
constexpr uint64_t kData = 0x8000;

class QueueTest : public ::testing::Test {
 protected:
  void Create(bool indirect = true, bool event_idx = false) {
    queue_.emplace(*SplitQueue::Create(ram_.memory(), driver_.Config(indirect, event_idx)));
  }
  // Expects that the next Pop is refused with a message that contains `text`.
  void ExpectRefused(const std::string& text) {
    auto popped = queue_->Pop(chain_);
    ASSERT_FALSE(popped.has_value());
    EXPECT_NE(popped.error().message().find(text), std::string::npos) << popped.error().message();
  }
  bool Pop() {
    auto popped = queue_->Pop(chain_);
    EXPECT_TRUE(popped.has_value()) << popped.status().ToString();
    return popped.value_or(false);
  }

  // Two regions that touch at 0x10000, and one apart.
  GuestRam ram_{{{0, 0x10000}, {0x10000, 0x4000}, {0x100000, 0x1000}}};
  DriverQueue driver_{ram_, kRings, 8};
  std::optional<SplitQueue> queue_;
  DescriptorChain chain_;
};

TEST_F(QueueTest, GivesChainsInOrderAndReturnsThem) {
  Create();
  ram_.Put(kData, {1, 2, 3, 4, 5});
  driver_.Post({{kData, 3}, {kData + 3, 2}, {kData + 0x100, 16, true}});
  driver_.Post({{kData + 0x200, 4, true}});

  ASSERT_TRUE(Pop());
  EXPECT_EQ(chain_.head, 0);
  EXPECT_EQ(chain_.readable.size(), 5u);
  EXPECT_EQ(chain_.writable.size(), 16u);
  uint8_t bytes[5];
  EXPECT_EQ(chain_.readable.CopyOut(0, bytes), 5u);
  EXPECT_EQ(bytes[4], 5);
  const uint8_t answer[] = {7, 8};
  EXPECT_EQ(chain_.writable.CopyIn(0, answer), 2u);
  queue_->Push(chain_.head, 2);
  EXPECT_EQ(ram_.Get(kData + 0x100, 2), (std::vector<uint8_t>{7, 8}));

  ASSERT_TRUE(Pop());
  EXPECT_EQ(chain_.head, 3);
  queue_->Push(chain_.head, 4);
  EXPECT_FALSE(Pop());
  EXPECT_EQ(driver_.UsedIndex(), 2);
  EXPECT_EQ(driver_.Used(0), (DriverQueue::UsedElement{0, 2}));
  EXPECT_EQ(driver_.Used(1), (DriverQueue::UsedElement{3, 4}));
}

TEST_F(QueueTest, GoesOnBeyondTheWrapOfItsIndices) {
  Create();
  for (uint32_t i = 0; i < 70000; ++i) {
    driver_.Post({{kData, 1}});
    ASSERT_TRUE(Pop());
    queue_->Push(chain_.head, 0);
  }
  EXPECT_EQ(driver_.UsedIndex(), 70000 - 65536);
}

TEST_F(QueueTest, FollowsAnIndirectTable) {
  Create();
  driver_.PostIndirect({{kData, 8}, {kData + 8, 8}, {kData + 16, 100, true}});
  ASSERT_TRUE(Pop());
  EXPECT_EQ(chain_.readable.size(), 16u);
  EXPECT_EQ(chain_.writable.size(), 100u);
}

TEST_F(QueueTest, FollowsAnIndirectTableBehindDirectDescriptors) {
  Create();
  driver_.SetDescriptorAt(driver_.indirect(), 0, kData + 8, 8, DriverQueue::kWrite, 0);
  driver_.SetDescriptor(0, kData, 8, DriverQueue::kNext, 1);
  driver_.SetDescriptor(1, driver_.indirect(), 16, DriverQueue::kIndirect);
  driver_.Offer(0);
  ASSERT_TRUE(Pop());
  EXPECT_EQ(chain_.readable.size(), 8u);
  EXPECT_EQ(chain_.writable.size(), 8u);
}

TEST_F(QueueTest, SplitsADescriptorThatCrossesRegionsAndRefusesOneThatLeavesThem) {
  Create();
  ram_.Put(0xfffe, {1, 2, 3, 4});
  driver_.Post({{0xfffe, 4}});
  ASSERT_TRUE(Pop());
  uint8_t bytes[4] = {};
  EXPECT_EQ(chain_.readable.CopyOut(0, bytes), 4u);
  EXPECT_EQ(bytes[1], 2);
  EXPECT_EQ(bytes[2], 3);
  std::vector<iovec> iovecs;
  chain_.readable.AppendIovecs(1, 2, iovecs);
  ASSERT_EQ(iovecs.size(), 2u);
  EXPECT_EQ(iovecs[0].iov_len, 1u);

  driver_.Post({{0x13fff, 2}});
  ExpectRefused("is not RAM");
}

TEST_F(QueueTest, RefusesRingsThatAreMisalignedOrOutsideRam) {
  auto config = driver_.Config();
  config.size = 6;
  EXPECT_EQ(SplitQueue::Create(ram_.memory(), config).status().code(), StatusCode::kInvalidArgument);
  config.size = 0;
  EXPECT_EQ(SplitQueue::Create(ram_.memory(), config).status().code(), StatusCode::kInvalidArgument);
  config = driver_.Config();
  config.descriptors = Gpa{kRings + 8};
  EXPECT_EQ(SplitQueue::Create(ram_.memory(), config).status().code(), StatusCode::kInvalidArgument);
  config = driver_.Config();
  config.driver = Gpa{0x13ff0};  // 22 bytes, 16 left
  EXPECT_EQ(SplitQueue::Create(ram_.memory(), config).status().code(), StatusCode::kOutOfRange);
  config = driver_.Config();
  config.device = Gpa{~uint64_t{0} - 3};
  EXPECT_EQ(SplitQueue::Create(ram_.memory(), config).status().code(), StatusCode::kOutOfRange);
}

struct Offence {
  const char* name;
  const char* message;
  std::function<void(DriverQueue&)> commit;
};

class QueueOffenceTest : public QueueTest, public ::testing::WithParamInterface<Offence> {};

TEST_P(QueueOffenceTest, IsRefused) {
  Create();
  GetParam().commit(driver_);
  ExpectRefused(GetParam().message);
  EXPECT_EQ(driver_.UsedIndex(), 0);
}

constexpr uint16_t kN = DriverQueue::kNext;
constexpr uint16_t kW = DriverQueue::kWrite;
constexpr uint16_t kI = DriverQueue::kIndirect;

INSTANTIATE_TEST_SUITE_P(
    Offences, QueueOffenceTest,
    ::testing::Values(
        Offence{"Loop", "longer than the queue",
                [](DriverQueue& q) {
                  q.SetDescriptor(0, kData, 1, kN, 1);
                  q.SetDescriptor(1, kData, 1, kN, 0);
                  q.Offer(0);
                }},
        Offence{"LoopToItself", "longer than the queue",
                [](DriverQueue& q) {
                  q.SetDescriptor(3, kData, 1, kN, 3);
                  q.Offer(3);
                }},
        Offence{"HeadOutOfRange", "descriptor index 8", [](DriverQueue& q) { q.Offer(8); }},
        Offence{"NextOutOfRange", "descriptor index 65535",
                [](DriverQueue& q) {
                  q.SetDescriptor(0, kData, 1, kN, 65535);
                  q.Offer(0);
                }},
        Offence{"AvailableJump", "9 ahead in a queue of 8", [](DriverQueue& q) { q.SetAvailableIndex(9); }},
        Offence{"AvailableBackwards", "65535 ahead", [](DriverQueue& q) { q.SetAvailableIndex(65535); }},
        Offence{"Empty", "empty descriptor", [](DriverQueue& q) { q.Post({{kData, 0}}); }},
        Offence{"EmptySecond", "empty descriptor",
                [](DriverQueue& q) { q.Post({{kData, 4}, {kData, 0, true}}); }},
        Offence{"NotRam", "is not RAM", [](DriverQueue& q) { q.Post({{0x20000, 16}}); }},
        Offence{"WrapsAround", "is not RAM", [](DriverQueue& q) { q.Post({{~uint64_t{0} - 1, 4}}); }},
        Offence{"LengthBeyondRam", "is not RAM", [](DriverQueue& q) { q.Post({{kData, 0xffffffff}}); }},
        Offence{"ReadableAfterWritable", "readable descriptor after",
                [](DriverQueue& q) { q.Post({{kData, 4, true}, {kData, 4}}); }},
        Offence{"IndirectInIndirect", "indirect descriptor in an indirect table",
                [](DriverQueue& q) {
                  q.SetDescriptorAt(q.indirect(), 0, q.indirect(), 16, kI, 0);
                  q.SetDescriptor(0, q.indirect(), 16, kI);
                  q.Offer(0);
                }},
        Offence{"IndirectWithNext", "indirect descriptor with a successor",
                [](DriverQueue& q) {
                  q.SetDescriptor(0, q.indirect(), 16, kI | kN, 1);
                  q.Offer(0);
                }},
        Offence{"IndirectRagged", "indirect table of 24 bytes",
                [](DriverQueue& q) {
                  q.SetDescriptor(0, q.indirect(), 24, kI);
                  q.Offer(0);
                }},
        Offence{"IndirectEmpty", "indirect table of 0 bytes",
                [](DriverQueue& q) {
                  q.SetDescriptor(0, q.indirect(), 0, kI);
                  q.Offer(0);
                }},
        Offence{"IndirectLongerThanQueue", "indirect table of 144 bytes",
                [](DriverQueue& q) {
                  q.SetDescriptor(0, q.indirect(), 9 * 16, kI);
                  q.Offer(0);
                }},
        Offence{"IndirectLoop", "loop in an indirect table",
                [](DriverQueue& q) {
                  q.SetDescriptorAt(q.indirect(), 0, kData, 1, kN, 1);
                  q.SetDescriptorAt(q.indirect(), 1, kData, 1, kN, 0);
                  q.SetDescriptor(0, q.indirect(), 32, kI);
                  q.Offer(0);
                }},
        Offence{"IndirectNextOutOfRange", "index 2 in an indirect table of 2",
                [](DriverQueue& q) {
                  q.SetDescriptorAt(q.indirect(), 0, kData, 1, kN, 2);
                  q.SetDescriptor(0, q.indirect(), 32, kI);
                  q.Offer(0);
                }},
        Offence{"IndirectNotRam", "is not RAM",
                [](DriverQueue& q) {
                  q.SetDescriptor(0, 0x13ff8, 16, kI | kW);
                  q.Offer(0);
                }}),
    [](const auto& test) { return std::string(test.param.name); });

TEST_F(QueueTest, RefusesIndirectTablesThatWereNotNegotiated) {
  Create(false);
  driver_.PostIndirect({{kData, 8}});
  ExpectRefused("without the feature");
}

TEST_F(QueueTest, RefusesAChainOfMoreThan4GiB) {
  // Two regions cannot hold it: the same bytes are named again and again.
  GuestRam ram({{0, 0x80000000}});
  DriverQueue driver(ram, kRings, 8);
  auto queue = *SplitQueue::Create(ram.memory(), driver.Config());
  driver.Post({{0x10000, 0x70000000}, {0x10000, 0x70000000}, {0x10000, 0x70000000}});
  auto popped = queue.Pop(chain_);
  ASSERT_FALSE(popped.has_value());
  EXPECT_EQ(popped.error().message(), "descriptor chain of more than 4 GiB");
}

// A guest can map one page as often as it likes; each piece of a chain takes memory of the host's.
TEST_F(QueueTest, RefusesAChainOfTooManyPieces) {
  class OnePage : public AddressTranslator {
   public:
    explicit OnePage(std::span<uint8_t> page) : page_(page) {}
    Status Translate(uint64_t address, uint64_t size, bool /*write*/,
                     std::vector<std::span<uint8_t>>& pieces) override {
      for (; size > 0 && address >= 0x100000; size -= std::min<uint64_t>(size, page_.size())) {
        pieces.push_back(page_.first(std::min<uint64_t>(size, page_.size())));
      }
      if (size > 0) pieces.push_back(ram_->memory().Span(Gpa{address}, size)->first(size));
      return OkStatus();
    }
    uint64_t generation() const override { return 0; }
    GuestRam* ram_ = nullptr;

   private:
    std::span<uint8_t> page_;
  };
  OnePage translator(*ram_.memory().Span(Gpa{0x8000}, 4096));
  translator.ram_ = &ram_;
  QueueConfig config = driver_.Config();
  config.translator = &translator;
  queue_.emplace(*SplitQueue::Create(ram_.memory(), config));
  driver_.Post({{0x1000000, 64 << 20, true}});
  ASSERT_TRUE(Pop()) << "64 MiB of single pages";
  driver_.Post({{0x1000000, (64 << 20) + 4096, true}});
  ExpectRefused("more than 16384 pieces");
}

TEST_F(QueueTest, AcceptsAFullQueueOfChains) {
  Create();
  for (int i = 0; i < 8; ++i) driver_.Post({{kData, 1}});
  for (int i = 0; i < 8; ++i) EXPECT_TRUE(Pop());
  EXPECT_FALSE(Pop());
}

TEST_F(QueueTest, AsksForAnInterruptUnlessTheDriverDeclines) {
  Create();
  EXPECT_FALSE(queue_->NeedsInterrupt());  // nothing pushed
  driver_.Post({{kData, 1}});
  ASSERT_TRUE(Pop());
  queue_->Push(chain_.head, 0);
  EXPECT_TRUE(queue_->NeedsInterrupt());
  EXPECT_FALSE(queue_->NeedsInterrupt());
  driver_.SetAvailableFlags(1);
  queue_->Push(chain_.head, 0);
  EXPECT_FALSE(queue_->NeedsInterrupt());
}

TEST_F(QueueTest, InterruptsWhenTheUsedEventIsPassed) {
  Create(true, true);
  driver_.SetUsedEvent(2);  // after the third
  EXPECT_FALSE(queue_->NeedsInterrupt());
  queue_->Push(0, 0);
  EXPECT_FALSE(queue_->NeedsInterrupt());
  queue_->Push(0, 0);
  EXPECT_FALSE(queue_->NeedsInterrupt());
  queue_->Push(0, 0);
  EXPECT_TRUE(queue_->NeedsInterrupt());
  queue_->Push(0, 0);
  EXPECT_FALSE(queue_->NeedsInterrupt());
}

TEST_F(QueueTest, TellsOfChainsThatCameBeforeNotificationsWereOnAgain) {
  Create();
  queue_->DisableNotifications();
  EXPECT_EQ(driver_.UsedFlags(), 1);
  EXPECT_FALSE(queue_->EnableNotifications());
  EXPECT_EQ(driver_.UsedFlags(), 0);
  driver_.Post({{kData, 1}});
  EXPECT_TRUE(queue_->EnableNotifications());
  EXPECT_FALSE(queue_->EnableNotifications(1));  // that one was seen
}

TEST_F(QueueTest, MovesTheAvailableEventBehindWhatWasSeen) {
  Create(true, true);
  driver_.Post({{kData, 1}});
  ASSERT_TRUE(Pop());
  queue_->Unpop();
  EXPECT_FALSE(queue_->EnableNotifications(1));
  EXPECT_EQ(driver_.AvailableEvent(), 1);
  ASSERT_TRUE(Pop());
  EXPECT_EQ(chain_.head, 0);
}

class PrivateQueueTest : public QueueTest {
 protected:
  void SetUp() override {
    ram_.memory().ShowOnly(&pages_);
    const MemoryUse use = ram_.memory().Use();
    Create();
  }
  void TearDown() override {
    queue_.reset();
    EXPECT_EQ(pages_.users(), 0);
    EXPECT_TRUE(pages_.Held().empty());
    ram_.memory().ShowOnly(nullptr);
  }
  std::vector<uint8_t> Rings() {
    const MemoryUse use = ram_.memory().Use();
    return ram_.Get(kRings, HiddenPage::kSize);
  }

  HiddenPage pages_;
};

TEST_F(PrivateQueueTest, IsNotTouchedOnceItsRingsArePrivate) {
  {
    const MemoryUse use = ram_.memory().Use();
    driver_.Post({{kData, 4, true}});
    driver_.Post({{kData + 16, 4, true}});
  }
  ASSERT_TRUE(Pop());
  const std::vector<uint8_t> before = Rings();
  pages_.Hide(kRings);

  queue_->Push(chain_.head, 4);
  EXPECT_FALSE(queue_->NeedsInterrupt());
  queue_->DisableNotifications();
  EXPECT_TRUE(queue_->EnableNotifications()) << "the next Pop says what is wrong";
  ExpectRefused("descriptor table");

  // The device needs a reset, whatever the guest does with the page afterwards.
  pages_.Show();
  EXPECT_EQ(Rings(), before);
  ExpectRefused("descriptor table");
}

TEST_F(PrivateQueueTest, GoesOnWhenOtherMemoryHasBecomePrivate) {
  {
    const MemoryUse use = ram_.memory().Use();
    driver_.Post({{kData, 4, true}});
    driver_.Post({{0xa000, 4, true}});
  }
  pages_.Hide(0xa000);
  ASSERT_TRUE(Pop());
  queue_->Push(chain_.head, 4);
  EXPECT_TRUE(queue_->NeedsInterrupt());
  EXPECT_FALSE(queue_->Pop(chain_).has_value()) << "a buffer in private memory";
}

using Bytes = std::map<uint64_t, uint64_t>;

TEST_F(PrivateQueueTest, KeepsTheBuffersOfAChainFromPopToPush) {
  {
    const MemoryUse use = ram_.memory().Use();
    driver_.Post({{kData, 4}, {kData + 16, 8, true}});
    driver_.Post({{kData + 64, 4, true}});
  }
  ASSERT_TRUE(Pop());
  const uint16_t first = chain_.head;
  EXPECT_EQ(pages_.Held(), (Bytes{{kData, 4}, {kData + 16, 8}}));
  ASSERT_TRUE(Pop());
  EXPECT_EQ(pages_.Held().size(), 3u);

  queue_->Push(first, 8);
  EXPECT_EQ(pages_.Held(), (Bytes{{kData + 64, 4}}));
  queue_->Push(chain_.head, 4);
  EXPECT_TRUE(pages_.Held().empty());
}

TEST_F(PrivateQueueTest, KeepsNothingThatWasNotUsed) {
  {
    const MemoryUse use = ram_.memory().Use();
    driver_.Post({{kData, 4}});
    driver_.Post({{kData + 64, 4, true}});
  }
  ASSERT_TRUE(Pop());
  ASSERT_TRUE(Pop());
  queue_->Unpop();
  EXPECT_EQ(pages_.Held(), (Bytes{{kData, 4}}));
  queue_->Unpop();
  EXPECT_TRUE(pages_.Held().empty());

  ASSERT_TRUE(Pop());
  queue_->Abandon();
  EXPECT_TRUE(pages_.Held().empty());
  ASSERT_TRUE(Pop());
  pages_.Hide(kRings);
  queue_->Push(chain_.head, 4);  // goes nowhere
  EXPECT_TRUE(pages_.Held().empty());
  pages_.Show();
}

TEST_F(PrivateQueueTest, KeepsNothingWhenItIsGone) {
  {
    const MemoryUse use = ram_.memory().Use();
    driver_.Post({{kData, 4}});
  }
  ASSERT_TRUE(Pop());
  ASSERT_FALSE(pages_.Held().empty());
  queue_.reset();
  EXPECT_TRUE(pages_.Held().empty());
}

}  // namespace
}  // namespace berth::vmm
