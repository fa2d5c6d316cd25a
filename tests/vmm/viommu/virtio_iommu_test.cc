#include "vmm/viommu/virtio_iommu.h"

#include <gtest/gtest.h>
#include <sys/eventfd.h>

#include <array>
#include <cstring>
#include <vector>

#include "tests/fakes/virtio_driver.h"
#include "vmm/dma/fake_iommu.h"
#include "vmm/viommu/vfio_endpoint.h"
#include "vmm/virtio/event_fd.h"

namespace berth::vmm {
namespace {

// Requests as a driver writes them, field by field.
class Request {
 public:
  explicit Request(uint8_t type) : bytes_{type, 0, 0, 0} {}
  Request& U32(uint32_t value) { return Put(&value, 4); }
  Request& U64(uint64_t value) { return Put(&value, 8); }
  Request& Zeros(size_t count) {
    bytes_.resize(bytes_.size() + count, 0);
    return *this;
  }
  std::vector<uint8_t>& bytes() { return bytes_; }

 private:
  Request& Put(const void* value, size_t size) {
    const auto* from = static_cast<const uint8_t*>(value);
    bytes_.insert(bytes_.end(), from, from + size);
    return *this;
  }
  std::vector<uint8_t> bytes_;
};

class VirtioIommuTest : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(domains_.AddEndpoint(24, std::make_shared<VfioEndpoint>(engine_, ram_.memory())).ok());
  }
  // The status of the answer.
  int Send(Request request, size_t room = 4) {
    answer_.assign(room, 0xee);
    ByteList readable, writable;
    readable.Append(request.bytes());
    writable.Append(answer_);
    Result<uint32_t> written = iommu_.Handle(readable, writable);
    if (!written.has_value()) return -1;
    EXPECT_EQ(*written, room);
    return answer_[room - 4];
  }
  static Request Attach(uint32_t domain, uint32_t endpoint, uint32_t flags = 0) {
    return Request(1).U32(domain).U32(endpoint).U32(flags).Zeros(4);
  }
  static Request Map(uint32_t domain, uint64_t first, uint64_t last, uint64_t gpa, uint32_t flags = 3) {
    return Request(3).U32(domain).U64(first).U64(last).U64(gpa).U32(flags);
  }
  static Request Unmap(uint32_t domain, uint64_t first, uint64_t last) {
    return Request(4).U32(domain).U64(first).U64(last).Zeros(4);
  }

  GuestRam ram_{{{0, 0x10000}}};
  FakeIommu host_;
  DmaEngine engine_{host_.MakeBackend()};
  IommuDomains domains_;
  std::unique_ptr<EventLoop> loop_ = *EventLoop::Create();
  int told_ = 0;
  VirtioIommu iommu_{domains_, (uint64_t{1} << 39) - 1, *loop_, [this](const IommuFault&) { ++told_; }};
  std::vector<uint8_t> answer_;
};

TEST_F(VirtioIommuTest, TellsItsLimits) {
  std::array<uint8_t, 44> config;
  iommu_.ReadConfig(0, config);
  uint64_t pages, last;
  std::memcpy(&pages, &config[0], 8);
  std::memcpy(&last, &config[16], 8);
  EXPECT_EQ(pages, ~uint64_t{0xfff});
  EXPECT_EQ(last, (uint64_t{1} << 39) - 1);
  EXPECT_EQ(config[32] | config[33] << 8, 512);  // probe size
  EXPECT_EQ(config[36], 1);                      // bypass
  EXPECT_EQ(config[40], 0);
  const uint8_t off = 0;
  iommu_.WriteConfig(36, {&off, 1});
  EXPECT_FALSE(domains_.bypass());
  const uint8_t odd = 7;
  iommu_.WriteConfig(36, {&odd, 1});
  EXPECT_FALSE(domains_.bypass());
}

