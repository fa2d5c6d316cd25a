#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <vector>

#include "tests/vmm/property_rounds.h"
#include "vmm/pagestate/page_state_map.h"

// Random operations on the map beside a naive model of one byte a page.
namespace berth::vmm {
namespace {

constexpr uint64_t kPage = 4096;

// Regions of odd sizes: one crosses a GiB's border, one is less than a chunk, between them are holes.
std::vector<StateRegion> Regions() {
  return {{.base = 3 * kPage, .size = 1700 * kPage, .host_node = 0},
          {.base = 2048 * kPage, .size = 100 * kPage, .host_node = 1},
          {.base = 262144 * kPage,
           .size = 262144 * kPage + 1333 * kPage,
           .host_node = 0,
           .initial = PageState::kUnplugged}};
}

class Model {
 public:
  explicit Model(const std::vector<StateRegion>& regions) : regions_(regions) {
    for (const StateRegion& region : regions) {
      pages_.emplace_back(region.size / kPage, region.initial);
      counts_.emplace_back();
      counts_.back()[static_cast<size_t>(region.initial)] = region.size / kPage;
    }
  }

  PageState* At(uint64_t gpa) {
    for (size_t i = 0; i < regions_.size(); ++i) {
      if (gpa >= regions_[i].base && gpa < regions_[i].end())
        return &pages_[i][(gpa - regions_[i].base) / kPage];
    }
    return nullptr;
  }
  // Returns the pages that changed, one entry each.
  std::vector<std::pair<uint64_t, PageState>> Set(uint64_t base, uint64_t size, int from, PageState to) {
    std::vector<std::pair<uint64_t, PageState>> changed;
    for (uint64_t gpa = base; gpa < base + size; gpa += kPage) {
      PageState* page = At(gpa);
      if (page == nullptr || *page == to || (from >= 0 && *page != static_cast<PageState>(from))) continue;
      changed.emplace_back(gpa, *page);
      auto& counts = counts_[RegionOf(gpa)];
      --counts[static_cast<size_t>(*page)];
      ++counts[static_cast<size_t>(to)];
      *page = to;
    }
    return changed;
  }
  size_t RegionOf(uint64_t gpa) const {
    for (size_t i = 0; i < regions_.size(); ++i) {
      if (gpa >= regions_[i].base && gpa < regions_[i].end()) return i;
    }
    return SIZE_MAX;
  }
  const std::array<uint64_t, 4>& counts(size_t region) const { return counts_[region]; }

 private:
  std::vector<StateRegion> regions_;
  std::vector<std::vector<PageState>> pages_;
  std::vector<std::array<uint64_t, 4>> counts_;
};

void ExpectEqual(const PageStateMap& map, Model& model, uint64_t base, uint64_t size) {
  uint64_t at = base;
  map.ForEach(base, size, [&](const StateRun& run) {
    for (; at < run.base; at += kPage) ASSERT_EQ(model.At(at), nullptr);
    for (; at < run.end(); at += kPage) {
      ASSERT_NE(model.At(at), nullptr);
      ASSERT_EQ(*model.At(at), run.state) << std::hex << at;
    }
  });
  for (; at < base + size; at += kPage) ASSERT_EQ(model.At(at), nullptr);
}

void ExpectJournal(const StateJournal& journal, const std::vector<std::pair<uint64_t, PageState>>& changed) {
  size_t i = 0;
  for (const StateRun& run : journal) {
    for (uint64_t gpa = run.base; gpa < run.end(); gpa += kPage, ++i) {
      ASSERT_LT(i, changed.size());
      ASSERT_EQ(changed[i], std::pair(gpa, run.state));
    }
  }
  ASSERT_EQ(i, changed.size());
}

TEST(PageStateProperty, IsEqualToANaiveModel) {
  const uint64_t ops = PropertyOps(100'000);
  std::mt19937_64 random(20261126);
  const std::vector<StateRegion> regions = Regions();
  PageStateMap map = *PageStateMap::Create(regions);
  Model model(regions);
  const uint64_t last = regions.back().end() + 64 * kPage;
  std::vector<StateJournal> journals;

  for (uint64_t op = 0; op < ops; ++op) {
    // Mostly small and near a few places, so that chunks get crowded; now and then large.
    const uint64_t place[] = {0, 1000 * kPage, 2000 * kPage, 262144 * kPage, 523776 * kPage, 524288 * kPage};
    uint64_t base = place[random() % 6] + random() % 600 * kPage;
    uint64_t size = (1 + random() % 16) * kPage;
    if (random() % 64 == 0) size = (1 + random() % 2048) * kPage;
    if (random() % 100000 == 0) base = 0, size = last;
    const auto to = static_cast<PageState>(random() % 4);
    const int from = random() % 2 == 0 ? -1 : static_cast<int>(random() % 4);

    const StateJournal journal =
        from < 0 ? map.Set(base, size, to) : map.Replace(base, size, static_cast<PageState>(from), to);
    const auto changed = model.Set(base, size, from, to);

    ASSERT_NO_FATAL_FAILURE(ExpectJournal(journal, changed)) << "operation " << op;
    if (random() % 4 == 0) {  // undo
      map.Restore(journal);
      for (const auto& [gpa, state] : changed) model.Set(gpa, kPage, -1, state);
    }
    ASSERT_NO_FATAL_FAILURE(ExpectEqual(map, model, base, size)) << "operation " << op;
    for (size_t region = 0; region < regions.size(); ++region) {
      for (int s = 0; s < kPageStates; ++s) {
        ASSERT_EQ(map.RegionBytes(region, static_cast<PageState>(s)),
                  model.counts(region)[static_cast<size_t>(s)] * kPage);
      }
    }
    const uint64_t probe = base + random() % size;
    const auto other = static_cast<PageState>(random() % 4);
    const PageState* page = model.At(probe / kPage * kPage);
    ASSERT_EQ(map.At(probe), page == nullptr ? std::nullopt : std::optional(*page));
    if (page != nullptr) {
      uint64_t end = probe / kPage * kPage;
      while (end < base + size && model.At(end) != nullptr && model.RegionOf(end) == model.RegionOf(probe) &&
             *model.At(end) == *page) {
        end += kPage;
      }
      ASSERT_EQ(map.BytesIn(*page, probe, base + size - probe), std::min(end, base + size) - probe);
    }
    if (page == nullptr || *page != other) {
      ASSERT_EQ(map.BytesIn(other, probe, base + size - probe), 0u);
    }
    if (op % 20'000 == 0) {
      ASSERT_NO_FATAL_FAILURE(ExpectEqual(map, model, 0, last)) << "operation " << op;
    }
  }
  ASSERT_NO_FATAL_FAILURE(ExpectEqual(map, model, 0, last));
}

}  // namespace
}  // namespace berth::vmm
