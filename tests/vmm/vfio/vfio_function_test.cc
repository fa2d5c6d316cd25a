#include "vmm/vfio/vfio_function.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <cstring>

#include "tests/fakes/fake_interrupts.h"
#include "vmm/bus/pci_root.h"
#include "vmm/kvm/fake_kvm.h"
#include "vmm/vfio/fake_vfio.h"

namespace berth::vmm {
namespace {

constexpr PciWindow kLow{0xc0000000, 0x28000000};
constexpr PciWindow kHigh{0x400000000, 0x100000000};
constexpr uint64_t kSlot1 = 1 << 15;  // ECAM

class VfioFunctionTest : public testing::Test {
 protected:
  void Make(FakeVfioDevice::Options options) {
    device_ = &host_.Add(options);
    auto opened = host_.Open(options.address);
    ASSERT_TRUE(opened.has_value());
    VfioParts parts{vm_.get(), &interrupts_, slots_.get(), loop_.get(), host_.dma()};
    auto function = VfioFunction::Create(*opened, "dev0", parts);
    ASSERT_TRUE(function.has_value()) << function.status().ToString();
    function_ = *function;
    ASSERT_TRUE(bars_.Place(function_->config()).ok());
    ASSERT_EQ(*segment_->Add(function_, "dev0"), 1u);
    auto connect = [this](std::function<void()> on_end) {
      on_end_ = std::move(on_end);
      return std::make_unique<Line>(level_);
    };
    ASSERT_TRUE(
        function_->Start(connect, {[this](const auto&) { ++errors_; }, [this](const auto&) { ++wanted_; }})
            .ok());
  }
  class Line : public IrqLine {
   public:
    explicit Line(bool& level) : level_(level) {}
    void SetLevel(bool high) override { level_ = high; }

   private:
    bool& level_;
  };

  template <class T>
  T ReadConfig(uint32_t offset) {
    T value{};
    segment_->Read(kSlot1 + offset, {reinterpret_cast<uint8_t*>(&value), sizeof value});
    return value;
  }
  template <class T>
  void WriteConfig(uint32_t offset, T value) {
    segment_->Write(kSlot1 + offset, {reinterpret_cast<const uint8_t*>(&value), sizeof value});
  }
  template <class T>
  void WriteMemory(uint64_t address, T value) {
    EXPECT_TRUE(mmio_.Write(address, {reinterpret_cast<const uint8_t*>(&value), sizeof value}));
  }
  template <class T>
  T ReadMemory(uint64_t address) {
    T value{};
    mmio_.Read(address, {reinterpret_cast<uint8_t*>(&value), sizeof value});
    return value;
  }
  uint32_t Capability(uint8_t id) {
    for (uint32_t at = ReadConfig<uint8_t>(0x34); at != 0; at = ReadConfig<uint8_t>(at + 1)) {
      if (ReadConfig<uint8_t>(at) == id) return at;
    }
    return 0;
  }
  void RunLoop() {
    loop_->Stop();
    ASSERT_TRUE(loop_->Run().ok());
  }
  void ProgramMsix(uint64_t table, uint32_t vector, uint32_t data, bool masked) {
    WriteMemory<uint32_t>(table + 16 * vector, 0xfee01000);
    WriteMemory<uint32_t>(table + 16 * vector + 4, 0);
    WriteMemory<uint32_t>(table + 16 * vector + 8, data);
    WriteMemory<uint32_t>(table + 16 * vector + 12, masked ? 1 : 0);
  }