TEST_F(VirtioIommuTest, AttachesMapsAndUnmaps) {
  EXPECT_EQ(Send(Attach(3, 24)), 0);
  EXPECT_EQ(Send(Map(3, 0x7000000, 0x7001fff, 0x4000)), 0);
  EXPECT_EQ(host_.Translate(0x7001010, true), ram_.memory().Span(Gpa{0x5010}, 1)->data());
  EXPECT_EQ(Send(Map(3, 0x7001000, 0x7001fff, 0)), 4);  // overlaps
  EXPECT_EQ(Send(Unmap(3, 0x7000000, 0x7000fff)), 5);   // cuts
  EXPECT_EQ(Send(Unmap(3, 0x6000000, 0x7ffffff)), 0);   // with holes
  EXPECT_EQ(host_.Translate(0x7001010, true), nullptr);
  EXPECT_EQ(Send(Unmap(3, 0x6000000, 0x7ffffff)), 0);  // nothing is there
  EXPECT_EQ(Send(Request(2).U32(3).U32(24).Zeros(8)), 0);
  EXPECT_EQ(Send(Map(3, 0, 0xfff, 0)), 6);  // the domain went with its last endpoint
}

TEST_F(VirtioIommuTest, AnswersWrongRequests) {
  EXPECT_EQ(Send(Attach(3, 25)), 6);
  EXPECT_EQ(Send(Attach(0x10000, 24)), 5);
  EXPECT_EQ(Send(Attach(3, 24, 2)), 4);
  EXPECT_EQ(Send(Attach(3, 24)), 0);
  EXPECT_EQ(Send(Attach(3, 24, 1)), 4);                   // exists, not as a bypass domain
  EXPECT_EQ(Send(Map(3, 0x800, 0x17ff, 0)), 5);           // no page
  EXPECT_EQ(Send(Map(3, 0x1000, 0xfff, 0)), 4);           // empty
  EXPECT_EQ(Send(Map(3, 0x1000, 0x1fff, 0, 4)), 4);       // unknown flag
  EXPECT_EQ(Send(Map(3, 0x1000, 0x1fff, 0x20000)), 5);    // no RAM
  EXPECT_EQ(Send(Map(3, 0xfee00000, 0xfee00fff, 0)), 4);  // interrupts
  EXPECT_EQ(Send(Map(3, 0, UINT64_MAX, 0)), 5);           // too wide
  EXPECT_EQ(Send(Request(99).Zeros(16)), 2);
  EXPECT_EQ(Send(Request(3).U32(3)), 4);  // cut short
  EXPECT_EQ(Send(Attach(3, 24), 2), -1);  // no room for the status
  EXPECT_TRUE(host_.mappings().empty());
}

TEST_F(VirtioIommuTest, TellsTheRangeOfInterrupts) {
  EXPECT_EQ(Send(Request(5).U32(24).Zeros(64), 516), 0);
  EXPECT_EQ(answer_[0], 1);   // reserved memory
  EXPECT_EQ(answer_[2], 20);  // length
  EXPECT_EQ(answer_[4], 1);   // of interrupts
  uint64_t first, last;
  std::memcpy(&first, &answer_[8], 8);
  std::memcpy(&last, &answer_[16], 8);
  EXPECT_EQ(first, 0xfee00000u);
  EXPECT_EQ(last, 0xfeefffffu);
  // What the host cannot map: behind its 48 bits. The range of interrupts is not told twice.
  EXPECT_EQ(answer_[24], 1);
  EXPECT_EQ(answer_[28], 0);  // reserved
  std::memcpy(&first, &answer_[32], 8);
  std::memcpy(&last, &answer_[40], 8);
  EXPECT_EQ(first, uint64_t{1} << 48);
  EXPECT_EQ(last, UINT64_MAX);
  EXPECT_EQ(answer_[48], 0);  // no more
  EXPECT_EQ(Send(Request(5).U32(99).Zeros(64), 516), 6);
  EXPECT_EQ(Send(Request(5).U32(24).Zeros(64), 40), -1);
}

