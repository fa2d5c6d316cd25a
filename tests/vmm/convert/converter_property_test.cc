#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "tests/vmm/convert/fake_guest.h"
#include "tests/vmm/property_rounds.h"

// Random conversions, plugging and accesses beside a naive model of one entry a page, with a failure injected
// at any step of any of them.
namespace berth::vmm {
namespace {

constexpr uint64_t kPage = 4096;
constexpr uint64_t kEnd = 1024 * kPage;
using Call = FakeMemory::Call;

struct ModelPage {
  PageState state = PageState::kPrivate;
  uint64_t shared = 0;  // content
  uint64_t private_content = 0;
  bool leaked = false;  // the other side could not be discarded once
};

struct Setting {
  const char* name;
  FakeIommu::Interface interface;
  DmaStrategy strategy;
  bool allow_transient_faults;
  bool quiesced;
};

class ConverterProperty : public testing::TestWithParam<Setting> {};

// Two regions with a hole between them, and an area whose memory comes and goes.
std::vector<StateRegion> Regions() {
  return {{.base = 0, .size = 180 * kPage, .host_node = 0},
          {.base = 180 * kPage, .size = 220 * kPage, .host_node = 1},
          {.base = 512 * kPage, .size = 256 * kPage, .host_node = 1, .initial = PageState::kUnplugged}};
}

class History {
 public:
  History(const Setting& setting, uint64_t seed)
      : random_(seed), guest_(Options(setting)), model_(kEnd / kPage) {
    for (const StateRegion& region : Regions()) {
      for (uint64_t gpa = region.base; gpa < region.end(); gpa += kPage)
        Page(gpa).emplace().state = region.initial;
    }
  }

  void Step() {
    uint64_t base = Pick({0, 100, 160, 350, 500, 600, 740}) * kPage + random_() % 40 * kPage;
    uint64_t size = (1 + random_() % 12) * kPage;
    if (random_() % 50 == 0) size = (1 + random_() % 200) * kPage;
    size = std::min(size, kEnd - base);
    switch (random_() % 8) {
      case 0:
        return Access(base);
      case 1:
        return Plug(base, size, random_() % 2 == 0);
      default:
        return Convert(base, size, random_() % 2 == 0 ? Direction::kToShared : Direction::kToPrivate);
    }
  }

  void CheckAll() { Check(0, kEnd); }
  uint64_t failed() const { return failed_; }
  uint64_t injected() const { return injected_; }

 private:
  // What a failure changes must be as it was.
  struct Before {
    std::vector<StateRun> states;
    std::vector<FakeMemory::Page> memory;
    std::vector<DmaRun> mapped;
  };

  static FakeGuest::Options Options(const Setting& setting) {
    FakeGuest::Options options;
    options.regions = Regions();
    options.memory.size = kEnd;
    options.iommu.interface = setting.interface;
    options.strategy = setting.strategy;
    options.allow_transient_faults = setting.allow_transient_faults;
    options.quiesced = setting.quiesced;
    options.converter.drain_timeout = std::chrono::milliseconds(0);
    options.converter.retry_after = std::chrono::microseconds(0);
    options.converter.attribute_tries = 2;
    return options;
  }

  uint64_t Pick(std::initializer_list<uint64_t> places) { return places.begin()[random_() % places.size()]; }
  std::optional<ModelPage>& Page(uint64_t gpa) { return model_[gpa / kPage]; }

  Before Look() {
    return {guest_.pages.Read([](const PageStateMap& s) { return s.Runs(0, kEnd); }), guest_.memory.pages(),
            JoinRuns(Plain(guest_.engine.Mapped()))};
  }
  // Which mappings there are is the strategy's matter; what devices reach is not.
  static std::vector<DmaRun> Plain(std::vector<DmaRun> runs) {
    for (DmaRun& run : runs) run.granule = 0;
    return runs;
  }

