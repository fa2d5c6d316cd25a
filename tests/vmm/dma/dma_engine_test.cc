#include "vmm/dma/dma_engine.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <map>
#include <random>

#include "vmm/dma/fake_iommu.h"

namespace berth::vmm {
namespace {

constexpr uint64_t kPage = 4096;
using Interface = FakeIommu::Interface;

uint8_t* Host(uint64_t address) {
  return reinterpret_cast<uint8_t*>(address);
}

DmaRun Piece(uint64_t iova, uint64_t size, uint64_t host, uint64_t granule = 0) {
  return {.iova = iova, .size = size, .host = Host(host), .granule = granule};
}

TEST(DmaEngine, MapsNeighboursOfAZoneByOneCall) {
  FakeIommu iommu;
  DmaEngine engine(iommu.MakeBackend());

  ASSERT_TRUE(engine.Map({Piece(0x200000, 0x200000, 0x7f200000), Piece(0, 0x200000, 0x7f000000)}).ok());

  EXPECT_EQ(iommu.calls(), 1u);
  ASSERT_EQ(iommu.mappings().size(), 1u);
  EXPECT_EQ(iommu.mappings().begin()->second.size, 0x400000u);
  EXPECT_EQ(engine.mapped_bytes(), 0x400000u);
}

TEST(DmaEngine, KeepsMappingsWithinGranulesWhereTheKernelCannotCut) {
  for (Interface interface : {Interface::kType1, Interface::kIommufd, Interface::kIommufdCut}) {
    FakeIommu iommu({.interface = interface});
    DmaEngine engine(iommu.MakeBackend());

    ASSERT_TRUE(engine.Map({Piece(0x400000, 0x600000, 0x10000000, 0x200000)}).ok());
    EXPECT_EQ(iommu.mappings().size(), interface == Interface::kIommufdCut ? 1u : 3u);
    ASSERT_TRUE(engine.Unmap(0x600000, 0x200000).ok());

    EXPECT_EQ(iommu.Translate(0x600000, true), nullptr);
    EXPECT_EQ(iommu.Translate(0x5fffff, true), Host(0x101fffff));
    EXPECT_EQ(iommu.Translate(0x800000, true), Host(0x10400000));
  }
}

TEST(DmaEngine, RefusesToCutAMappingThatDevicesUse) {
  FakeIommu iommu;
  DmaEngine engine(iommu.MakeBackend());
  ASSERT_TRUE(engine.Map({Piece(0, 16 * kPage, 0x100000)}).ok());

  Status status = engine.Unmap(4 * kPage, kPage);

  EXPECT_EQ(status.code(), StatusCode::kFailedPrecondition);
  EXPECT_EQ(iommu.calls(), 1u);
  ASSERT_TRUE(engine.Unmap(4 * kPage, kPage, PartialUnmap::kRemapRest).ok());
  EXPECT_EQ(iommu.mappings().size(), 2u);
  EXPECT_EQ(iommu.Translate(5 * kPage, true), Host(0x100000 + 5 * kPage));
}

TEST(DmaEngine, SaysBeforehandWhatCannotBeMapped) {
  FakeIommu iommu({.ranges = {{0, (uint64_t{1} << 39) - 1}}, .entry_limit = 2});
  DmaEngine engine(iommu.MakeBackend());

  Status wide = engine.Check({Piece(uint64_t{1} << 39, kPage, 0x1000)});
  Status odd = engine.Check({Piece(kPage, 100, 0x1000)});
  Status many = engine.Check(
      {Piece(0, kPage, 0x10000), Piece(2 * kPage, kPage, 0x20000), Piece(4 * kPage, kPage, 0x30000)});

  EXPECT_EQ(wide.code(), StatusCode::kOutOfRange);
  EXPECT_NE(wide.message().find("0x8000000000-0x8000000fff"), std::string::npos);
  EXPECT_NE(wide.message().find("0-0x7fffffffff"), std::string::npos) << wide.message();
  EXPECT_EQ(odd.code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(many.code(), StatusCode::kResourceExhausted);
  EXPECT_NE(many.message().find("needs 3 DMA mappings, 2 are left"), std::string::npos);
  EXPECT_NE(many.hint().find("at least 3"), std::string::npos);
  EXPECT_EQ(iommu.calls(), 0u);
}

TEST(DmaEngine, UndoesAMapThatFailsHalfWay) {
  FakeIommu iommu({.memlock_bytes = 3 * kPage});
  DmaEngine engine(iommu.MakeBackend());

  Status status = engine.Map({Piece(0, 2 * kPage, 0x10000), Piece(4 * kPage, 2 * kPage, 0x30000)});

  EXPECT_EQ(status.code(), StatusCode::kResourceExhausted);
  EXPECT_TRUE(iommu.mappings().empty());
  EXPECT_TRUE(engine.Mapped().empty());
}

TEST(DmaEngine, TellsWhatDevicesLostWhenNotEvenTheUndoingWorks) {
  FakeIommu iommu;
  DmaEngine engine(iommu.MakeBackend());
  ASSERT_TRUE(engine.Map({Piece(0, 8 * kPage, 0x10000)}).ok());
  class : public DmaBackend {
   public:
    std::string_view name() const override { return "broken"; }
    Result<DmaLimits> Limits() override { return DmaLimits{.ranges = {IovaRange{}}}; }
    Status Map(const DmaRun&) override { return maps-- > 0 ? OkStatus() : ErrnoStatus("map", ENOMEM); }
    Status Unmap(uint64_t, uint64_t) override { return OkStatus(); }
    int maps = 1;
  } backend;
  auto owned = std::make_unique<decltype(backend)>(backend);
  DmaEngine broken(std::move(owned));
  ASSERT_TRUE(broken.Map({Piece(0, 8 * kPage, 0x10000)}).ok());

  Status status = broken.Unmap(0, kPage, PartialUnmap::kRemapRest);

  EXPECT_EQ(status.code(), StatusCode::kDataLoss);
  EXPECT_NE(status.message().find("0-0x7fff"), std::string::npos) << status.message();
  EXPECT_TRUE(broken.Mapped().empty());
}

// Against a model that knows nothing but pages: address -> host page.
class DmaEngineProperty : public testing::TestWithParam<Interface> {};

using Model = std::map<uint64_t, uint64_t>;

Model ModelOf(const std::vector<DmaRun>& runs) {
  Model model;
  for (const DmaRun& run : runs) {
    for (uint64_t offset = 0; offset < run.size; offset += kPage) {
      model[run.iova + offset] = reinterpret_cast<uintptr_t>(run.host) + offset;
    }
  }
  return model;
}

Model ModelOf(const FakeIommu& iommu) {
  Model model;
  for (const auto& [iova, mapping] : iommu.mappings()) {
    for (uint64_t offset = 0; offset < mapping.size; offset += kPage) {
      model[iova + offset] = reinterpret_cast<uintptr_t>(mapping.host) + offset;
    }
  }
  return model;
}

TEST_P(DmaEngineProperty, EachChangeHappensAsAWholeOrNotAtAll) {
  constexpr uint64_t kPages = 64;
  int lost = 0;
  for (uint32_t seed = 0; seed < 60; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937_64 random(seed);
    FakeIommu iommu({.interface = GetParam(), .entry_limit = 24, .memlock_bytes = 48 * kPage});
    DmaEngine engine(iommu.MakeBackend());
    Model model;
    for (int step = 0; step < 300; ++step) {
      SCOPED_TRACE("step " + std::to_string(step));
      if (random() % 4 == 0) iommu.FailCall(random() % 6, random() % 2 ? ENOMEM : EBUSY);
      Model wanted = model;
      Status status;
      if (random() % 2 == 0) {
        std::vector<DmaRun> runs(1 + random() % 3);
        for (DmaRun& run : runs) {
          run = Piece(random() % kPages * kPage, (1 + random() % 8) * kPage,
                      0x10000000 + random() % 2 * 0x1000000);
          run.host += run.iova;
          run.granule = random() % 2 ? 4 * kPage : 0;
        }
        status = engine.Map(runs);
        for (const auto& [iova, host] : ModelOf(runs)) wanted[iova] = host;
      } else {
        const uint64_t iova = random() % kPages * kPage;
        const uint64_t size = (1 + random() % 16) * kPage;
        status = engine.Unmap(iova, size, random() % 2 ? PartialUnmap::kRemapRest : PartialUnmap::kRefuse);
        for (uint64_t page = iova; page < iova + size; page += kPage) wanted.erase(page);
      }
      iommu.ForgetFailures();
      if (status.ok()) model = wanted;
      if (status.code() == StatusCode::kDataLoss) {  // a limit was met, and undoing met the injected failure
        model = ModelOf(iommu);
        ++lost;
      }
      ASSERT_EQ(ModelOf(iommu), model) << status.ToString();
      ASSERT_EQ(ModelOf(engine.Mapped()), model);
      ASSERT_EQ(engine.Mapped().size(), iommu.mappings().size());
      ASSERT_EQ(engine.mapped_bytes(), model.size() * kPage);
    }
  }
  EXPECT_LT(lost, 60);
}

std::string InterfaceName(const testing::TestParamInfo<Interface>& tested) {
  switch (tested.param) {
    case Interface::kType1:
      return "Type1";
    case Interface::kIommufd:
      return "Iommufd";
    case Interface::kIommufdCut:
      return "IommufdCut";
  }
  return "";
}

INSTANTIATE_TEST_SUITE_P(Interfaces, DmaEngineProperty,
                         testing::Values(Interface::kType1, Interface::kIommufd, Interface::kIommufdCut),
                         InterfaceName);

}  // namespace
}  // namespace berth::vmm
