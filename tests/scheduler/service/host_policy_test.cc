#include "scheduler/service/host_policy.h"

#include <gtest/gtest.h>

namespace berth::scheduler {
namespace {

TEST(HostPolicy, NothingWrittenIsAllFiltersAndTheBuiltInOrder) {
  auto policy = ParsePolicy("", "scheduler.yaml");
  ASSERT_TRUE(policy.has_value()) << policy.error().ToString();
  EXPECT_EQ(policy->filters.entries().size(), FilterSet::Names().size());
  EXPECT_TRUE(policy->weighers.empty());
  EXPECT_EQ(policy->settings.max_instances_per_host, 0u);
}

TEST(HostPolicy, EveryKeyIsRead) {
  auto policy = ParsePolicy(R"(
filters: [compute_status, traits]
weighers: {ram: 1.5, pci: -2}
max_instances_per_host: 40
build_backoff: {first_seconds: 30, longest_seconds: 600}
default_availability_zone: nova
aggregates:
  - name: gpu
    uuid: 8d1b7a3e-3e9f-4a1c-9e57-0a8f0d0c1b2a
    availability_zone: az1
    hosts: [node-1, "gpu-*"]
    metadata: {ssd: true, filter_tenant_id: "red,blue"}
)",
                            "scheduler.yaml");
  ASSERT_TRUE(policy.has_value()) << policy.error().ToString();
  ASSERT_EQ(policy->filters.entries().size(), 2u);
  EXPECT_EQ(policy->filters.entries()[1].name, "traits");
  EXPECT_FALSE(policy->weighers.empty());
  EXPECT_EQ(policy->settings.max_instances_per_host, 40u);
  EXPECT_EQ(policy->settings.backoff_first_s, 30u);
  EXPECT_EQ(policy->settings.backoff_longest_s, 600u);
  EXPECT_EQ(policy->settings.default_zone, "nova");
  ASSERT_EQ(policy->settings.aggregates.size(), 1u);
  EXPECT_EQ(policy->settings.aggregates[0].hosts[1], "gpu-*");
  EXPECT_EQ(*policy->settings.aggregates[0].Find("ssd"), "true");
  EXPECT_EQ(policy->settings.aggregates[0].Find("hdd"), nullptr);
}

TEST(HostPolicy, AllErrorsAreToldAtOnceWithTheirPlaces) {
  auto policy = ParsePolicy(R"(filters: [traits, trait]
weighers: {rma: 1}
max_instances_per_host: -1
aggregates:
  - {hosts: [a]}
  - {name: x, uuid: nonsense}
  - {name: y, hosts: a, metadata: b}
build_backoff: {fist_seconds: 1, last_seconds: 2}
zone: a
limits: b
)",
                            "scheduler.yaml");
  ASSERT_FALSE(policy.has_value());
  const std::string text = policy.error().message();
  for (const char* part :
       {"scheduler.yaml:1: filters[1]: filter \"trait\" is unknown (did you mean \"traits\"?)",
        "scheduler.yaml:2: weighers.rma: weigher \"rma\" is unknown (did you mean \"ram\"?)",
        "max_instances_per_host", "aggregates[0].name: is missing or empty", "aggregates[1].uuid",
        "aggregates[2].hosts: must be a list", "aggregates[2].metadata: must be a map",
        "build_backoff.fist_seconds", "build_backoff.last_seconds", "zone: unknown key",
        "limits: unknown key"}) {
    EXPECT_NE(text.find(part), std::string::npos) << part << " is missing in:\n" << text;
  }
}

TEST(HostPolicy, AFolderWithoutFileHasTheDefaults) {
  EXPECT_TRUE(LoadPolicy("/nonexistent").has_value());
}

}  // namespace
}  // namespace berth::scheduler
