#include "placement/engine/fleet.h"

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <string>

namespace berth::placement {
namespace {

Fleet::Version HostOf(const Uuid& uuid, const std::string& name, uint64_t generation) {
  auto report = std::make_shared<HostReport>();
  report->uuid = uuid;
  report->name = name;
  auto version = std::make_shared<HostVersion>();
  version->reported = report;
  version->report = report;
  version->generation = generation;
  return version;
}

Uuid UuidOf(uint32_t number) {
  return Uuid::FromName(Uuid{}, std::to_string(number));
}

Engine::Committed Changed(std::vector<Fleet::Version> hosts, std::vector<Uuid> deleted = {}) {
  Engine::Committed committed;
  committed.hosts = std::move(hosts);
  committed.deleted_hosts = std::move(deleted);
  return committed;
}

TEST(Fleet, TwoHostsMayExchangeTheirNames) {
  Fleet fleet;
  fleet.Publish(Changed({HostOf(UuidOf(1), "a", 1), HostOf(UuidOf(2), "b", 1)}));

  fleet.Publish(Changed({HostOf(UuidOf(1), "b", 2), HostOf(UuidOf(2), "a", 2)}));

  EXPECT_EQ(fleet.HostByName("a")->uuid(), UuidOf(2));
  EXPECT_EQ(fleet.HostByName("b")->uuid(), UuidOf(1));
  EXPECT_EQ(fleet.Hosts().size(), 2u);
}

// Hosts that come, change, are renamed and go, a few in each commit, against a plain map.
TEST(Fleet, FindsHostsAsAPlainMapDoes) {
  std::mt19937 random(5);
  Fleet fleet;
  std::map<uint32_t, std::pair<std::string, uint64_t>> model;  // number -> name, generation
  uint64_t generation = 0;
  for (int round = 0; round < 3000; ++round) {
    std::map<uint32_t, Fleet::Version> changed;
    std::vector<Uuid> deleted;
    for (uint32_t i = random() % 3 + 1; i > 0; --i) {
      uint32_t number = random() % 200;
      if (changed.contains(number)) continue;
      if (random() % 4 == 0) {
        if (model.erase(number) > 0) deleted.push_back(UuidOf(number));
        continue;
      }
      std::string name = "host" + std::to_string(number) + (random() % 5 == 0 ? "-renamed" : "");
      model[number] = {name, ++generation};
      changed[number] = HostOf(UuidOf(number), name, generation);
    }
    // One that went and came in one commit is there at its end.
    std::vector<Fleet::Version> hosts;
    for (const auto& [number, host] : changed) {
      if (model.contains(number)) hosts.push_back(host);
    }
    fleet.Publish(Changed(hosts, deleted));
    uint32_t probe = random() % 200;
    auto known = model.find(probe);
    Fleet::Version found = fleet.FindHost(UuidOf(probe).ToString());
    ASSERT_EQ(found != nullptr, known != model.end()) << round;
    if (found == nullptr) continue;
    EXPECT_EQ(found->generation, known->second.second);
    EXPECT_EQ(fleet.HostByName(known->second.first), found);
  }
  std::map<std::string, uint64_t> expected;
  for (const auto& [number, host] : model) expected[host.first] = host.second;
  std::vector<std::pair<std::string, uint64_t>> listed;
  for (const Fleet::Version& host : fleet.Hosts()) listed.emplace_back(host->report->name, host->generation);
  EXPECT_EQ(listed, (std::vector<std::pair<std::string, uint64_t>>(expected.begin(), expected.end())));
}

}  // namespace
}  // namespace berth::placement