  // Arms one failure, or makes somebody use shared memory. Gives what keeps it so.
  MemoryUse Inject() {
    const auto after = static_cast<uint32_t>(random_() % 3);
    switch (random_() % 7) {
      case 0:
        guest_.memory.FailCall(Call::kAttributes, after, Pick({0, 1}) == 0 ? ENOMEM : EIO);
        break;
      case 1:
        guest_.memory.FailCall(Call::kPopulateShared, after, ENOMEM);
        break;
      case 2:
        guest_.memory.FailCall(Call::kPopulatePrivate, after, ENOMEM);
        break;
      case 3:
        guest_.memory.FailCall(Call::kDiscardShared, after, EIO);
        break;
      case 4:
        guest_.memory.FailCall(Call::kDiscardPrivate, after, EIO);
        break;
      case 5:
        guest_.iommu.FailCall(static_cast<uint32_t>(random_() % 8), Pick({0, 1}) == 0 ? ENOMEM : EFAULT);
        break;
      case 6:
        return MemoryUse(&guest_.pages);
    }
    return {};
  }
  void Disarm() {
    guest_.memory.ForgetFailures();
    guest_.iommu.ForgetFailures();
  }

  void Access(uint64_t gpa) {
    auto& page = Page(gpa);
    if (!page || page->state == PageState::kUnplugged) return;
    const bool shared = page->state == PageState::kShared;
    ASSERT_EQ(guest_.memory.GuestRead(gpa), shared ? page->shared : page->private_content);
    const uint64_t content = random_();
    guest_.memory.GuestWrite(gpa, content);
    (shared ? page->shared : page->private_content) = content;
  }

  // Does `action` with or without a failure. When it fails, checks that all is as before; whether it may is
  // for `allowed`, given whether a failure was armed. True when it succeeded.
  template <class Action>
  bool Do(Action action, bool valid) {
    const bool inject = random_() % 4 == 0;
    std::optional<Before> before;
    MemoryUse use;
    const uint64_t leaked = guest_.converter.counters().leaked_bytes;
    if (inject) {
      before = Look();
      use = Inject();
      ++injected_;
    } else if (!valid) {
      before = Look();
    }
    const Status status = action();
    use.End();
    Disarm();
    leaked_now_ = guest_.converter.counters().leaked_bytes != leaked;
    if (status.ok()) {
      EXPECT_TRUE(valid);
      return true;
    }
    EXPECT_NE(status.code(), StatusCode::kDataLoss) << status.ToString();
    EXPECT_TRUE(inject || !valid) << status.ToString();
    ++failed_;
    if (before) {
      const Before after = Look();
      EXPECT_EQ(after.states, before->states);
      EXPECT_EQ(after.mapped, before->mapped);
      for (size_t i = 0; i < after.memory.size(); ++i) {
        if (model_[i] && !model_[i]->leaked) {
          EXPECT_EQ(after.memory[i], before->memory[i]) << status.ToString();
        }
      }
    }
    return false;
  }

  void Convert(uint64_t base, uint64_t size, Direction direction) {
    bool valid = true;
    uint64_t bytes = 0;
    for (uint64_t gpa = base; gpa < base + size; gpa += kPage) {
      const auto& page = Page(gpa);
      if (!page) valid &= direction == Direction::kToShared;
      if (page && page->state == PageState::kUnplugged) valid = false;
      if (page && page->state == Origin(direction)) bytes += kPage;
    }
    uint64_t changed = 0;
    const bool done = Do(
        [&]() -> Status {
          TRY_ASSIGN(changed, guest_.converter.Convert(base, size, direction));
          return OkStatus();
        },
        valid);
    if (done) {
      ASSERT_EQ(changed, bytes);
      for (uint64_t gpa = base; gpa < base + size; gpa += kPage)
        Become(gpa, Origin(direction), Target(direction));
    }
    Check(base, size);
  }

  void Plug(uint64_t base, uint64_t size, bool plug) {
    bool valid = true;
    for (uint64_t gpa = base; gpa < base + size; gpa += kPage) {
      const auto& page = Page(gpa);
      valid &= page && (page->state == PageState::kUnplugged) == plug;
    }
    const bool done =
        Do([&] { return plug ? guest_.converter.Plug(base, size) : guest_.converter.Unplug(base, size); },
           valid);
    for (uint64_t gpa = base; done && gpa < base + size; gpa += kPage) {
      if (plug) {
        Become(gpa, PageState::kUnplugged, PageState::kPrivate);
      } else {
        Become(gpa, PageState::kShared, PageState::kUnplugged);
        Become(gpa, PageState::kPrivate, PageState::kUnplugged);
      }
    }
    Check(base, size);
  }

