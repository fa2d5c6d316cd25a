#include "placement/model/projection.h"

#include <gtest/gtest.h>

#include <map>
#include <set>

#include "placement/model/usage.h"
#include "tests/placement/model/random_claims.h"

namespace berth::placement {
namespace {

using namespace testing;  // NOLINT(google-build-using-namespace)

std::map<std::string, std::string> Inventories(const HostReport& host) {
  std::map<std::string, std::string> told;
  for (const ProjectedProvider& provider : ProjectHost(host)) {
    std::string& text = told[provider.name];
    for (const auto& [name, inventory] : provider.inventories) {
      text += (text.empty() ? "" : " ") + name + "=" + std::to_string(inventory.total);
    }
  }
  return told;
}

TEST(Projection, ShowsRootCellsAndDevices) {
  HostReport host = MakeHost();
  host.cells[1].secure_memory_bytes = 256 * kMib;
  auto told = Inventories(host);

  EXPECT_EQ(told["host1"], "MEMORY_MB=2048 VCPU=8");
  EXPECT_EQ(told["host1_numa_0"], "MEMORY_MB=2048 PCPU=4 VCPU=4");
  EXPECT_EQ(told["host1_numa_1"], "CUSTOM_SECURE_MEMORY_MB=256 MEMORY_MB=2048 PCPU=4 VCPU=4");
  EXPECT_EQ(told["host1_0000:01:00.0"], "CUSTOM_PCI_8086_1592=1");
  EXPECT_EQ(told["host1_0000:02:00.0"], "CUSTOM_PCI_8086_1592=1 CUSTOM_PCI_8086_1889=2");
}

TEST(Projection, PutsDevicesBelowTheirCellOrTheRoot) {
  HostReport host = MakeHost();
  host.devices[0].numa_node.reset();

  std::map<std::string, Uuid> parents;
  for (const ProjectedProvider& provider : ProjectHost(host)) parents[provider.name] = provider.parent;

  EXPECT_EQ(parents["host1_0000:01:00.0"], host.uuid);
  EXPECT_EQ(parents["host1_0000:03:00.0"], CellProviderUuid(host.uuid, 1));
  EXPECT_TRUE(parents["host1"].is_nil());
}

TEST(Projection, LeavesOutWhatIsNotAssignable) {
  HostReport host = MakeHost();
  for (Device& device : host.devices) device.assignable = device.type == DeviceType::kVf;

  EXPECT_EQ(Inventories(host)["host1_0000:02:00.0"], "CUSTOM_PCI_8086_1889=2");
  EXPECT_FALSE(Inventories(host).contains("host1_0000:01:00.0"));
}

// What CheckClaim allows, the sums allow: over random hosts filled with random claims.
TEST(Projection, ClaimsThatFitExactlyFitTheSums) {
  Random random(11);
  size_t claims = 0;
  for (int round = 0; round < 300; ++round) {
    HostReport host = RandomHost(random);
    HostUsage usage;
    std::map<std::pair<Uuid, std::string>, int64_t> used;
    for (uint8_t n = 0; n < 40; ++n) {
      Claim claim = RandomClaim(random, n);
      for (CellBinding& cell : claim.cells) cell.memory_bytes -= cell.memory_bytes % kMib;
      if (!CheckClaim(host, usage, claim).ok()) continue;
      AddClaim(claim, usage);
      ++claims;
      for (const ProjectedAllocation& p : ProjectClaim(host, claim))
        used[{p.provider, p.resource_class}] += p.amount;
    }
    for (const ProjectedProvider& provider : ProjectHost(host)) {
      for (const auto& [name, inventory] : provider.inventories) {
        auto at = used.find({provider.uuid, name});
        if (at == used.end()) continue;
        ASSERT_LE(static_cast<double>(at->second), inventory.Capacity()) << provider.name << " " << name;
        used.erase(at);
      }
    }
    ASSERT_TRUE(used.empty()) << used.begin()->first.second << " is held and not shown";
  }
  EXPECT_GT(claims, 1000U);
}

}  // namespace
}  // namespace berth::placement
