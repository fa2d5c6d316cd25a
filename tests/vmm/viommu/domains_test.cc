#include "vmm/viommu/domains.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <map>
#include <random>

#include "tests/fakes/guest_ram.h"
#include "vmm/dma/fake_iommu.h"
#include "vmm/viommu/vfio_endpoint.h"

namespace berth::vmm {
namespace {

constexpr uint64_t kPage = 4096;

// Endpoints are devices of a fake host IOMMU each; what they can reach is looked up there.
class DomainsTest : public testing::Test {
 protected:
  void AddEndpoint(uint32_t id) {
    auto& iommu = iommus_.emplace(id, FakeIommu()).first->second;
    engines_[id] = std::make_unique<DmaEngine>(iommu.MakeBackend());
    ASSERT_TRUE(domains_.AddEndpoint(id, std::make_shared<VfioEndpoint>(*engines_[id], ram_.memory())).ok());
  }
  // The guest-physical address that the device reaches.
  std::optional<uint64_t> Reach(uint32_t id, uint64_t address, bool write = true) {
    const uint8_t* host = iommus_.at(id).Translate(address, write);
    if (host == nullptr) return std::nullopt;
    return static_cast<uint64_t>(host - (*ram_.memory().Span(Gpa{0}, 1)).data());
  }
  IommuMapping Mapping(uint64_t first, uint64_t pages, uint64_t gpa, bool write = true) {
    return {first, first + pages * kPage - 1, gpa, true, write};
  }

