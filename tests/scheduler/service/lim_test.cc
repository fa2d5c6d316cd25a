// Failures of Nova's scheduler that concern more than one host or more than one request: ours must be right.
// Numbers as in the list that docs/scheduling.md names; the others are in tests/scheduler/whatif and fit.
#include <memory>

#include <gtest/gtest.h>

#include "scheduler/service/advisor.h"
#include "scheduler/service/scheduler.h"
#include "tests/scheduler/service/fake_placement.h"

namespace berth::scheduler {
namespace {

constexpr const char* kCatalogue = R"(
aliases:
  - {name: vf, vendor_id: "8086", product_id: "154c", device_type: type-VF, numa_policy: preferred}
flavors:
  - {name: tiny, vcpus: 1, memory_mib: 64}
  - name: near
    vcpus: 1
    memory_mib: 64
    extra_specs: {hw:numa_nodes: 1, hw:pci_numa_affinity_policy: required, pci_passthrough:alias: "vf:1"}
  - name: plain
    vcpus: 1
    memory_mib: 64
    extra_specs: {hw:pci_numa_affinity_policy: required, pci_passthrough:alias: "vf:1"}
  - {name: cells2, vcpus: 4, memory_mib: 64, extra_specs: {hw:cpu_policy: dedicated, hw:numa_nodes: 2}}
  - {name: traits, vcpus: 1, memory_mib: 64}
)";

class LimTest : public ::testing::Test {
 protected:
  void Start() { scheduler_ = Another(); }
  std::unique_ptr<Scheduler> Another() {
    auto catalogue = ParseCatalogue(kCatalogue, "test.yaml");
    EXPECT_TRUE(catalogue.has_value()) << catalogue.error().ToString();
    return std::make_unique<Scheduler>(std::make_shared<const Catalogue>(*std::move(catalogue)), placement_,
                                       metrics_, [] { return uint64_t{1}; });
  }
  static InstanceRequest Request(const std::string& name, const std::string& flavor) {
    InstanceRequest request;
    request.name = name;
    request.flavor = flavor;
    return request;
  }

