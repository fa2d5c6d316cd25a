// Seed 002, "PCI tracking in Placement": what becomes of devices and allocations when the hardware or
// device_spec changes between two starts of the agent. Each test is named after the sentence that it holds.
#include <atomic>

#include "compute-agent/service/placement_client.h"
#include "tests/compute-agent/service/small_host.h"

namespace berth::agent {
namespace {

constexpr const char* kCards = "{device_spec: [{vendor_id: \"8086\", product_id: 154d}]}";
constexpr const char* kPfs = "{device_spec: [{vendor_id: \"8086\", product_id: \"1572\"}]}";
constexpr const char* kVfs = "{device_spec: [{vendor_id: \"8086\", product_id: 154c}]}";
constexpr const char* kOnce = "{device_spec: [{vendor_id: \"8086\", product_id: 154d, one_time_use: true}]}";

class Reconfiguration : public SmallHost {
 protected:
  void AddCard(const std::string& address) {
    host_.Device(address).Id("8086", "154d").OnNode(0).Driver("vfio-pci");
  }
  void AddSriovCard() {
    host_.Device("0000:41:00.0").Id("8086", "1572").OnNode(0).Driver("vfio-pci").Vfs(2, "154c", "vfio-pci");
  }
};

TEST_F(Reconfiguration, NewDevicesAreAdded) {
  AddCard("0000:81:00.0");
  ASSERT_EQ(Start(kCards), OkStatus());
  ASSERT_TRUE(AwaitAssignable("0000:81:00.0"));

  AddCard("0000:82:00.0");
  ASSERT_EQ(Start(kCards), OkStatus());

  EXPECT_TRUE(AwaitAssignable("0000:81:00.0 0000:82:00.0"));
}

TEST_F(Reconfiguration, DevicesWithoutAllocationAreRemoved) {
  AddCard("0000:81:00.0");
  AddCard("0000:82:00.0");
  ASSERT_EQ(Start(kCards), OkStatus());
  ASSERT_TRUE(AwaitAssignable("0000:81:00.0 0000:82:00.0"));

  host_.RemoveDevice("0000:81:00.0");
  ASSERT_EQ(Start(kCards), OkStatus());
  ASSERT_TRUE(AwaitAssignable("0000:82:00.0"));
  ASSERT_EQ(Start("{}"), OkStatus());

  EXPECT_TRUE(AwaitAssignable(""));
}

TEST_F(Reconfiguration, IfADeviceHavingAnyAllocationIsRemovedItAndTheAllocationAreKeptAndAWarningIsLogged) {
  AddCard("0000:81:00.0");
  ASSERT_EQ(Start(kCards), OkStatus());
  ASSERT_TRUE(AwaitAssignable("0000:81:00.0"));
  ASSERT_EQ(CreateInstance("vm", "0000:81:00.0"), OkStatus());
  ASSERT_TRUE(AwaitState("vm", v1::INSTANCE_STATE_RUNNING));
  std::vector<pid_t> before = Vms();

  host_.RemoveDevice("0000:81:00.0");
  ASSERT_EQ(Start(kCards), OkStatus());

  EXPECT_TRUE(Await([&] {
    v1::Host host = Host();
    for (const std::string& warning : host.warnings()) {
      if (warning.starts_with("device 0000:81:00.0 is held by instance ") &&
          warning.ends_with(" but not reported: kept"))
        return true;
    }
    return false;
  }));
  EXPECT_EQ(Host().devices_size(), 1);
  EXPECT_EQ(Host().devices(0).consumer(), Claims()[0].consumer());
  EXPECT_EQ(Vms(), before);
  DeleteInstance("vm");
  EXPECT_EQ(Host().devices_size(), 0);
}

TEST_F(Reconfiguration, RefusesToStartIfAnAllocatedPfIsRemovedAndVfsFromTheSamePfIsConfigured) {
  AddSriovCard();
  ASSERT_EQ(Start(kPfs), OkStatus());
  ASSERT_TRUE(AwaitAssignable("0000:41:00.0"));
  ASSERT_EQ(CreateInstance("vm", "0000:41:00.0"), OkStatus());
  ASSERT_TRUE(AwaitState("vm", v1::INSTANCE_STATE_RUNNING));
  std::vector<pid_t> before = Vms();

  Status status = Start(kVfs);
  if (status.ok()) {
    ASSERT_TRUE(Await([&] { return !refused().ok(); }));
    status = refused();
  }

  EXPECT_EQ(status.code(), StatusCode::kFailedPrecondition);
  EXPECT_EQ(status.message(), "the PF 0000:41:00.0 is held by instance " + Claims()[0].consumer() +
                                  " and no longer configured, but its VF 0000:41:02.0 is");
  EXPECT_EQ(Assignable(), "0000:41:00.0");
  EXPECT_EQ(Vms(), before);  // VMs run on, whatever the agent refuses
  EXPECT_EQ(Start(kPfs), OkStatus());
  EXPECT_EQ(refused(), OkStatus());
}

TEST_F(Reconfiguration, OrViceVersa) {
  AddSriovCard();
  ASSERT_EQ(Start(kVfs), OkStatus());
  ASSERT_TRUE(AwaitAssignable("0000:41:02.0 0000:41:02.1"));
  ASSERT_EQ(CreateInstance("vm", "0000:41:02.1"), OkStatus());
  ASSERT_TRUE(AwaitState("vm", v1::INSTANCE_STATE_RUNNING));

  Status status = Start(kPfs);
  if (status.ok()) {
    ASSERT_TRUE(Await([&] { return !refused().ok(); }));
    status = refused();
  }

  EXPECT_EQ(status.message(), "the VF 0000:41:02.1 is held by instance " + Claims()[0].consumer() +
                                  " and no longer configured, but its PF 0000:41:00.0 is");
  EXPECT_EQ(Start(kVfs), OkStatus());
}

TEST_F(Reconfiguration, DevicesOutsideOfTheAddressRangesAreIgnoredWithAWarning) {
  AddCard("0000:81:00.0");
  host_.File("sys/bus/pci/devices/10000:00:00.0/vendor", "0x8086\n");
  host_.File("sys/bus/pci/devices/10000:00:00.0/device", "0x154d\n");

  ASSERT_EQ(Start(kCards), OkStatus());

  EXPECT_TRUE(AwaitAssignable("0000:81:00.0"));
  bool warned = false;
  v1::Host host = Host();
  for (const std::string& warning : host.warnings()) {
    warned = warned || warning.find("10000:00:00.0") != std::string::npos;
  }
  EXPECT_TRUE(warned);
}

// Nova 33: after its allocation only somebody outside may offer the device again.
TEST_F(Reconfiguration, AOneTimeUseDeviceIsWithheldAfterItsInstanceUntilSomebodyCleansIt) {
  AddCard("0000:81:00.0");
  ASSERT_EQ(Start(kOnce), OkStatus());
  ASSERT_TRUE(AwaitAssignable("0000:81:00.0"));
  ASSERT_EQ(CreateInstance("vm", "0000:81:00.0"), OkStatus());
  ASSERT_TRUE(AwaitState("vm", v1::INSTANCE_STATE_RUNNING));

  DeleteInstance("vm");

  EXPECT_EQ(Assignable(), "");  // at once: nobody can have taken it in between
  ASSERT_EQ(Start(kOnce), OkStatus());
  EXPECT_EQ(CreateInstance("vm2", "0000:81:00.0").code(), StatusCode::kFailedPrecondition);
  ASSERT_TRUE(std::filesystem::remove(Path("agent") + "/used-devices/0000:81:00.0"));
  ASSERT_EQ(Start(kOnce), OkStatus());
  EXPECT_TRUE(AwaitAssignable("0000:81:00.0"));
}

TEST_F(Reconfiguration, ExistingInstancesWithPciAllocationsWillHaveACorrespondingAllocationInPlacement) {
  AddCard("0000:81:00.0");
  ASSERT_EQ(Start(kCards), OkStatus());
  ASSERT_TRUE(AwaitAssignable("0000:81:00.0"));
  ASSERT_EQ(CreateInstance("vm", "0000:81:00.0"), OkStatus());
  ASSERT_TRUE(AwaitState("vm", v1::INSTANCE_STATE_RUNNING));
  v1::Claim before = Claims()[0];
  std::vector<pid_t> vms = Vms();
  agent_.reset();
  ASSERT_TRUE(client_->ReleaseClaim("vm").has_value());
  ASSERT_TRUE(client_->FinalizeClaim(before.consumer()).has_value());  // placement has lost the claim
  ASSERT_TRUE(Claims().empty());

  ASSERT_EQ(Start(kCards), OkStatus());

  ASSERT_TRUE(AwaitState("vm", v1::INSTANCE_STATE_RUNNING));
  EXPECT_EQ(Claims()[0].consumer(), before.consumer());
  EXPECT_EQ(Claims()[0].devices(0).address(), "0000:81:00.0");
  EXPECT_EQ(Claims()[0].spec().SerializeAsString(), before.spec().SerializeAsString());
  EXPECT_EQ(Vms(), vms);
}

TEST_F(Reconfiguration, ContinuouslyAndOnlyIfNobodyElseHoldsTheDeviceByThen) {
  const std::string reset = "sys/bus/pci/devices/0000:81:00.0/reset";
  AddCard("0000:81:00.0");
  host_.File(reset, "");
  ASSERT_EQ(Start(kCards), OkStatus());
  ASSERT_TRUE(AwaitAssignable("0000:81:00.0"));
  ASSERT_EQ(CreateInstance("vm", "0000:81:00.0"), OkStatus());
  ASSERT_TRUE(AwaitState("vm", v1::INSTANCE_STATE_RUNNING));
  EXPECT_EQ(ReadFile(host_.path() / reset).value_or(""), "1");
  std::vector<pid_t> vms = Vms();
  agent_.reset();
  ASSERT_TRUE(client_->ReleaseClaim("vm").has_value());
  ASSERT_TRUE(client_->FinalizeClaim(TestClaim("vm", 1, 1).consumer.ToString()).has_value());
  ASSERT_EQ(CreateInstance("thief", "0000:81:00.0"), OkStatus());

  ASSERT_EQ(Start(kCards), OkStatus());  // its files are as they were at first

  // The VM is left alone with its device, which nobody else gets meanwhile, nor touches.
  ASSERT_TRUE(AwaitState("thief", v1::INSTANCE_STATE_BUILDING));
  EXPECT_EQ(Claims().at(0).status().detail(), "it waits: device 0000:81:00.0 is still held by instance " +
                                                  TestClaim("vm", 1, 1).consumer.ToString());
  EXPECT_EQ(Claims().size(), 1u);
  EXPECT_EQ(Vms(), vms);
  EXPECT_EQ(ReadFile(host_.path() / reset).value_or("?"), "");
}

TEST_F(Reconfiguration, VfsAreMadeFromTheConfiguration) {
  host_.Device("0000:41:00.0").Id("8086", "1572").OnNode(0).TotalVfs(4);
  EXPECT_EQ(Start("{sriov: [{address: \"0000:41:00.0\", vfs: 5}]}").ToString(),
            "INVALID_ARGUMENT: sriov: 0000:41:00.0 can have 4 VFs, 5 are configured");
  EXPECT_FALSE(Start("{sriov: [{address: \"0000:41:00\", vfs: 4}]}").ok());

  ASSERT_EQ(Start("{sriov: [{address: \"0000:41:00.0\", vfs: 4}]}"), OkStatus());

  EXPECT_EQ(ReadFile(host_.path().string() + "/sys/bus/pci/devices/0000:41:00.0/sriov_numvfs").value_or(""),
            "4\n");
}

TEST_F(Reconfiguration, AHostThatIsDeletedFromPlacementWhileItsAgentRunsIsReportedAgain) {
  ASSERT_EQ(Start("{}"), OkStatus());
  ASSERT_TRUE(Await([&] { return Host().name() == "host1"; }));
  uint64_t generation = Host().generation();
  v1::DeleteHostRequest request;
  request.set_host(Host().uuid());

  ASSERT_TRUE(client_->Call(&v1::Placement::Stub::DeleteHost, request).has_value());

  EXPECT_TRUE(Await([&] { return Host().generation() > generation; }));
}

// A sink that counts what a watch says of the host.
struct CountingSink final : ClaimSink {
  void OnSnapshot(std::vector<placement::Claim>) override { ++snapshots; }
  void OnClaim(placement::Claim) override {}
  void OnClaimDeleted(const Uuid&) override {}
  void OnHostDeleted() override { ++missing; }
  std::atomic<int> snapshots{0};
  std::atomic<int> missing{0};
};

// No event tells of a deletion that came before the watch.
TEST_F(Reconfiguration, AHostThatPlacementDoesNotHaveWhenItsWatchBeginsIsMissedAtOnce) {
  ASSERT_EQ(Start("{}"), OkStatus());
  ASSERT_TRUE(Await([&] { return Host().name() == "host1"; }));
  CountingSink known, unknown;
  PlacementClient of_known(channel_, *Uuid::Parse(Host().uuid())), of_unknown(channel_, Uuid::Random());

  of_known.StartWatch(known);
  of_unknown.StartWatch(unknown);

  EXPECT_TRUE(Await([&] { return known.snapshots == 1 && unknown.snapshots == 1; }));
  EXPECT_EQ(known.missing, 0);
  EXPECT_EQ(unknown.missing, 1);
  of_known.StopWatch();
  of_unknown.StopWatch();
}

}  // namespace
}  // namespace berth::agent
