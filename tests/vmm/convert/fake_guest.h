#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <utility>
#include <vector>

#include "vmm/convert/converter.h"
#include "vmm/convert/dma_listener.h"
#include "vmm/convert/fake_memory.h"
#include "vmm/dma/fake_iommu.h"

namespace berth::vmm {

// A confidential guest's memory on fakes, with one I/O address space of devices.
class FakeGuest {
 public:
  struct Options {
    std::vector<StateRegion> regions;
    FakeMemory::Options memory;
    FakeIommu::Options iommu;
    DmaStrategy strategy = DmaStrategy::kPages;
    bool allow_transient_faults = false;
    bool quiesced = false;
    Converter::Options converter;
  };

  // Where the shared side seems to be mapped; nothing is there.
  static constexpr uint64_t kHost = 0x7f0000000000;

  explicit FakeGuest(Options o)
      : memory(Sized(o)),
        iommu(o.iommu),
        engine(iommu.MakeBackend()),
        listener(engine, Ranges(o.regions),
                 {o.strategy, o.allow_transient_faults,
                  [quiesced = o.quiesced] { return quiesced ? std::make_shared<int>() : nullptr; }}),
        pages(*PageStateMap::Create(o.regions)),
        converter(pages, memory, memory, {&listener}, o.converter) {
    EXPECT_TRUE(converter.Start().ok());
  }

  // Whether a device reaches exactly the guest's page.
  bool DmaReaches(uint64_t gpa) {
    uint8_t* host = iommu.Translate(gpa, true);
    if (host != nullptr) {
      EXPECT_EQ(reinterpret_cast<uint64_t>(host), kHost + gpa);
    }
    return host != nullptr;
  }
  PageState StateOf(uint64_t gpa) const {
    return *pages.Read([gpa](const PageStateMap& states) { return states.At(gpa); });
  }

  // What holds of every page, and between conversions only.
  void ExpectConsistent(uint64_t base, uint64_t size) {
    pages.Read([&](const PageStateMap& states) {
      states.ForEach(base, size, [&](const StateRun& run) {
        ASSERT_NE(run.state, PageState::kConverting);
        for (uint64_t gpa = run.base; gpa < run.end(); gpa += kStatePage) {
          const FakeMemory::Page page = memory.At(gpa);
          const bool shared = run.state == PageState::kShared;
          ASSERT_EQ(page.is_private, !shared) << std::hex << gpa;
          ASSERT_EQ(DmaReaches(gpa), shared) << std::hex << gpa;
          if (shared) {  // devices need it
            ASSERT_TRUE(page.has_shared) << std::hex << gpa;
          }
        }
      });
    });
  }

  FakeMemory memory;
  FakeIommu iommu;
  DmaEngine engine;
  DmaListener listener;
  GuestPages pages;
  Converter converter;

 private:
  static FakeMemory::Options Sized(const Options& o) {
    FakeMemory::Options memory = o.memory;
    for (const StateRegion& region : o.regions) memory.size = std::max(memory.size, region.end());
    return memory;
  }
  static std::vector<HostRange> Ranges(const std::vector<StateRegion>& regions) {
    std::vector<HostRange> ranges;
    for (const StateRegion& region : regions) {
      ranges.push_back({region.base, region.size, reinterpret_cast<uint8_t*>(kHost + region.base)});
    }
    return ranges;
  }
};

}  // namespace berth::vmm
