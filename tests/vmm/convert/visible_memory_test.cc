#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "tests/vmm/convert/fake_guest.h"
#include "vmm/convert/converter.h"
#include "vmm/memory/guest_memory.h"

// The VMM's own view of a confidential guest's memory: shared pages only.
namespace berth::vmm {
namespace {

constexpr uint64_t kPage = 4096;
constexpr uint64_t kBlock = 2 << 20;

class VisibleMemory : public testing::Test {
 protected:
  VisibleMemory() : ram_(16 * kPage), hotplug_(4 * kBlock), guest_(Options()) {
    MemoryRegion region;
    region.size = ram_.size();
    region.host = ram_.data();
    area_.base = Gpa{8 * kBlock};
    area_.size = hotplug_.size();
    area_.host = hotplug_.data();
    area_.plug = std::make_shared<PlugMap>(hotplug_.size(), kBlock);
    memory_ = GuestMemory({region}, {area_});
    memory_.ShowOnly(&guest_.pages);
  }
  static FakeGuest::Options Options() {
    FakeGuest::Options options;
    options.regions = {
        {.base = 0, .size = 16 * kPage},
        {.base = 8 * kBlock, .size = 4 * kBlock, .host_node = {}, .initial = PageState::kUnplugged}};
    options.converter.drain_timeout = std::chrono::milliseconds(0);
    return options;
  }

  std::vector<uint8_t> ram_;
  std::vector<uint8_t> hotplug_;
  FakeGuest guest_;
  MemoryRegion area_;
  GuestMemory memory_;
};

TEST_F(VisibleMemory, IsSharedPagesOnly) {
  uint8_t byte = 1;
  EXPECT_EQ(memory_.Span(Gpa{0}, 1).status().code(), StatusCode::kOutOfRange);
  EXPECT_EQ(memory_.Write(Gpa{0}, {&byte, 1}).code(), StatusCode::kOutOfRange);
  ASSERT_TRUE(guest_.converter.Convert(4 * kPage, 2 * kPage, Direction::kToShared).has_value());

  EXPECT_TRUE(memory_.Write(Gpa{4 * kPage}, {&byte, 1}).ok());
  EXPECT_EQ(ram_[4 * kPage], 1);
  EXPECT_TRUE(memory_.Span(Gpa{4 * kPage}, 2 * kPage).has_value());
  EXPECT_FALSE(memory_.Span(Gpa{4 * kPage}, 2 * kPage + 1).has_value());
  EXPECT_FALSE(memory_.Spans(Gpa{4 * kPage - 1}, 2).has_value());
  EXPECT_FALSE(memory_.PartAt(Gpa{6 * kPage - 8}, 16).has_value());
}

TEST_F(VisibleMemory, OfADumpIsSharedPagesOnly) {
  EXPECT_TRUE(memory_.AccessibleRuns().empty());
  ASSERT_TRUE(guest_.converter.Convert(kPage, kPage, Direction::kToShared).has_value());
  ASSERT_TRUE(guest_.converter.Convert(5 * kPage, 3 * kPage, Direction::kToShared).has_value());

  const auto runs = memory_.AccessibleRuns();

  ASSERT_EQ(runs.size(), 2u);
  EXPECT_EQ(Raw(runs[0].base), kPage);
  EXPECT_EQ(runs[0].host, ram_.data() + kPage);
  EXPECT_EQ(runs[1].size, 3 * kPage);
}

TEST_F(VisibleMemory, StaysWhileItIsUsed) {
  ASSERT_TRUE(guest_.converter.Convert(0, kPage, Direction::kToShared).has_value());
  const uint64_t generation = memory_.generation();
  {
    const MemoryUse use = memory_.Use();
    ASSERT_TRUE(memory_.Span(Gpa{0}, 8).has_value());
    EXPECT_EQ(guest_.converter.Convert(0, kPage, Direction::kToPrivate).status().code(),
              StatusCode::kUnavailable);
  }
  EXPECT_TRUE(guest_.converter.Convert(0, kPage, Direction::kToPrivate).has_value());
  EXPECT_NE(memory_.generation(), generation);
}

TEST_F(VisibleMemory, OfAPluggedBlockBeginsPrivateAndGoesWhateverItsState) {
  Converter& converter = guest_.converter;
  const uint64_t base = Raw(area_.base);
  ASSERT_TRUE(converter.Plug(base, 2 * kBlock).ok());
  area_.plug->Set(0, 2 * kBlock, true);
  EXPECT_FALSE(memory_.Span(Gpa{base}, 1).has_value());
  ASSERT_TRUE(guest_.converter.Convert(base, kPage, Direction::kToShared).has_value());
  EXPECT_TRUE(memory_.Span(Gpa{base}, 1).has_value());

  {
    const MemoryUse use = memory_.Use();
    EXPECT_EQ(converter.Unplug(base, kBlock).code(), StatusCode::kUnavailable);
    EXPECT_TRUE(memory_.Span(Gpa{base}, 1).has_value());
  }
  ASSERT_TRUE(converter.Unplug(base, kBlock).ok());

  EXPECT_FALSE(memory_.Span(Gpa{base}, 1).has_value());
  EXPECT_FALSE(guest_.DmaReaches(base));
  EXPECT_EQ(converter.Plug(base + kBlock, kBlock).code(), StatusCode::kInvalidArgument);
}

TEST(WholeMemory, IsAccessibleWithoutLimits) {
  std::vector<uint8_t> ram(2 * kPage);
  MemoryRegion region;
  region.size = ram.size();
  region.host = ram.data();
  const GuestMemory memory({region});

  const MemoryUse use = memory.Use();

  EXPECT_TRUE(memory.Span(Gpa{0}, 2 * kPage).has_value());
  EXPECT_EQ(memory.AccessibleRuns().size(), 1u);
  EXPECT_EQ(memory.generation(), 0u);
}

}  // namespace
}  // namespace berth::vmm
