#include "scheduler/filters/filter.h"

#include <gtest/gtest.h>

#include "scheduler/request/resolve.h"

namespace berth::scheduler {
namespace {

Aggregate MakeAggregate(const std::string& name, std::vector<std::string> hosts,
                        std::vector<std::pair<std::string, std::string>> metadata = {},
                        const std::string& zone = "") {
  Aggregate out;
  out.name = name;
  out.hosts = std::move(hosts);
  out.metadata = std::move(metadata);
  out.availability_zone = zone;
  return out;
}

class FiltersTest : public ::testing::Test {
 protected:
  // With these filters only, and the aggregates set so far.
  void Use(std::vector<std::string> names) {
    settings_.names = std::move(names);
    auto set = FilterSet::Make(settings_);
    ASSERT_TRUE(set.has_value()) << set.error().ToString();
    set_ = *std::move(set);
    table_ = std::make_unique<FactsTable>(settings_.aggregates, settings_.default_zone);
  }
  // The code of the refusal; "" if the host is kept. Both ways to ask must agree.
  std::string Ask(const RequestSpec& spec, const std::string& host, std::vector<std::string> traits = {},
                  uint32_t instances = 0, bool backing_off = false, std::vector<Uuid> aggregates = {}) {
    HostFactsPtr facts = table_->Of(host, std::move(traits), aggregates);
    FilteredHost one{*facts, instances, backing_off ? 1U : 0U, backing_off};
    auto reason = set_.Refuse(one, spec);
    ClassFilters by_class(set_, spec);
    EXPECT_EQ(by_class.Keeps(one), !reason.has_value());
    EXPECT_EQ(by_class.Keeps(one), !reason.has_value());  // as remembered
    if (reason) {
      EXPECT_NE(reason->text, "");
    }
    return reason ? reason->code : "";
  }
  static RequestSpec SpecOf(Properties extra, Properties image = {}) {
    auto spec = ResolveRequest({"gold", 1, 64, std::move(extra)}, image, {}, {});
    EXPECT_TRUE(spec.has_value()) << spec.error().ToString();
    return *spec;
  }