  FakeKvm kvm_;
  std::unique_ptr<KvmVm> vm_ = *kvm_.CreateVm();
  std::unique_ptr<MemorySlots> slots_ = std::make_unique<MemorySlots>(*vm_, 32);
  std::unique_ptr<EventLoop> loop_ = *EventLoop::Create();
  FakeMsiController interrupts_;
  FakeVfioHost host_;
  FakeVfioDevice* device_ = nullptr;
  Bus mmio_, ports_;
  BarAllocator bars_{kLow, kHigh, {0x1000, 0xf000}};
  std::shared_ptr<VfioFunction> function_;
  bool level_ = false;
  std::function<void()> on_end_;
  int errors_ = 0, wanted_ = 0;
  std::shared_ptr<PciSegment> segment_ = std::make_shared<PciSegment>(
      0, mmio_, std::vector<PciWindow>{kLow, kHigh}, PciSegment::IoSpace{&ports_, {0x1000, 0xf000}});
};

TEST(PagesWithout, LeavesOutEveryPageThatIsTrapped) {
  EXPECT_EQ(PagesWithout({{0, 0x8000}}, {{0x2000, 0x30}, {0x5ff8, 0x10}}),
            (std::vector<VfioArea>{{0, 0x2000}, {0x3000, 0x2000}, {0x7000, 0x1000}}));
  EXPECT_EQ(PagesWithout({{0, 0x1000}}, {{0, 16}}), (std::vector<VfioArea>{}));
  EXPECT_EQ(PagesWithout({{0x800, 0x2000}, {0x4000, 0x1000}}, {}),
            (std::vector<VfioArea>{{0x1000, 0x1000}, {0x4000, 0x1000}}));
}

TEST_F(VfioFunctionTest, MapsBarsWhileTheGuestDecodesThem) {
  Make({});  // BAR 0: 16 KiB; BAR 3: table in its first page, pending bits in its third
  EXPECT_TRUE(kvm_.vm().slots.empty());
  WriteConfig<uint16_t>(0x04, 6);

  FakeVm vm = kvm_.vm();
  ASSERT_EQ(vm.slots.size(), 3u);
  EXPECT_EQ(Raw(vm.slots.at(0).gpa), 0xc0000000u);
  EXPECT_EQ(vm.slots.at(0).size, 0x4000u);
  EXPECT_EQ(vm.slots.at(0).host, device_->bar_memory(0));
  EXPECT_EQ(Raw(vm.slots.at(1).gpa), 0xc0005000u);
  EXPECT_EQ(Raw(vm.slots.at(2).gpa), 0xc0007000u);
  EXPECT_EQ(function_->mapped_bytes(), 0x6000u);
  EXPECT_EQ(function_->peer_bytes(), 0x6000u);
  EXPECT_EQ(host_.iommu().Translate(0xc0005010, true), device_->bar_memory(3) + 0x1010);

  WriteConfig<uint16_t>(0x04, 4);
  EXPECT_TRUE(kvm_.vm().slots.empty());
  EXPECT_TRUE(host_.iommu().mappings().empty());
}

TEST_F(VfioFunctionTest, MovesSlotsAndPeerMappingsTogether) {
  Make({});
  WriteConfig<uint16_t>(0x04, 6);
  WriteConfig<uint32_t>(0x10, 0xc1000000);

  EXPECT_EQ(host_.iommu().Translate(0xc0000000, true), nullptr);
  EXPECT_EQ(host_.iommu().Translate(0xc1003fff, true), device_->bar_memory(0) + 0x3fff);
  bool found = false;
  for (const auto& [number, slot] : kvm_.vm().slots) {
    EXPECT_NE(Raw(slot.gpa), 0xc0000000u);
    found |= Raw(slot.gpa) == 0xc1000000;
  }
  EXPECT_TRUE(found);
  EXPECT_EQ(kvm_.vm().slots.size(), 3u);
  // a place where nothing is decoded
  WriteConfig<uint32_t>(0x10, 0x1000);
  EXPECT_EQ(function_->mapped_bytes(), 0x2000u);
  EXPECT_EQ(function_->peer_bytes(), 0x2000u);
}

TEST_F(VfioFunctionTest, ServesByAccessesWhatCannotBeMapped) {
  Make({});
  kvm_.FailCall(KvmCall::kSetMemorySlot, ENOMEM);
  WriteConfig<uint16_t>(0x04, 6);

  EXPECT_EQ(function_->mapped_bytes(), 0x2000u);
  EXPECT_EQ(function_->peer_bytes(), 0x2000u);
  WriteMemory<uint32_t>(0xc0000010, 0x12345678);
  uint32_t value;
  std::memcpy(&value, device_->bar_memory(0) + 0x10, 4);
  EXPECT_EQ(value, 0x12345678u);
  EXPECT_EQ(ReadMemory<uint32_t>(0xc0000010), 0x12345678u);
  WriteConfig<uint32_t>(0x10, 0xc1000000);  // the next place gets a slot
  EXPECT_EQ(function_->mapped_bytes(), 0x6000u);
}

TEST_F(VfioFunctionTest, KeepsTheGuestsMappingWhenPeersCannotHaveOne) {
  Make({});
  host_.iommu().FailCall(0, ENOMEM);
  WriteConfig<uint16_t>(0x04, 6);
  EXPECT_EQ(function_->mapped_bytes(), 0x6000u);
  EXPECT_EQ(function_->peer_bytes(), 0x2000u);
  WriteConfig<uint16_t>(0x04, 4);
  EXPECT_TRUE(host_.iommu().mappings().empty());
}

TEST_F(VfioFunctionTest, DeliversMsixStraightToTheGuest) {
  Make({});
  WriteConfig<uint16_t>(0x04, 6);
  const uint32_t capability = Capability(0x11);
  const uint64_t table = 0xc0004000;
  WriteConfig<uint16_t>(capability + 2, 0xc000);
  EXPECT_EQ(device_->irqs(),
            (std::map<uint32_t, size_t>{
                {VFIO_PCI_MSIX_IRQ_INDEX, 3}, {VFIO_PCI_ERR_IRQ_INDEX, 1}, {VFIO_PCI_REQ_IRQ_INDEX, 1}}));
  ProgramMsix(table, 1, 0x41, false);
  ProgramMsix(table, 2, 0x42, true);
  WriteConfig<uint16_t>(capability + 2, 0x8000);

  EXPECT_TRUE(device_->Fire(VFIO_PCI_MSIX_IRQ_INDEX, 1));
  EXPECT_TRUE(device_->Fire(VFIO_PCI_MSIX_IRQ_INDEX, 2));
  interrupts_.Drain();
  EXPECT_EQ(interrupts_.Count(0x41), 1u);
  EXPECT_EQ(interrupts_.Count(0x42), 0u);
  EXPECT_EQ(ReadMemory<uint64_t>(0xc0006000), 4u);  // pending
  WriteMemory<uint32_t>(table + 44, 0);
  EXPECT_EQ(interrupts_.Count(0x42), 1u);
  EXPECT_EQ(ReadMemory<uint64_t>(0xc0006000), 0u);

  ProgramMsix(table, 1, 0x51, false);  // moved to another CPU
  device_->Fire(VFIO_PCI_MSIX_IRQ_INDEX, 1);
  interrupts_.Drain();
  EXPECT_EQ(interrupts_.Count(0x51), 1u);
  WriteConfig<uint16_t>(capability + 2, 0);
  EXPECT_FALSE(device_->irqs().contains(VFIO_PCI_MSIX_IRQ_INDEX));
  EXPECT_EQ(interrupts_.routes(), 0u);
}

TEST_F(VfioFunctionTest, AllocatesMoreVectorsWhenTheGuestUsesThem) {
  for (bool resizable : {false, true}) {
    SCOPED_TRACE(resizable);
    Make({.address = resizable ? "0000:21:10.2" : "0000:21:10.0",
          .bars = {{.index = 3, .size = 0x4000}},
          .msix_vectors = 200,
          .msix_resizable = resizable});
    WriteConfig<uint16_t>(0x04, 6);
    const uint64_t table = function_->config().bar(3)->address;
    WriteConfig<uint16_t>(Capability(0x11) + 2, 0x8000);
    EXPECT_EQ(device_->irqs().at(VFIO_PCI_MSIX_IRQ_INDEX), 32u);
    ProgramMsix(table, 0, 0x30, false);
    ProgramMsix(table, 150, 0x31, false);
    EXPECT_GE(device_->irqs().at(VFIO_PCI_MSIX_IRQ_INDEX), 151u);
    device_->Fire(VFIO_PCI_MSIX_IRQ_INDEX, 0);
    device_->Fire(VFIO_PCI_MSIX_IRQ_INDEX, 150);
    interrupts_.Drain();
    EXPECT_EQ(interrupts_.Count(0x30), resizable ? 2u : 1u);
    EXPECT_EQ(interrupts_.Count(0x31), resizable ? 2u : 1u);
    function_.reset();
    segment_ = std::make_shared<PciSegment>(0, mmio_, std::vector<PciWindow>{kLow, kHigh},
                                            PciSegment::IoSpace{&ports_, {0x1000, 0xf000}});
    CHECK(mmio_.Remove(table).ok());
    bars_.Free(table, 0x4000);
  }
}

TEST_F(VfioFunctionTest, DeliversSeveralMsisByTheLowBitsOfTheData) {
  Make({.intx = true, .msi_vectors = 4, .msix_vectors = 0});
  EXPECT_TRUE(device_->irqs().contains(VFIO_PCI_INTX_IRQ_INDEX));
  const uint32_t capability = Capability(0x05);
  EXPECT_EQ(ReadConfig<uint16_t>(capability + 2), 0x0184u);
  WriteConfig<uint32_t>(capability + 4, 0xfee02000);
  WriteConfig<uint32_t>(capability + 8, 0);
  WriteConfig<uint16_t>(capability + 12, 0x4161);
  WriteConfig<uint16_t>(capability + 2, 0x0021);  // on, four vectors

  EXPECT_FALSE(device_->irqs().contains(VFIO_PCI_INTX_IRQ_INDEX));
  EXPECT_EQ(device_->irqs().at(VFIO_PCI_MSI_IRQ_INDEX), 4u);
  device_->Fire(VFIO_PCI_MSI_IRQ_INDEX, 3);
  interrupts_.Drain();
  EXPECT_EQ(interrupts_.delivered(), (std::vector<MsiMessage>{{0xfee02000, 0x4163}}));
  WriteConfig<uint32_t>(capability + 16, 2);  // masks vector 1
  device_->Fire(VFIO_PCI_MSI_IRQ_INDEX, 1);
  interrupts_.Drain();
  EXPECT_EQ(ReadConfig<uint32_t>(capability + 20), 2u);
  EXPECT_EQ(interrupts_.delivered().size(), 1u);
  WriteConfig<uint32_t>(capability + 16, 0);
  EXPECT_EQ(interrupts_.Count(0x4161), 1u);

  WriteConfig<uint16_t>(capability + 2, 0);
  EXPECT_TRUE(device_->irqs().contains(VFIO_PCI_INTX_IRQ_INDEX));
}

TEST_F(VfioFunctionTest, ResamplesIntxAtTheEndOfEachInterrupt) {
  Make({.intx = true, .msix_vectors = 0});
  EXPECT_EQ(ReadConfig<uint8_t>(0x3d), 1u);
  ASSERT_TRUE(device_->Fire(VFIO_PCI_INTX_IRQ_INDEX, 0));
  EXPECT_FALSE(level_);
  RunLoop();
  EXPECT_TRUE(level_);
  EXPECT_TRUE(device_->intx_masked());

  on_end_();
  EXPECT_FALSE(level_);
  EXPECT_FALSE(device_->intx_masked());
  ASSERT_TRUE(device_->Fire(VFIO_PCI_INTX_IRQ_INDEX, 0));  // still wants to be served
  RunLoop();
  EXPECT_TRUE(level_);
}

TEST_F(VfioFunctionTest, TellsOfErrorsAndOfAHostThatWantsTheDeviceBack) {
  Make({});
  device_->Fire(VFIO_PCI_ERR_IRQ_INDEX, 0);
  device_->Fire(VFIO_PCI_REQ_IRQ_INDEX, 0);
  RunLoop();
  EXPECT_EQ(errors_, 1);
  EXPECT_EQ(wanted_, 1);
}

TEST_F(VfioFunctionTest, SurvivesAnInterruptSetUpThatTheKernelRefuses) {
  Make({.intx = true});
  device_->FailCall(VfioCall::kSetTriggers, ENOSPC);
  const uint32_t capability = Capability(0x11);
  WriteConfig<uint16_t>(capability + 2, 0x8000);
  EXPECT_FALSE(device_->irqs().contains(VFIO_PCI_MSIX_IRQ_INDEX));
  WriteConfig<uint16_t>(capability + 2, 0);
  EXPECT_TRUE(device_->irqs().contains(VFIO_PCI_INTX_IRQ_INDEX));
  WriteConfig<uint16_t>(capability + 2, 0x8000);
  EXPECT_TRUE(device_->irqs().contains(VFIO_PCI_MSIX_IRQ_INDEX));
}

TEST_F(VfioFunctionTest, LeavesNothingBehind) {
  Make({.intx = true});
  WriteConfig<uint16_t>(0x04, 6);
  WriteConfig<uint16_t>(Capability(0x11) + 2, 0x8000);
  function_.reset();
  segment_.reset();
  for (uint64_t base : {0xc0000000, 0xc0004000}) EXPECT_TRUE(mmio_.Remove(base).ok());
  EXPECT_TRUE(kvm_.vm().slots.empty());
  EXPECT_TRUE(host_.iommu().mappings().empty());
  EXPECT_TRUE(device_->irqs().empty());
  EXPECT_EQ(interrupts_.routes(), 0u);
}

}  // namespace
}  // namespace berth::vmm
