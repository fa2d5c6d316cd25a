#include "vmm/machine/pci_topology.h"

#include <gtest/gtest.h>

#include <cstring>

#include "tests/fakes/fake_pci_function.h"
#include "vmm/bus/layout.h"

namespace berth::vmm {
namespace {

constexpr uint64_t kHotplug = 0x3fff000;
constexpr uint64_t kWindow = 0xc0000000;

class PciTopologyTest : public ::testing::Test {
 protected:
  PciTopologyTest() {
    PciTopology::Events events;
    events.notify_guest = [this] { ++notified_; };
    events.on_removed = [this](const std::string& id, std::shared_ptr<PciFunction> function) {
      removed_.emplace_back(id, function.use_count());
    };
    topology_ = *PciTopology::Create({{{kWindow, 0x100000}, {}}, {{kWindow + 0x100000, 0x10000}, {}}}, mmio_,
                                     ports_, kHotplug, events);
  }
  static std::shared_ptr<FakePciFunction> Function(uint64_t bar) {
    auto function = std::make_shared<FakePciFunction>(7);
    function->config().AddBar(0, BarKind::kMemory32, bar, false);
    return function;
  }
  uint32_t Register(uint64_t offset) {
    uint32_t value = 0;
    mmio_.Read(kHotplug + offset, {reinterpret_cast<uint8_t*>(&value), 4});
    return value;
  }
  void SetRegister(uint64_t offset, uint32_t value) {
    mmio_.Write(kHotplug + offset, {reinterpret_cast<const uint8_t*>(&value), 4});
  }
  uint32_t Vendor(uint32_t segment, uint32_t slot) {
    uint32_t value = 0;
    mmio_.Read(layout::kPciConfigBase + (uint64_t{segment} << 20) + (uint64_t{slot} << 15),
               {reinterpret_cast<uint8_t*>(&value), 4});
    return value;
  }

  Bus mmio_, ports_;
  int notified_ = 0;
  std::vector<std::pair<std::string, long>> removed_;
  std::unique_ptr<PciTopology> topology_;
};

TEST_F(PciTopologyTest, EachSegmentHasItsOwnSlotsAndWindow) {
  auto first = Function(4096), second = Function(4096);
  EXPECT_EQ(topology_->Add(first, "a", 0)->ToString(), "0000:00:01.0");
  EXPECT_EQ(topology_->Add(second, "b", 1)->ToString(), "0001:00:00.0");
  EXPECT_EQ(first->config().bar(0)->address, kWindow);
  EXPECT_EQ(second->config().bar(0)->address, kWindow + 0x100000);
  EXPECT_EQ(Vendor(0, 1), 0x10001af4u);
  EXPECT_EQ(Vendor(1, 0), 0x10001af4u);
  EXPECT_EQ(Vendor(1, 1), 0xffffffffu);
  EXPECT_EQ(topology_->Places().size(), 2u);
}

TEST_F(PciTopologyTest, RefusesWhatDoesNotFitAndTakesNothing) {
  ASSERT_TRUE(topology_->Add(Function(4096), "a", 1).has_value());
  EXPECT_EQ(topology_->Add(Function(4096), "a", 0).status().code(), StatusCode::kAlreadyExists);
  EXPECT_EQ(topology_->Add(Function(4096), "b", 2).status().message(),
            "no PCI segment 2, the machine has 0 to 1");
  EXPECT_EQ(topology_->Add(Function(0x20000), "big", 1).status().code(), StatusCode::kResourceExhausted);
  EXPECT_EQ(topology_->Add(Function(4096), "c", 1, 0).status().code(), StatusCode::kAlreadyExists);
  // Their room is free again.
  EXPECT_TRUE(topology_->Add(Function(0x8000), "d", 1).has_value());
}

TEST_F(PciTopologyTest, AFunctionComesAndGoesWithTheGuestsHelp) {
  auto function = Function(0x8000);
  ASSERT_EQ(*topology_->Add(function, "a", 1), (PciPlace{1, 0}));
  ASSERT_TRUE(topology_->Announce("a").ok());
  EXPECT_EQ(notified_, 1);
  SetRegister(12, 1);
  EXPECT_EQ(Register(0), 1u) << "slot 0 was filled";
  const uint16_t decode = 2;
  mmio_.Write(layout::kPciConfigBase + (1 << 20) + 4, {reinterpret_cast<const uint8_t*>(&decode), 2});
  uint8_t answer = 0;
  EXPECT_TRUE(mmio_.Read(kWindow + 0x100000, {&answer, 1}));

  ASSERT_TRUE(topology_->RequestRemoval("a").ok());
  EXPECT_EQ(notified_, 2);
  EXPECT_EQ(Register(4), 1u);
  EXPECT_TRUE(topology_->Find("a")) << "the guest has not answered yet";
  function.reset();
  SetRegister(8, 1);

  EXPECT_EQ(removed_, (std::vector<std::pair<std::string, long>>{{"a", 1}}));
  EXPECT_FALSE(topology_->Find("a"));
  EXPECT_FALSE(mmio_.Read(kWindow + 0x100000, {&answer, 1})) << "its BAR is gone";
  EXPECT_EQ(Vendor(1, 0), 0xffffffffu);
  EXPECT_TRUE(topology_->Add(Function(0x10000), "b", 1).has_value()) << "and the room is free";
}

TEST_F(PciTopologyTest, EjectingAnEmptySlotOrTheHostBridgeDoesNothing) {
  SetRegister(12, 0);
  SetRegister(8, 0xffffffff);
  EXPECT_TRUE(removed_.empty());
  EXPECT_NE(Vendor(0, 0), 0xffffffffu);
  EXPECT_EQ(topology_->RequestRemoval("nobody").code(), StatusCode::kNotFound);
}

}  // namespace
}  // namespace berth::vmm