  void Become(uint64_t gpa, PageState from, PageState to) {
    auto& page = Page(gpa);
    if (!page || page->state != from) return;
    page->state = to;
    const FakeMemory::Page real = guest_.memory.At(gpa);
    if (leaked_now_ || page->leaked) {
      // Content of a side that was not discarded is what it was.
      page->leaked = to == PageState::kUnplugged
                         ? real.has_shared || real.has_private
                         : (to == PageState::kShared ? real.has_private : real.has_shared);
      page->shared = real.shared;
      page->private_content = real.private_content;
      return;
    }
    page->shared = 0;
    page->private_content = 0;
  }

  void Check(uint64_t base, uint64_t size) {
    guest_.ExpectConsistent(base, size);
    for (uint64_t gpa = base; gpa < base + size; gpa += kPage) {
      auto& page = Page(gpa);
      if (!page) continue;
      const FakeMemory::Page real = guest_.memory.At(gpa);
      ASSERT_EQ(guest_.StateOf(gpa), page->state) << std::hex << gpa;
      if (page->leaked) {
        // What was left on the other side means nothing: a conversion that is undone may discard it.
        if (page->state != PageState::kShared) page->shared = real.shared;
        if (page->state != PageState::kPrivate) page->private_content = real.private_content;
      }
      ASSERT_EQ(real.shared, page->shared) << std::hex << gpa;
      ASSERT_EQ(real.private_content, page->private_content) << std::hex << gpa;
      if (page->leaked) continue;
      // No page has memory on a side that it is not on.
      if (page->state != PageState::kShared) {
        ASSERT_FALSE(real.has_shared) << std::hex << gpa;
      }
      if (page->state != PageState::kPrivate) {
        ASSERT_FALSE(real.has_private) << std::hex << gpa;
      }
    }
    if (size < kEnd) return;
    // All: counters are what counting gives.
    std::array<std::array<uint64_t, kPageStates>, 2> nodes{};
    for (const StateRegion& region : Regions()) {
      for (uint64_t gpa = region.base; gpa < region.end(); gpa += kPage) {
        nodes[*region.host_node][static_cast<size_t>(Page(gpa)->state)] += kPage;
      }
    }
    guest_.pages.Read([&](const PageStateMap& states) {
      for (uint32_t node = 0; node < 2; ++node) {
        for (int s = 0; s < kPageStates; ++s) {
          ASSERT_EQ(states.NodeBytes(node, static_cast<PageState>(s)), nodes[node][static_cast<size_t>(s)]);
        }
      }
    });
    ASSERT_EQ(guest_.engine.mapped_bytes(), nodes[0][1] + nodes[1][1]);
  }

  std::mt19937_64 random_;
  FakeGuest guest_;
  std::vector<std::optional<ModelPage>> model_;
  bool leaked_now_ = false;
  uint64_t failed_ = 0;
  uint64_t injected_ = 0;
};

TEST_P(ConverterProperty, IsEqualToANaiveModelWhateverFails) {
  const uint64_t ops = PropertyOps(6'000);
  uint64_t injected = 0;
  uint64_t failed = 0;
  // A guest anew now and then: pages that nobody has touched yet are a case of their own.
  for (uint64_t done = 0, seed = 41; done < ops; ++seed) {
    History history(GetParam(), seed);
    for (const uint64_t end = std::min(ops, done + 500); done < end; ++done) {
      history.Step();
      ASSERT_FALSE(HasFailure()) << "operation " << done << ", seed " << seed;
    }
    history.CheckAll();
    injected += history.injected();
    failed += history.failed();
  }
  EXPECT_GT(injected, ops / 8);
  EXPECT_GT(failed, ops / 20);
}

INSTANTIATE_TEST_SUITE_P(
    Strategies, ConverterProperty,
    testing::Values(
        Setting{"Type1Pages", FakeIommu::Interface::kType1, DmaStrategy::kPages, false, false},
        Setting{"Type1Chunks", FakeIommu::Interface::kType1, DmaStrategy::kChunks, true, false},
        Setting{"Type1ExactQuiesced", FakeIommu::Interface::kType1, DmaStrategy::kExact, false, true},
        Setting{"IommufdChunks", FakeIommu::Interface::kIommufd, DmaStrategy::kChunks, true, false},
        Setting{"IommufdCut", FakeIommu::Interface::kIommufdCut, DmaStrategy::kCut, false, false}),
    [](const auto& test) { return std::string(test.param.name); });

}  // namespace
}  // namespace berth::vmm