TEST_F(VirtioIommuTest, GivesRightsOneByOne) {
  ASSERT_EQ(Send(Attach(3, 24)), 0);
  ASSERT_EQ(Send(Map(3, 0x1000, 0x1fff, 0, 1)), 0);
  ASSERT_EQ(Send(Map(3, 0x2000, 0x2fff, 0, 2)), 0);
  ASSERT_EQ(Send(Map(3, 0x3000, 0x3fff, 0, 0)), 0);
  EXPECT_NE(host_.Translate(0x1000, false), nullptr);
  EXPECT_EQ(host_.Translate(0x1000, true), nullptr);
  EXPECT_EQ(host_.Translate(0x2000, false), nullptr);
  EXPECT_NE(host_.Translate(0x2000, true), nullptr);
  EXPECT_EQ(host_.Translate(0x3000, false), nullptr);
  EXPECT_EQ(Send(Unmap(3, 0x1000, 0x3fff)), 0);
  EXPECT_TRUE(host_.mappings().empty());
}

// With its queues in guest memory.
class ServedVirtioIommuTest : public VirtioIommuTest {
 protected:
  class Interrupt final : public VirtioInterrupt {
   public:
    void SignalQueue(uint16_t queue) override { signalled.push_back(queue); }
    void SignalConfig() override {}
    void Fail(const Status& reason) override { failed = reason; }
    std::vector<uint16_t> signalled;
    Status failed;
  };
  void SetUp() override {
    VirtioIommuTest::SetUp();
    VirtioActivation activation;
    activation.memory = &ram_.memory();
    activation.interrupt = &interrupt_;
    for (int i = 0; i < 2; ++i) {
      kicks_[i].reset(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
      auto ring = SplitQueue::Create(ram_.memory(), (i == 0 ? requests_ : events_).Config());
      activation.queues.push_back({std::make_unique<SplitQueue>(*std::move(ring)), kicks_[i].get()});
    }
    ASSERT_TRUE(iommu_.Activate(std::move(activation)).ok());
  }
  void RunLoop() {
    loop_->Stop();
    ASSERT_TRUE(loop_->Run().ok());
  }
  void Kick(int queue) {
    SignalEvent(kicks_[queue].get());
    RunLoop();
  }

  DriverQueue requests_{ram_, 0x1000, 16};
  DriverQueue events_{ram_, 0x2000, 8};
  UniqueFd kicks_[2];
  Interrupt interrupt_;
};

TEST_F(ServedVirtioIommuTest, AnswersRequestsOfTheQueue) {
  ram_.Put(0x8000, Attach(3, 24).bytes());
  requests_.Post({{0x8000, 20}, {0x9000, 4, true}});
  ram_.Put(0x9000, {0xee});
  Kick(0);
  EXPECT_EQ(ram_.Get(0x9000, 1), (std::vector<uint8_t>{0}));
  EXPECT_EQ(requests_.Used(0), (DriverQueue::UsedElement{0, 4}));
  EXPECT_EQ(interrupt_.signalled, (std::vector<uint16_t>{0}));
  EXPECT_EQ(domains_.domains(), 1u);
  iommu_.Reset();
  EXPECT_EQ(domains_.domains(), 0u);
}

TEST_F(ServedVirtioIommuTest, TellsTheDriverOfFaultsOnceItHasBuffers) {
  iommu_.Report({24, 0x123456, true, IommuFault::Reason::kMapping});
  iommu_.Report({24, 0x5000, false, IommuFault::Reason::kDomain});
  RunLoop();
  EXPECT_EQ(events_.UsedIndex(), 0);
  events_.Post({{0xa000, 24, true}});
  events_.Post({{0xb000, 24, true}});
  Kick(1);
  ASSERT_EQ(events_.UsedIndex(), 2);
  EXPECT_EQ(events_.Used(0).written, 24u);
  EXPECT_EQ(ram_.GetObject<uint8_t>(0xa000), 2);  // mapping
  EXPECT_EQ(ram_.GetObject<uint32_t>(0xa004), 0x102u);
  EXPECT_EQ(ram_.GetObject<uint32_t>(0xa008), 24u);
  EXPECT_EQ(ram_.GetObject<uint64_t>(0xa010), 0x123456u);
  EXPECT_EQ(ram_.GetObject<uint8_t>(0xb000), 1);  // domain
  EXPECT_EQ(ram_.GetObject<uint32_t>(0xb004), 0x101u);
  EXPECT_EQ(interrupt_.signalled, (std::vector<uint16_t>{1}));
}

TEST_F(ServedVirtioIommuTest, AFailedRequestQueueEndsTheOtherToo) {
  events_.Post({{0xa000, 24, true}});
  requests_.Post({{0x8000, 16, false}});  // no room for the status
  Kick(0);
  EXPECT_EQ(interrupt_.failed.code(), StatusCode::kInvalidArgument);
  iommu_.Report({24, 0x1000, true, IommuFault::Reason::kMapping});
  Kick(1);
  EXPECT_EQ(events_.UsedIndex(), 0);
}

TEST_F(ServedVirtioIommuTest, GoesOnAfterASnapshot) {
  ram_.Put(0x8000, Attach(3, 24).bytes());
  requests_.Post({{0x8000, 20, false}, {0x9000, 4, true}});
  Kick(0);
  iommu_.Report({24, 0x123000, true, IommuFault::Reason::kMapping});
  Result<VirtioActivation> suspended = iommu_.Suspend();
  ASSERT_TRUE(suspended.has_value());
  iommu_.Report({24, 0x5000, false, IommuFault::Reason::kDomain});  // a device that is not suspended yet
  ASSERT_TRUE(domains_.Map(3, {0x7000000, 0x7000fff, 0x4000, true, true}).ok()) << "the domains stay";
  events_.Post({{0xa000, 24, true}});
  events_.Post({{0xb000, 24, true}});
  events_.Post({{0xc000, 24, true}});
  Kick(1);
  EXPECT_EQ(events_.UsedIndex(), 0) << "nothing is touched meanwhile";
  StateWriter out;
  iommu_.Save(out);
  const std::vector<uint8_t> saved = std::move(out).Take();

  VirtioIommu other(domains_, (uint64_t{1} << 39) - 1, *loop_);
  StateReader in(saved);
  other.Load(in);
  ASSERT_EQ(in.Finish(), OkStatus());
  other.Report({24, 0x6000, false, IommuFault::Reason::kMapping});  // of a device that goes on before it
  ASSERT_EQ(other.Activate(*std::move(suspended)), OkStatus());
  Kick(1);

  ASSERT_EQ(events_.UsedIndex(), 3);
  EXPECT_EQ(ram_.GetObject<uint64_t>(0xa010), 0x123000u);
  EXPECT_EQ(ram_.GetObject<uint64_t>(0xb010), 0x5000u);
  EXPECT_EQ(ram_.GetObject<uint64_t>(0xc010), 0x6000u);
  EXPECT_EQ(domains_.domains(), 1u);
  ram_.Put(0x8000, Unmap(3, 0x7000000, 0x7000fff).bytes());
  requests_.Post({{0x8000, 28, false}, {0x9000, 4, true}});
  Kick(0);
  EXPECT_EQ(requests_.UsedIndex(), 2);
  EXPECT_TRUE(domains_.MappingsIn(3, 0, UINT64_MAX).empty());
}

TEST_F(ServedVirtioIommuTest, CountsFaultsThatNobodyTakes) {
  for (int i = 0; i < 100; ++i) iommu_.Report({24, 0, true, IommuFault::Reason::kMapping});
  RunLoop();
  VirtioDevice::CounterList counters = iommu_.Counters();
  EXPECT_EQ(counters[1], (std::pair<std::string_view, uint64_t>{"faults", 100}));
  EXPECT_EQ(counters[2], (std::pair<std::string_view, uint64_t>{"faults_not_told", 36}));
  EXPECT_EQ(told_, 16);
}

}  // namespace
}  // namespace berth::vmm
