#include <iterator>
#include <map>
#include <set>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "scheduler/service/fleet.h"
#include "tests/placement/model/random_claims.h"

namespace berth::scheduler {
namespace {

using placement::Claim;
using placement::testing::Pick;
using placement::testing::Random;
using Kind = PlacementEvent::Kind;

// What the mirror should know, kept the plain way.
class PlainBook {
 public:
  struct Host {
    placement::HostReport report;
    uint64_t generation = 1;
    std::map<Uuid, Claim> claims;
  };

  explicit PlainBook(uint8_t hosts) {
    for (uint8_t number = 1; number <= hosts; ++number) {
      placement::HostReport report = placement::testing::MakeHost(number);
      hosts_[report.uuid].report = report;
    }
  }

  std::map<Uuid, Host>& hosts() { return hosts_; }
  Host& AnyHost(Random& random) {
    return std::next(hosts_.begin(), Pick(random, static_cast<uint32_t>(hosts_.size())))->second;
  }
  // Hosts with a claim of the consumer, the one that was told last at the end.
  std::vector<Uuid>& HoldersOf(const Uuid& consumer) { return holders_[consumer]; }

  void Put(Host& host, const Claim& claim) {
    host.claims[claim.consumer] = claim;
    std::vector<Uuid>& holders = holders_[claim.consumer];
    std::erase(holders, claim.host);
    holders.push_back(claim.host);
  }
  void Remove(Host& host, const Uuid& consumer) {
    host.claims.erase(consumer);
    std::erase(holders_[consumer], host.report.uuid);
  }
  void Empty(Host& host) {
    while (!host.claims.empty()) Remove(host, Uuid(host.claims.begin()->first));
  }

 private:
  std::map<Uuid, Host> hosts_;
  std::map<Uuid, std::vector<Uuid>> holders_;
};

// The same whatever order the claims came in, and whoever is said to hold what two of them claim.
placement::HostUsage Plain(placement::HostUsage usage) {
  for (auto& [address, consumer] : usage.devices) consumer = {};
  return usage;
}

void ExpectSame(PlainBook& book, const Mirror& mirror, const std::set<Uuid>& consumers,
                const std::set<std::string>& names) {
  size_t told = 0;
  mirror.Snapshot()->ForEach([&](const HostView& view) {
    ++told;
    const PlainBook::Host& host = book.hosts().at(view.report->uuid);
    std::map<Uuid, Claim> claims;
    placement::HostUsage usage;
    view.claims.ForEach([&](const Claim& claim) { claims[claim.consumer] = claim; });
    for (const auto& [consumer, claim] : host.claims) placement::AddClaim(claim, usage);
    ASSERT_EQ(claims, host.claims);
    ASSERT_EQ(Plain(view.usage), Plain(usage));
  });
  ASSERT_EQ(told, book.hosts().size());
  std::set<std::string> live;
  for (const Uuid& consumer : consumers) {
    const std::vector<Uuid>& holders = book.HoldersOf(consumer);
    const auto found = mirror.FindClaim(consumer.ToString());
    ASSERT_EQ(found.has_value(), !holders.empty());
    if (!found) continue;
    ASSERT_EQ(found->claim->host, holders.back());
    ASSERT_EQ(*found->claim, book.hosts().at(holders.back()).claims.at(consumer));
    for (const Uuid& holder : holders) live.insert(book.hosts().at(holder).claims.at(consumer).name);
  }
  for (const std::string& name : names) ASSERT_EQ(mirror.FindClaim(name).has_value(), live.contains(name));
}

// Claims come, change, take other names, move by swaps, share CPUs and devices for a while and go; hosts go
// with all they hold and come back.
TEST(MirrorClaims, AreThoseOfAPlainBook) {
  Random random(11);
  PlainBook book(4);
  Mirror mirror;
  std::set<Uuid> consumers;
  std::set<std::string> names;
  auto tell = [&](PlainBook::Host& host) {
    mirror.Apply({Kind::kHostChanged, host.report.uuid, ++host.generation, host.report, {}});
  };
  auto put = [&](PlainBook::Host& host, Claim claim) {
    claim.host = host.report.uuid;
    consumers.insert(claim.consumer);
    names.insert(claim.name);
    mirror.Apply({Kind::kClaimChanged, claim.host, ++host.generation, {}, claim});
    book.Put(host, claim);
  };
  for (auto& [uuid, host] : book.hosts()) tell(host);

  for (int step = 0; step < 4000; ++step) {
    PlainBook::Host& host = book.AnyHost(random);
    const uint32_t kind = Pick(random, 100);
    Claim fresh = placement::testing::RandomClaim(random, static_cast<uint8_t>(Pick(random, 120)));
    fresh.name = "vm" + std::to_string(fresh.consumer.bytes[15]) + (Pick(random, 8) == 0 ? "-renamed" : "");
    fresh.created_at_ms = Pick(random, 3);
    const std::vector<Uuid> holders = book.HoldersOf(fresh.consumer);
    if (kind < 55) {
      // On a host of its own or, once, on a second one, as a swap does.
      if (holders.size() < 2 || holders.back() == host.report.uuid) put(host, fresh);
    } else if (kind < 95 && !holders.empty()) {
      PlainBook::Host& from = book.hosts().at(holders[Pick(random, static_cast<uint32_t>(holders.size()))]);
      Claim gone;
      gone.consumer = fresh.consumer;
      mirror.Apply({Kind::kClaimDeleted, from.report.uuid, ++from.generation, {}, gone});
      book.Remove(from, fresh.consumer);
    } else if (kind == 99) {
      mirror.Apply({Kind::kHostDeleted, host.report.uuid, 0, {}, {}});
      book.Empty(host);
      tell(host);
    }

    if (step % 10 == 0) ExpectSame(book, mirror, consumers, names);
    if (HasFatalFailure()) FAIL() << "step " << step;
  }
  for (auto& [uuid, host] : book.hosts()) {
    while (!host.claims.empty()) {
      Claim gone;
      gone.consumer = host.claims.begin()->first;
      mirror.Apply({Kind::kClaimDeleted, uuid, ++host.generation, {}, gone});
      book.Remove(host, gone.consumer);
    }
  }
  ExpectSame(book, mirror, consumers, names);
  mirror.Snapshot()->ForEach([](const HostView& view) { EXPECT_EQ(view.usage, placement::HostUsage{}); });
}

}  // namespace
}  // namespace berth::scheduler
