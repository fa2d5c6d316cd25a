#include "vmm/viommu/virtio_endpoint.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <optional>
#include <random>

#include "tests/fakes/virtio_driver.h"
#include "vmm/virtio/queue.h"

namespace berth::vmm {
namespace {

constexpr uint64_t kPage = 4096;
constexpr uint32_t kEndpoint = 0x10008;
constexpr uint32_t kDomain = 5;
constexpr uint64_t kPages = 64;

// An emulated device that is attached to a domain, with nothing mapped.
class VirtioEndpointTest : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(domains_.AddEndpoint(kEndpoint, endpoint_).ok());
    endpoint_->SetId(kEndpoint);
    ASSERT_TRUE(domains_.Attach(kDomain, kEndpoint, false).ok());
  }
  void Map(uint64_t address, uint64_t pages, uint64_t gpa, bool read = true, bool write = true) {
    ASSERT_TRUE(domains_.Map(kDomain, {address, address + pages * kPage - 1, gpa, read, write}).ok());
  }
  void Unmap(uint64_t address, uint64_t pages) {
    ASSERT_TRUE(domains_.Unmap(kDomain, address, address + pages * kPage - 1).ok());
  }
  StatusCode Translated(uint64_t address, uint64_t size, bool write) {
    std::vector<std::span<uint8_t>> pieces;
    return endpoint_->Translate(address, size, write, pieces).code();
  }

  GuestRam ram_{{{0, kPages* kPage}}};
  IommuDomains domains_;
  std::vector<IommuFault> faults_;
  std::shared_ptr<VirtioEndpoint> endpoint_ = std::make_shared<VirtioEndpoint>(
      domains_, ram_.memory(), [this](const IommuFault& fault) { faults_.push_back(fault); });
};

TEST_F(VirtioEndpointTest, TranslatesNothingBeforeTheDeviceIsOnTheBus) {
  VirtioEndpoint early(domains_, ram_.memory(), [](const IommuFault&) {});
  std::vector<std::span<uint8_t>> pieces;
  EXPECT_EQ(early.Translate(0, 1, false, pieces).code(), StatusCode::kNotFound);
}

TEST_F(VirtioEndpointTest, ReportsWhatIsNotMappedAndWhatIsNotForThisAccess) {
  Map(0x100000, 1, 0, true, false);
  EXPECT_EQ(Translated(0x100000, kPage, false), StatusCode::kOk);
  EXPECT_EQ(Translated(0x100010, 8, true), StatusCode::kPermissionDenied);
  EXPECT_EQ(Translated(0x100ff8, 16, false), StatusCode::kNotFound);  // its second half
  EXPECT_EQ(Translated(UINT64_MAX, 2, false), StatusCode::kOutOfRange);
  domains_.SetBypass(false);
  ASSERT_TRUE(domains_.Detach(kDomain, kEndpoint).ok());
  EXPECT_EQ(Translated(0, 1, false), StatusCode::kFailedPrecondition);
  domains_.SetBypass(true);
  EXPECT_EQ(Translated(0, 1, false), StatusCode::kOk);
  EXPECT_EQ(Translated(UINT64_MAX, 1, false), StatusCode::kOutOfRange);
  EXPECT_EQ(faults_, (std::vector<IommuFault>{
                         {kEndpoint, 0x100010, true, IommuFault::Reason::kMapping},
                         {kEndpoint, 0x101000, false, IommuFault::Reason::kMapping},
                         {kEndpoint, 0, false, IommuFault::Reason::kDomain},
                     }));
}