  FilterSettings settings_;
  FilterSet set_;
  std::unique_ptr<FactsTable> table_;
};

TEST_F(FiltersTest, UnknownNamesAreRefusedWithTheNearestKnownOne) {
  settings_.names = {"traits", "compute_state"};
  auto set = FilterSet::Make(settings_);
  ASSERT_FALSE(set.has_value());
  EXPECT_EQ(set.error().field(), "filters[1]");
  EXPECT_EQ(set.error().hint(), "did you mean \"compute_status\"?");
  settings_.names = {"traits", "traits"};
  EXPECT_FALSE(FilterSet::Make(settings_).has_value());
}

TEST_F(FiltersTest, EveryNameMakesAFilter) {
  settings_.names = FilterSet::Names();
  auto set = FilterSet::Make(settings_);
  ASSERT_TRUE(set.has_value());
  EXPECT_EQ(set->entries().size(), FilterSet::Names().size());
}

TEST_F(FiltersTest, ComputeStatusKeepsHostsThatNobodyTookOut) {
  Use({"compute_status"});
  EXPECT_EQ(Ask({}, "h"), "");
  EXPECT_EQ(Ask({}, "h", {"COMPUTE_STATUS_DISABLED"}), "compute_status");
}

TEST_F(FiltersTest, TraitsKeepHostsWithAllRequiredAndNoneForbidden) {
  Use({"traits"});
  RequestSpec spec = SpecOf({{"trait:HW_CPU_X86_AVX2", "required"}, {"trait:big", "forbidden"}});
  EXPECT_EQ(Ask(spec, "h", {"HW_CPU_X86_AVX2", "CUSTOM_OTHER"}), "");
  EXPECT_EQ(Ask(spec, "h", {"CUSTOM_OTHER"}), "traits");
  EXPECT_EQ(Ask(spec, "h", {"HW_CPU_X86_AVX2", "CUSTOM_BIG"}), "traits");
  EXPECT_EQ(Ask(SpecOf({}), "h"), "");
}

TEST_F(FiltersTest, TraitsOfRequiredForbiddenAndTheImageCountAlike) {
  Use({"traits"});
  RequestSpec spec = SpecOf({{"required", "CUSTOM_A, !CUSTOM_B"}, {"forbidden", "CUSTOM_C"}},
                            {{"trait:CUSTOM_D", "required"}});
  EXPECT_EQ(Ask(spec, "h", {"CUSTOM_A", "CUSTOM_D"}), "");
  EXPECT_EQ(Ask(spec, "h", {"CUSTOM_A"}), "traits");
  EXPECT_EQ(Ask(spec, "h", {"CUSTOM_A", "CUSTOM_D", "CUSTOM_B"}), "traits");
  EXPECT_EQ(Ask(spec, "h", {"CUSTOM_A", "CUSTOM_D", "CUSTOM_C"}), "traits");
}

TEST_F(FiltersTest, AvailabilityZoneIsTheAggregatesOrTheDefaultOne) {
  settings_.aggregates = {MakeAggregate("a", {"n-*"}, {}, "az1")};
  Use({"availability_zone"});
  RequestSpec spec;
  EXPECT_EQ(Ask(spec, "x"), "");
  spec.host.availability_zone = "az1";
  EXPECT_EQ(Ask(spec, "n-7"), "");
  EXPECT_EQ(Ask(spec, "x"), "availability_zone");
  spec.host.availability_zone = "default";
  EXPECT_EQ(Ask(spec, "x"), "");
  EXPECT_EQ(Ask(spec, "n-7"), "availability_zone");
}

TEST_F(FiltersTest, AnAggregateAlsoTakesTheHostsOfThePlacementApisOne) {
  settings_.aggregates = {MakeAggregate("a", {}, {}, "az1")};
  settings_.aggregates[0].uuid = Uuid::FromName(Uuid{}, "aggregate");
  Use({"availability_zone"});
  RequestSpec spec;
  spec.host.availability_zone = "az1";
  EXPECT_EQ(Ask(spec, "h", {}, 0, false, {settings_.aggregates[0].uuid}), "");
  EXPECT_EQ(Ask(spec, "h", {}, 0, false, {Uuid::FromName(Uuid{}, "other")}), "availability_zone");
}

TEST_F(FiltersTest, TenantIsolationKeepsForeignProjectsOut) {
  settings_.aggregates = {MakeAggregate("a", {"h1"}, {{"filter_tenant_id", "red, blue"}}),
                          MakeAggregate("b", {"h1", "h2"}, {{"filter_tenant_id2", "green"}})};
  Use({"tenant_isolation"});
  RequestSpec spec;
  for (auto [project, host, code] :
       std::vector<std::tuple<const char*, const char*, const char*>>{{"red", "h1", ""},
                                                                      {"blue", "h1", ""},
                                                                      {"green", "h1", ""},
                                                                      {"black", "h1", "tenant_isolation"},
                                                                      {"", "h1", "tenant_isolation"},
                                                                      {"red", "h2", "tenant_isolation"},
                                                                      {"green", "h2", ""},
                                                                      {"red", "h3", ""}}) {
    spec.host.project = project;
    EXPECT_EQ(Ask(spec, host), code) << project << " on " << host;
  }
}

TEST_F(FiltersTest, ExclusiveTenantsGoNowhereElse) {
  settings_.aggregates = {
      MakeAggregate("a", {"h1"}, {{"exclusive_tenant", "true"}, {"filter_tenant_id", "red"}})};
  Use({"tenant_isolation"});
  RequestSpec spec;
  spec.host.project = "red";
  EXPECT_EQ(Ask(spec, "h1"), "");
  EXPECT_EQ(Ask(spec, "h2"), "tenant_isolation");
}

TEST_F(FiltersTest, AggregateSpecsAreMetBySomeAggregateOfTheHost) {
  settings_.aggregates = {MakeAggregate("a", {"h1", "h2"}, {{"ssd", "true"}}),
                          MakeAggregate("b", {"h2"}, {{"cores", "64"}})};
  Use({"aggregate_specs"});
  EXPECT_EQ(Ask(SpecOf({{"aggregate_instance_extra_specs:ssd", "true"}}), "h1"), "");
  EXPECT_EQ(Ask(SpecOf({{"aggregate_instance_extra_specs:ssd", "true"}}), "h3"), "aggregate_specs");
  RequestSpec both = SpecOf({{"aggregate_instance_extra_specs:ssd", "<or> yes <or> true"},
                             {"aggregate_instance_extra_specs:cores", ">= 32"}});
  EXPECT_EQ(Ask(both, "h1"), "aggregate_specs");
  EXPECT_EQ(Ask(both, "h2"), "");
  EXPECT_EQ(Ask(SpecOf({{"aggregate_instance_extra_specs:cores", ">= 65"}}), "h2"), "aggregate_specs");
}

TEST_F(FiltersTest, FlavorAffinityKeepsOtherFlavorsOut) {
  settings_.aggregates = {MakeAggregate("a", {"h1"}, {{"instance_type", "gold,silver"}}),
                          MakeAggregate("b", {"h2"}, {{"instance_type", "bronze"}})};
  Use({"flavor_affinity"});
  RequestSpec gold = SpecOf({});
  EXPECT_EQ(Ask(gold, "h1"), "");
  EXPECT_EQ(Ask(gold, "h2"), "flavor_affinity");
  EXPECT_EQ(Ask(gold, "h3"), "");
}

TEST_F(FiltersTest, ImagePropertiesKeepHostsThatCanRunTheImage) {
  Use({"image_properties"});
  RequestSpec arm = SpecOf({}, {{"hw_architecture", "aarch64"}});
  EXPECT_EQ(Ask(arm, "h"), "image_properties");
  EXPECT_EQ(Ask(arm, "h", {"COMPUTE_ARCH_AARCH64"}), "");
  RequestSpec x86 = SpecOf({}, {{"architecture", "x86_64"}});
  EXPECT_EQ(Ask(x86, "h"), "");
  EXPECT_EQ(Ask(x86, "h", {"COMPUTE_ARCH_AARCH64"}), "image_properties");
  EXPECT_EQ(Ask(SpecOf({}, {{"img_hv_type", "kvm"}}), "h"), "");
  EXPECT_EQ(Ask(SpecOf({}, {{"img_hv_type", "xen"}}), "h"), "image_properties");
}

TEST_F(FiltersTest, ImageIsolationHoldsImagesToTheMetadataOfTheHostsAggregates) {
  settings_.aggregates = {MakeAggregate("a", {"h1"}, {{"os_distro", "windows"}})};
  Use({"image_isolation"});
  EXPECT_EQ(Ask(SpecOf({}, {{"os_distro", "windows"}}), "h1"), "");
  EXPECT_EQ(Ask(SpecOf({}, {{"os_distro", "debian"}}), "h1"), "image_isolation");
  EXPECT_EQ(Ask(SpecOf({}, {{"os_distro", "debian"}}), "h2"), "");
  EXPECT_EQ(Ask(SpecOf({}, {{"os_version", "12"}}), "h1"), "");
}

TEST_F(FiltersTest, InstancesPerHostHasALimitThatAggregatesMayChange) {
  settings_.max_instances_per_host = 3;
  settings_.aggregates = {MakeAggregate("a", {"h1"}, {{"max_instances_per_host", "5"}}),
                          MakeAggregate("b", {"h1"}, {{"max_instances_per_host", "2"}})};
  Use({"instances_per_host"});
  EXPECT_EQ(Ask({}, "h", {}, 2), "");
  EXPECT_EQ(Ask({}, "h", {}, 3), "instances_per_host");
  EXPECT_EQ(Ask({}, "h1", {}, 1), "");
  EXPECT_EQ(Ask({}, "h1", {}, 2), "instances_per_host");  // the least of the aggregates'
}

TEST_F(FiltersTest, BuildBackoffKeepsHostsThatDoNotRest) {
  settings_.backoff_first_s = 60;
  Use({"build_backoff"});
  EXPECT_EQ(Ask({}, "h"), "");
  EXPECT_EQ(Ask({}, "h", {}, 0, true), "build_backoff");
}

TEST_F(FiltersTest, HostsOfWhichTheSameIsKnownShareTheirFacts) {
  settings_.aggregates = {MakeAggregate("a", {"n*"})};
  Use({"traits"});
  HostFactsPtr one = table_->Of("n1", {"B", "A", "A"}, {});
  EXPECT_EQ(one, table_->Of("n2", {"A", "B"}, {}));
  EXPECT_NE(one, table_->Of("x", {"A", "B"}, {}));
  EXPECT_NE(one, table_->Of("n2", {"A"}, {}));
}

TEST_F(FiltersTest, PropertiesThatNoFilterReadsMakeNoClass) {
  settings_.aggregates = {MakeAggregate("a", {"n*"}, {{"os_distro", "x"}})};
  Use(FilterSet::Names());
  RequestSpec one = SpecOf({}, {{"os_distro", "x"}, {"os_version", "1"}});
  RequestSpec other = SpecOf({}, {{"os_distro", "x"}, {"os_version", "2"}});
  EXPECT_NE(one, other);
  set_.Simplify(one);
  set_.Simplify(other);
  EXPECT_EQ(one, other);
  EXPECT_EQ(one.host.image, (HostRules::Values{{"os_distro", "x"}}));
}

TEST(MatchesPattern, StarsStandForAnyCharacters) {
  EXPECT_TRUE(MatchesPattern("node-1", "node-1"));
  EXPECT_TRUE(MatchesPattern("node-1", "*"));
  EXPECT_TRUE(MatchesPattern("node-1", "n*-*"));
  EXPECT_TRUE(MatchesPattern("", "*"));
  EXPECT_FALSE(MatchesPattern("node-1", "node"));
  EXPECT_FALSE(MatchesPattern("node-1", "n*-2"));
  EXPECT_FALSE(MatchesPattern("node-1", ""));
  EXPECT_FALSE(MatchesPattern(std::string(10000, 'a'), "*a*a*a*a*a*b"));
}

}  // namespace
}  // namespace berth::scheduler