  FakePlacement placement_;
  MetricsRegistry metrics_;
  std::unique_ptr<Scheduler> scheduler_;
};

// Nova changes the guest topology while it looks at one candidate and goes on with the changed one.
TEST_F(LimTest, Lim08WhatOneHostSaysHasNoInfluenceOnTheNext) {
  for (int i = 0; i < 3; ++i) placement_.ReportHost(MakeHost("small" + std::to_string(i), 2, 1));
  placement_.ReportHost(MakeHost("z-fits", 2, 4));
  Start();
  auto spec = scheduler_->Resolve(Request("vm", "cells2"));
  ASSERT_TRUE(spec.has_value());
  const RequestSpec before = *spec;
  auto fleet = scheduler_->mirror().Snapshot();
  Decision all = Decide(*fleet, *spec, "", true);
  EXPECT_EQ(*spec, before);
  Decision alone = Decide(*fleet, *spec, "z-fits", true);
  ASSERT_TRUE(all.choice && alone.choice);
  EXPECT_EQ(all.choice->assignment, alone.choice->assignment);
  EXPECT_EQ(all.fitting, std::vector<std::string>{"z-fits"});
}

// Nova's scheduler workers do not see each other's picks; the last device is taken twice, and one server ends
// in ERROR after its retries.
TEST_F(LimTest, Lim10TheLastDeviceGoesToOneAndTheOtherIsToldWhatIsMissing) {
  placement::HostReport host = MakeHost("h", 1, 0);
  AddVfs(host, 0x10, 1, 0);
  placement_.ReportHost(host);
  Start();
  auto other = Another();
  placement_.HoldEvents(true);
  InstanceAnswer first = scheduler_->Create(Request("a", "near"));
  InstanceAnswer second = other->Create(Request("b", "near"));
  EXPECT_TRUE(first.status.ok()) << first.status.ToString();
  EXPECT_EQ(second.status.code(), StatusCode::kResourceExhausted);
  ASSERT_EQ(second.decision.refusals.size(), 1u);
  EXPECT_EQ(second.decision.refusals[0].reason.code, "devices");
  EXPECT_EQ(placement_.Claims().size(), 1u);
  placement_.HoldEvents(false);
}

// Nova: "There are not enough hosts available".
TEST_F(LimTest, Lim11ARefusalNamesForEveryHostWhatIsMissing) {
  placement_.ReportHost(MakeHost("a", 1, 0));
  placement::HostReport b = MakeHost("b", 2, 0);
  AddVfs(b, 0x10, 1, 5);  // on a node that the host does not have
  placement_.ReportHost(b);
  Start();
  InstanceAnswer answer = scheduler_->Create(Request("vm", "near"));
  ASSERT_EQ(answer.decision.refusals.size(), 2u);
  EXPECT_EQ(answer.decision.refusals[0].reason.code, "devices");
  EXPECT_EQ(answer.decision.refusals[0].reason.have, "0");
  EXPECT_EQ(answer.decision.refusals[0].reason.need, "1");
  EXPECT_EQ(answer.decision.refusals[1].reason.code, "pci_numa");
  EXPECT_EQ(answer.status.message(), "no host fits: devices 1, pci_numa 1");
}

// Nova ignores `required` without a guest NUMA topology and says nothing.
TEST_F(LimTest, Lim13APolicyWithoutEffectIsSaidToHaveNone) {
  placement::HostReport host = MakeHost("h", 1, 0);
  AddVfs(host, 0x10, 1, 7);
  placement_.ReportHost(host);
  Start();
  Question question;
  question.flavor = "plain";
  auto explained = Advisor(*scheduler_).Explain(question, false);
  ASSERT_TRUE(explained.has_value()) << explained.error().ToString();
  EXPECT_EQ(explained->reasons.fitting, 1u);  // R1: as Nova answers
  ASSERT_EQ(explained->notes.size(), 1u);
  EXPECT_NE(explained->notes[0].find("policy required of \"vf\" has no effect"), std::string::npos);
}

// With hw_viommu_model Nova's image filter drops every trait of the image, and the flavor's form is not
// looked at when the host is chosen.
TEST_F(LimTest, Lim19TheViommuModelCountsFromFlavorAndImageAndKeepsTheImagesTraits) {
  placement_.ReportHost(MakeHost("a", 1, 0));
  placement_.ReportHost(MakeHost("b", 1, 0));
  placement_.ReportHost(MakeHost("c", 1, 0));
  auto id = [](const char* name) { return Uuid::FromName(Uuid{}, name); };
  placement_.SetFacts(id("a"), {"COMPUTE_VIOMMU_MODEL_INTEL", "HW_CPU_X86_AVX2"});
  placement_.SetFacts(id("b"), {"COMPUTE_VIOMMU_MODEL_VIRTIO"});
  placement_.SetFacts(id("c"), {"COMPUTE_VIOMMU_MODEL_VIRTIO", "HW_CPU_X86_AVX2"});
  Start();
  InstanceRequest request = Request("vm", "tiny");
  request.image_properties = {{"hw_viommu_model", "virtio"}, {"trait:HW_CPU_X86_AVX2", "required"}};
  InstanceAnswer answer = scheduler_->Create(request);
  ASSERT_TRUE(answer.status.ok()) << answer.status.ToString();
  EXPECT_EQ(answer.host_name, "c");
  RequestSpec of_flavor = *ResolveRequest({"f", 1, 64, {{"hw:viommu_model", "virtio"}}}, {}, {}, {});
  RequestSpec of_image = *ResolveRequest({"f", 1, 64, {}}, {{"hw_viommu_model", "virtio"}}, {}, {});
  EXPECT_EQ(of_flavor.viommu, of_image.viommu);
}

// Nova resolves alias requests of a resize without the flavor's policy. Ours have one way to be resolved.
TEST_F(LimTest, Lim20TheFlavorsPolicyHoldsHoweverOftenTheRequestIsResolved) {
  placement::HostReport host = MakeHost("h", 2, 0);
  AddVfs(host, 0x10, 4, 1);
  placement_.ReportHost(host);
  Start();
  auto spec = scheduler_->Resolve(Request("vm", "near"));
  ASSERT_TRUE(spec.has_value());
  ASSERT_EQ(spec->pci.size(), 1u);
  EXPECT_EQ(spec->pci[0].policy, AffinityPolicy::kRequired);  // not the alias's "preferred"
  EXPECT_EQ(*spec, *scheduler_->Resolve(Request("vm", "near")));
  InstanceAnswer answer = scheduler_->Create(Request("vm", "near"));
  ASSERT_TRUE(answer.status.ok());
  EXPECT_EQ(answer.claim->cells[0].host_cell, 1u);  // beside its device
}

}  // namespace
}  // namespace berth::scheduler
