#include "vmm/dma/run_table.h"

#include <gtest/gtest.h>

namespace berth::vmm {
namespace {

uint8_t* Host(uint64_t address) {
  return reinterpret_cast<uint8_t*>(address);
}

TEST(JoinRuns, JoinsWhatContinuesInBothAddressSpaces) {
  std::vector<DmaRun> runs = {{.iova = 0x3000, .size = 0x1000, .host = Host(0x73000)},
                              {.iova = 0x1000, .size = 0x2000, .host = Host(0x71000)},
                              {.iova = 0x4000, .size = 0x1000, .host = Host(0x90000)}};

  std::vector<DmaRun> joined = JoinRuns(runs);

  ASSERT_EQ(joined.size(), 2u);
  EXPECT_EQ(joined[0], (DmaRun{.iova = 0x1000, .size = 0x3000, .host = Host(0x71000)}));
  EXPECT_EQ(joined[1].iova, 0x4000u);
}

TEST(JoinRuns, KeepsApartWhatIsNotAlike) {
  DmaRun memory{.iova = 0x1000, .size = 0x1000, .host = Host(0x71000)};
  DmaRun next{.iova = 0x2000, .size = 0x1000, .host = Host(0x72000)};

  next.writable = false;
  EXPECT_EQ(JoinRuns({memory, next}).size(), 2u);
  next.writable = true;
  next.kind = DmaRun::Kind::kDevice;
  EXPECT_EQ(JoinRuns({memory, next}).size(), 2u);
}

TEST(CutAtGranules, CutsAtMultiplesOfTheGranule) {
  DmaRun run{.iova = 0x1f0000, .size = 0x230000, .host = Host(0x9f0000), .granule = 0x200000};

  std::vector<DmaRun> pieces = CutAtGranules(run);

  ASSERT_EQ(pieces.size(), 3u);
  EXPECT_EQ(pieces[0].end(), 0x200000u);
  EXPECT_EQ(pieces[1].size, 0x200000u);
  EXPECT_EQ(pieces[1].host, Host(0xa00000));
  EXPECT_EQ(pieces[2].end(), run.end());
}

TEST(RunTable, RefusesWhatOverlapsAndWhatWraps) {
  RunTable table;
  ASSERT_TRUE(table.Insert({.iova = 0x2000, .size = 0x2000}).ok());

  EXPECT_EQ(table.Insert({.iova = 0x1000, .size = 0x1001}).code(), StatusCode::kAlreadyExists);
  EXPECT_EQ(table.Insert({.iova = 0x3fff, .size = 1}).code(), StatusCode::kAlreadyExists);
  EXPECT_EQ(table.Insert({.iova = 0x1000, .size = 0}).code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(table.Insert({.iova = UINT64_MAX - 1, .size = 4}).code(), StatusCode::kInvalidArgument);
  EXPECT_TRUE(table.Insert({.iova = 0x1000, .size = 0x1000}).ok());
  EXPECT_TRUE(table.Insert({.iova = 0x4000, .size = 0x1000}).ok());
  EXPECT_EQ(table.bytes(), 0x4000u);
}

TEST(RunTable, CutsARunInTwo) {
  RunTable table;
  ASSERT_TRUE(table.Insert({.iova = 0x1000, .size = 0x5000, .host = Host(0x10000)}).ok());

  table.Cut(0x3000, 0x1000);

  ASSERT_EQ(table.count(), 2u);
  EXPECT_EQ(table.Find(0x2fff)->size, 0x2000u);
  EXPECT_FALSE(table.Find(0x3000).has_value());
  EXPECT_EQ(table.Find(0x4000)->host, Host(0x13000));
  EXPECT_EQ(table.bytes(), 0x4000u);
}

}  // namespace
}  // namespace berth::vmm