  GuestRam ram_{{{0, 64 * kPage}}};
  std::map<uint32_t, FakeIommu> iommus_;
  std::map<uint32_t, std::unique_ptr<DmaEngine>> engines_;
  IommuDomains domains_;
};

TEST_F(DomainsTest, EndpointsBypassUntilTheyAreAttached) {
  AddEndpoint(8);
  EXPECT_EQ(Reach(8, 5 * kPage), 5 * kPage);
  ASSERT_TRUE(domains_.Attach(1, 8, false).ok());
  EXPECT_EQ(Reach(8, 5 * kPage), std::nullopt);
  ASSERT_TRUE(domains_.Map(1, Mapping(0x100000, 2, 7 * kPage)).ok());
  EXPECT_EQ(Reach(8, 0x101234), 8 * kPage + 0x234);
  ASSERT_TRUE(domains_.Detach(1, 8).ok());
  EXPECT_EQ(Reach(8, 0x101234), std::nullopt);
  EXPECT_EQ(Reach(8, 5 * kPage), 5 * kPage);
  EXPECT_EQ(domains_.domains(), 0u);
}

TEST_F(DomainsTest, ReachNothingWhenTheyMayNotBypass) {
  AddEndpoint(8);
  domains_.SetBypass(false);
  EXPECT_EQ(Reach(8, 0), std::nullopt);
  ASSERT_TRUE(domains_.Attach(1, 8, true).ok());
  EXPECT_EQ(Reach(8, 3 * kPage), 3 * kPage);
  EXPECT_EQ(domains_.Map(1, Mapping(0, 1, 0)).code(), StatusCode::kInvalidArgument);
  domains_.Reset(true);
  EXPECT_EQ(Reach(8, 3 * kPage), 3 * kPage);
}

TEST_F(DomainsTest, ASecondEndpointGetsTheMappingsThatAreThere) {
  AddEndpoint(8);
  AddEndpoint(16);
  ASSERT_TRUE(domains_.Attach(1, 8, false).ok());
  ASSERT_TRUE(domains_.Map(1, Mapping(0x100000, 4, 0, false)).ok());
  ASSERT_TRUE(domains_.Attach(1, 16, false).ok());
  EXPECT_EQ(Reach(16, 0x102000, false), 2 * kPage);
  EXPECT_EQ(Reach(16, 0x102000, true), std::nullopt);  // read-only
  ASSERT_TRUE(domains_.Unmap(1, 0x100000, 0x103fff).ok());
  EXPECT_EQ(Reach(8, 0x102000, false), std::nullopt);
  EXPECT_EQ(Reach(16, 0x102000, false), std::nullopt);
}

TEST_F(DomainsTest, RefusesToMapWhatIsNoRam) {
  AddEndpoint(8);
  ASSERT_TRUE(domains_.Attach(1, 8, false).ok());
  EXPECT_EQ(domains_.Map(1, Mapping(0, 2, 63 * kPage)).code(), StatusCode::kOutOfRange);
  EXPECT_TRUE(iommus_.at(8).mappings().empty());
  EXPECT_TRUE(domains_.Map(1, Mapping(0, 1, 63 * kPage)).ok());
}

TEST_F(DomainsTest, UndoesAMapThatOneEndpointCannotTake) {
  AddEndpoint(8);
  AddEndpoint(16);
  ASSERT_TRUE(domains_.Attach(1, 8, false).ok());
  ASSERT_TRUE(domains_.Attach(1, 16, false).ok());
  iommus_.at(16).FailCall(0, ENOMEM);
  EXPECT_EQ(domains_.Map(1, Mapping(0, 1, 0)).code(), StatusCode::kResourceExhausted);
  EXPECT_TRUE(iommus_.at(8).mappings().empty());
  EXPECT_TRUE(domains_.Map(1, Mapping(0, 1, 0)).ok());
}

TEST_F(DomainsTest, TellsWhatADomainMapsInARange) {
  AddEndpoint(8);
  ASSERT_TRUE(domains_.Attach(1, 8, false).ok());
  ASSERT_TRUE(domains_.Map(1, Mapping(0x1000, 2, 0)).ok());
  ASSERT_TRUE(domains_.Map(1, Mapping(0x5000, 1, 0)).ok());
  const std::vector<IommuMapping> both = {Mapping(0x1000, 2, 0), Mapping(0x5000, 1, 0)};
  EXPECT_EQ(domains_.MappingsIn(1, 0, UINT64_MAX), both);
  EXPECT_EQ(domains_.MappingsIn(1, 0x2fff, 0x5000), both);
  EXPECT_EQ(domains_.MappingsIn(1, 0x3000, 0x5fff), (std::vector<IommuMapping>{both[1]}));
  EXPECT_TRUE(domains_.MappingsIn(1, 0x3000, 0x4fff).empty());
  EXPECT_TRUE(domains_.MappingsIn(2, 0, UINT64_MAX).empty()) << "no such domain";
}

TEST_F(DomainsTest, AnEndpointThatIsCutOffReachesNothingUntilItIsAttachedAnew) {
  AddEndpoint(8);
  ASSERT_TRUE(domains_.Attach(1, 8, false).ok());
  ASSERT_TRUE(domains_.Map(1, Mapping(0x1000, 1, 0)).ok());
  domains_.Cut(8);
  EXPECT_EQ(Reach(8, 0x1000), std::nullopt);
  ASSERT_TRUE(domains_.Attach(2, 8, true).ok());
  EXPECT_EQ(Reach(8, 0x1000), kPage);
  domains_.Cut(9);  // nobody
}

std::vector<uint8_t> Saved(const IommuDomains& domains) {
  StateWriter out;
  domains.Save(out);
  return std::move(out).Take();
}

TEST_F(DomainsTest, ComeBackFromASnapshot) {
  for (uint32_t id : {8u, 9u, 10u}) AddEndpoint(id);
  ASSERT_TRUE(domains_.Attach(1, 8, false).ok());
  ASSERT_TRUE(domains_.Attach(2, 9, true).ok());
  ASSERT_TRUE(domains_.Map(1, Mapping(0x100000, 2, 7 * kPage)).ok());
  ASSERT_TRUE(domains_.Map(1, Mapping(0x200000, 1, 3 * kPage, false)).ok());
  domains_.SetBypass(false);
  const std::vector<uint8_t> saved = Saved(domains_);
  domains_.Reset(true);
  ASSERT_EQ(Reach(10, 5 * kPage), 5 * kPage);

  StateReader in(saved);
  domains_.Load(in);

  ASSERT_EQ(in.Finish(), OkStatus());
  EXPECT_EQ(Reach(8, 0x101234), 8 * kPage + 0x234);
  EXPECT_EQ(Reach(8, 0x200000, false), 3 * kPage);
  EXPECT_EQ(Reach(8, 0x200000, true), std::nullopt);
  EXPECT_EQ(Reach(9, 5 * kPage), 5 * kPage);
  EXPECT_EQ(Reach(10, 5 * kPage), std::nullopt) << "bypass was off";
  EXPECT_EQ(Saved(domains_), saved);
  ASSERT_TRUE(domains_.Detach(1, 8).ok());
  EXPECT_EQ(domains_.domains(), 1u) << "it went with its only endpoint";
}

// Whatever was changed in a file: an error without a trace, or domains as a driver could have made them.
TEST_F(DomainsTest, AChangedSnapshotLeavesNothingBehind) {
  for (uint32_t id : {8u, 9u}) AddEndpoint(id);
  ASSERT_TRUE(domains_.Attach(1, 8, false).ok());
  ASSERT_TRUE(domains_.Attach(2, 9, false).ok());
  ASSERT_TRUE(domains_.Map(1, Mapping(0x100000, 2, 7 * kPage)).ok());
  ASSERT_TRUE(domains_.Map(2, Mapping(0x100000, 1, 3 * kPage)).ok());
  const std::vector<uint8_t> saved = Saved(domains_);
  size_t refused = 0;
  for (size_t at = 0; at < saved.size(); ++at) {
    for (uint8_t bit = 1; bit != 0; bit = static_cast<uint8_t>(bit << 1)) {
      domains_.Reset(true);
      std::vector<uint8_t> changed = saved;
      changed[at] ^= bit;
      StateReader in(changed);
      domains_.Load(in);
      if (in.Finish().ok()) {
        EXPECT_EQ(Saved(domains_), changed);
        continue;
      }
      ++refused;
      EXPECT_EQ(domains_.domains(), 0u) << at;
      EXPECT_EQ(Reach(8, 5 * kPage), 5 * kPage) << at;
      EXPECT_EQ(Reach(9, 5 * kPage), 5 * kPage) << at;
    }
  }
  EXPECT_GT(refused, saved.size() * 4);
}

TEST_F(DomainsTest, ASnapshotWithAnEndpointThatIsNotHereIsRefused) {
  AddEndpoint(8);
  ASSERT_TRUE(domains_.Attach(1, 8, false).ok());
  const std::vector<uint8_t> saved = Saved(domains_);
  domains_.RemoveEndpoint(8);
  AddEndpoint(9);

  StateReader in(saved);
  domains_.Load(in);

  EXPECT_EQ(in.status().message(), "no endpoint 8 behind the IOMMU");
}

// Against a model of pages: domain -> page -> (guest page, write).
TEST_F(DomainsTest, EachEndpointReachesExactlyWhatItsDomainMaps) {
  using Pages = std::map<uint64_t, std::pair<uint64_t, bool>>;
  constexpr uint32_t kEndpoints[] = {8, 16, 24};
  constexpr uint64_t kPages = 32;
  for (uint32_t id : kEndpoints) AddEndpoint(id);
  std::mt19937 random(7);
  std::map<uint32_t, Pages> domains;
  std::map<uint32_t, std::vector<std::pair<uint64_t, uint64_t>>> runs;  // [first page, count]
  std::map<uint32_t, uint32_t> where;
  auto leave = [&](uint32_t id) {
    if (!where.contains(id)) return;
    const uint32_t domain = where.at(id);
    where.erase(id);
    for (const auto& [other, other_domain] : where) {
      if (other_domain == domain) return;
    }
    domains.erase(domain);
    runs.erase(domain);
  };
  for (int step = 0; step < 3000; ++step) {
    SCOPED_TRACE(step);
    const uint32_t domain = random() % 3, id = kEndpoints[random() % 3];
    const uint64_t page = random() % kPages, count = 1 + random() % 4;
    switch (random() % 8) {
      case 0: {
        ASSERT_TRUE(domains_.Attach(domain, id, false).ok());
        if (where.contains(id) && where.at(id) == domain) break;
        leave(id);
        where[id] = domain;
        domains.try_emplace(domain);
        break;
      }
      case 1: {
        const bool there = where.contains(id) && where.at(id) == domain;
        ASSERT_EQ(domains_.Detach(domain, id).ok(), there);
        if (there) leave(id);
        break;
      }
      case 2:
      case 3:
      case 4: {
        const bool write = random() % 2 == 0;
        const uint64_t gpa = random() % (64 - count) * kPage;
        bool expected = domains.contains(domain);
        for (uint64_t i = 0; i < count && expected; ++i) expected = !domains[domain].contains(page + i);
        ASSERT_EQ(domains_.Map(domain, Mapping(page * kPage, count, gpa, write)).ok(), expected);
        if (!expected) break;
        for (uint64_t i = 0; i < count; ++i) domains[domain][page + i] = {gpa + i * kPage, write};
        runs[domain].emplace_back(page, count);
        break;
      }
      default: {
        bool expected = domains.contains(domain);
        std::vector<std::pair<uint64_t, uint64_t>> left;
        for (const auto& [first, length] : runs[domain]) {
          const bool inside = first >= page && first + length <= page + count;
          const bool outside = first + length <= page || first >= page + count;
          if (!inside && !outside) expected = false;
          if (!inside) left.emplace_back(first, length);
        }
        ASSERT_EQ(domains_.Unmap(domain, page * kPage, (page + count) * kPage - 1).ok(), expected);
        if (!expected) break;
        for (uint64_t i = 0; i < count; ++i) domains[domain].erase(page + i);
        runs[domain] = left;
      }
    }
    for (uint32_t endpoint : kEndpoints) {
      for (uint64_t at = 0; at < kPages + 4; ++at) {
        std::optional<uint64_t> expected = at * kPage;  // bypass
        bool write = true;
        if (where.contains(endpoint)) {
          const Pages& pages = domains.at(where.at(endpoint));
          auto mapped = pages.find(at);
          expected = mapped == pages.end() ? std::nullopt : std::optional(mapped->second.first);
          write = mapped != pages.end() && mapped->second.second;
        }
        ASSERT_EQ(Reach(endpoint, at * kPage, false), expected);
        ASSERT_EQ(Reach(endpoint, at * kPage, true), write ? expected : std::nullopt);
        auto translated = domains_.Translate(endpoint, at * kPage, false);
        ASSERT_EQ(translated.has_value(), expected.has_value());
        if (expected.has_value()) {
          ASSERT_EQ(translated->gpa, *expected);
        }
      }
    }
  }
}

}  // namespace
}  // namespace berth::vmm