// The queue's rings are one range of I/O addresses on pages that lie anywhere, as Linux maps them.
TEST_F(VirtioEndpointTest, AQueueWorksOnScatteredPagesAndMovesWithThem) {
  constexpr uint16_t kSize = 256;
  constexpr uint64_t kIova = 0x7f000, kData = 0x40000;
  GuestRam flat{{{0, 0x10000}}};
  DriverQueue layout(flat, 0, kSize);
  const uint64_t pages = (layout.indirect() + kPage - 1) / kPage;
  ASSERT_EQ(pages, 2u);
  std::vector<uint64_t> place = {9, 3};
  auto map_rings = [&] {
    for (uint64_t i = 0; i < pages; ++i) Map(kIova + i * kPage, 1, place[i] * kPage);
  };
  map_rings();
  Map(kData, 1, 20 * kPage);
  QueueConfig config{.size = kSize,
                     .descriptors = Gpa{kIova + layout.descriptors()},
                     .driver = Gpa{kIova + layout.available()},
                     .device = Gpa{kIova + layout.used()},
                     .translator = endpoint_.get()};
  SplitQueue queue = *SplitQueue::Create(ram_.memory(), config);
  auto at = [&](uint64_t offset) { return place[offset / kPage] * kPage + offset % kPage; };
  DescriptorChain chain;
  uint16_t offered = 0;
  auto offer = [&](uint64_t address, uint32_t length) {
    const uint16_t index = offered % kSize;
    ram_.PutObject<uint64_t>(at(16 * index), address);
    ram_.PutObject<uint64_t>(at(16 * index + 8), uint64_t{DriverQueue::kWrite} << 32 | length);
    ram_.PutObject<uint16_t>(at(layout.available() + 4 + 2 * index), index);
    ram_.PutObject<uint16_t>(at(layout.available() + 2), ++offered);
  };
  for (int i = 0; i < 600; ++i) {
    if (i == 300) {  // the driver moves its rings
      for (uint64_t page = 0; page < pages; ++page) {
        const std::vector<uint8_t> content = ram_.Get(place[page] * kPage, kPage);
        Unmap(kIova + page * kPage, 1);
        ram_.Put(place[page] * kPage, std::vector<uint8_t>(kPage, 0xff));
        ram_.Put((place[page] + 30) * kPage, content);
        place[page] += 30;
      }
      map_rings();
    }
    offer(kData + 0x100, 4);
    Result<bool> popped = queue.Pop(chain);
    ASSERT_TRUE(popped.has_value() && *popped) << i << popped.status().ToString();
    const uint8_t byte = static_cast<uint8_t>(i);
    ASSERT_EQ(chain.writable.CopyIn(0, {&byte, 1}), 1u);
    queue.Push(chain.head, 77);
    ASSERT_EQ(ram_.GetObject<uint8_t>(20 * kPage + 0x100), byte);
    const uint64_t element = layout.used() + 4 + 8 * (i % kSize);
    ASSERT_EQ(ram_.GetObject<uint32_t>(at(element)), static_cast<uint32_t>(i % kSize));
    ASSERT_EQ(ram_.GetObject<uint32_t>(at(element + 4)), 77u);
    ASSERT_EQ(ram_.GetObject<uint16_t>(at(layout.used() + 2)), static_cast<uint16_t>(i + 1));
  }
  // A buffer, then the rings, are unmapped: the queue says so, and nothing is written.
  Unmap(kData, 1);
  offer(kData, 4);
  EXPECT_EQ(queue.Pop(chain).status().code(), StatusCode::kNotFound);
  Unmap(kIova, pages);
  const std::vector<uint8_t> before = ram_.Get(0, kPages * kPage);
  queue.Push(0, 1);
  EXPECT_FALSE(queue.NeedsInterrupt());
  queue.DisableNotifications();
  EXPECT_TRUE(queue.EnableNotifications());
  EXPECT_EQ(queue.Pop(chain).status().code(), StatusCode::kNotFound);
  EXPECT_EQ(ram_.Get(0, kPages * kPage), before);
}

// Against a model of pages: what is translated is what the model has, byte by byte, or a fault.
TEST_F(VirtioEndpointTest, TranslatesWhatAModelOfPagesSays) {
  struct Page {
    uint64_t gpa;
    bool read, write;
  };
  std::mt19937 random(11);
  std::map<uint64_t, Page> model;
  const uint8_t* base = ram_.memory().Span(Gpa{0}, 1)->data();
  for (int step = 0; step < 4000; ++step) {
    SCOPED_TRACE(step);
    const uint64_t page = random() % 24;
    if (random() % 3 == 0) {
      const bool read = random() % 4 != 0, write = random() % 4 != 0;
      const uint64_t gpa = random() % kPages * kPage;
      const bool fresh = model.try_emplace(page, Page{gpa, read, write}).second;
      ASSERT_EQ(domains_.Map(kDomain, {page * kPage, page * kPage + kPage - 1, gpa, read, write}).ok(),
                fresh);
    } else if (random() % 2 == 0) {
      Unmap(page * kPage, 1);
      model.erase(page);
    }
    const uint64_t address = random() % (24 * kPage), size = 1 + random() % (3 * kPage);
    const bool write = random() % 2 == 0;
    bool allowed = true;
    for (uint64_t at = address / kPage; at <= (address + size - 1) / kPage; ++at) {
      auto found = model.find(at);
      allowed = allowed && found != model.end() && (write ? found->second.write : found->second.read);
    }
    std::vector<std::span<uint8_t>> pieces;
    const size_t faults = faults_.size();
    ASSERT_EQ(endpoint_->Translate(address, size, write, pieces).ok(), allowed);
    ASSERT_EQ(faults_.size(), faults + (allowed ? 0 : 1));
    if (!allowed) continue;
    uint64_t at = address;
    for (const std::span<uint8_t> piece : pieces) {
      for (uint64_t i = 0; i < piece.size(); i += std::min<uint64_t>(97, piece.size())) {
        const Page& expected = model.at((at + i) / kPage);
        ASSERT_EQ(static_cast<uint64_t>(piece.data() + i - base), expected.gpa + (at + i) % kPage);
      }
      at += piece.size();
    }
    ASSERT_EQ(at, address + size);
  }
}

}  // namespace
}  // namespace berth::vmm
