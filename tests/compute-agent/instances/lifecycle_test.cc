// What clients ask of instances that exist: done, kept over the agent's end, and nothing of it is lost.
#include <algorithm>
#include <csignal>
#include <fstream>
#include <thread>

#include "common/file.h"
#include "compute-agent/images/image_store.h"
#include "compute-agent/instances/vmm_client.h"
#include "tests/compute-agent/instances/reconciler_fixture.h"
#include "tests/compute-agent/sriov/fake_vf_links.h"

namespace berth::agent {
namespace {

// A VF 0000:41:02.0 of the PF pf0, at vfio-pci from boot on, in the tree below `root`.
struct PortOnBus {
  static constexpr PciAddress kVf{0, 0x41, 2, 0};

  explicit PortOnBus(const std::filesystem::path& root) {
    namespace fs = std::filesystem;
    const fs::path devices = root / "sys/bus/pci/devices", drivers = root / "sys/bus/pci/drivers";
    fs::create_directories(devices / "0000:41:00.0/net/pf0");
    fs::create_directories(devices / kVf.ToString());
    fs::create_directories(drivers / "vfio-pci");
    fs::create_symlink(drivers / "vfio-pci", devices / kVf.ToString() / "driver");
    fs::create_symlink("../0000:41:00.0", devices / kVf.ToString() / "physfn");
    fs::create_symlink("../" + kVf.ToString(), devices / "0000:41:00.0/virtfn0");
    links.Add("pf0", 0, {testing::FakeVfLinks::kDrivers, 0, false, true});
  }
  static berth::placement::Claim Claim(const std::string& name, uint16_t vlan) {
    berth::placement::Claim claim = TestClaim(name, 1, 2 * kMi);
    claim.devices.push_back({0, kVf, "port", 0, {.vlan = vlan}, false});
    return claim;
  }
  // On the reconciler's thread, or when it has none.
  uint16_t Vlan() const { return links.At("pf0", 0).vlan.value_or(0); }

  testing::FakeVfLinks links;
};

class LifecycleTest : public ReconcilerTest {
 protected:
  Claim Run(const std::string& words = "") {
    Claim claim = With(words);
    Put(claim);
    EXPECT_TRUE(placement_.AwaitState(claim.consumer, InstanceState::kRunning));
    return claim;
  }
  void Restart() {
    reconciler_.reset();
    Open();
  }
  VmmInfo InfoOf(const Claim& claim) const {
    Result<VmmInfo> info = VmmClient(FolderOf(claim) / "api.sock", kPatience).Info();
    EXPECT_TRUE(info.has_value()) << info.error().ToString();
    return info.value_or(VmmInfo{});
  }
  InstanceRecord RecordOf(const Claim& claim) const {
    return (*RecordStore::Open(options_.state_dir + "/agent.db"))
        ->Load(claim.consumer)
        .value_or(InstanceRecord{});
  }
  // From now on nothing can be saved of the instance, or only what is `but` (SQL over `record`).
  void RefuseToSave(const Claim& claim, const std::string& but = "0") const {
    Execute("CREATE TRIGGER refuse BEFORE INSERT ON instance_records WHEN NEW.consumer = '" +
            claim.consumer.ToString() + "' AND NOT (" + but +
            ") BEGIN SELECT RAISE(ABORT, 'there is no room'); END");
  }
  void SaveAgain() const { Execute("DROP TRIGGER refuse"); }
  void Execute(const std::string& sql) const {
    auto connection = *db::Connection::Open(options_.state_dir + "/agent.db");
    ASSERT_EQ(connection->Execute("PRAGMA busy_timeout=10000"), OkStatus());
    ASSERT_EQ(connection->Execute(sql.c_str()), OkStatus());
  }
  template <class Condition>
  bool Await(Condition condition) const {
    auto deadline = std::chrono::steady_clock::now() + kPatience;
    while (!condition()) {
      if (std::chrono::steady_clock::now() > deadline) return false;
      std::this_thread::sleep_for(std::chrono::milliseconds(5));  // of another process: nothing tells
    }
    return true;
  }
  // The process that takes the place of `first`; 0 where none comes. Asks once a turn: between two questions
  // the old one may end.
  pid_t AwaitNextPid(const Claim& claim, pid_t first) const {
    pid_t next = 0;
    const bool came = Await([&] {
      next = PidOf(claim);
      return next > 0 && next != first;
    });
    return came ? next : 0;
  }
  std::string Image(const std::string& name) const {
    std::string path = folder_.path() / name;
    std::ofstream(path) << "disk";
    return path;
  }
};

TEST_F(LifecycleTest, AStoppedInstanceKeepsItsClaimAndStartsAgainWhenAsked) {
  Claim claim = Run();
  pid_t first = PidOf(claim);

  ASSERT_EQ(reconciler_->Act(claim.consumer, Action::kStop), OkStatus());

  EXPECT_TRUE(placement_.AwaitState(claim.consumer, InstanceState::kStopped));
  EXPECT_EQ(placement_.Detail(claim.consumer), "stopped on request");
  EXPECT_FALSE(placement_.IsFinalized(claim.consumer));
  EXPECT_TRUE(std::filesystem::exists(FolderOf(claim)));
  EXPECT_NE(::kill(first, 0), 0);

  ASSERT_EQ(reconciler_->Act(claim.consumer, Action::kStart), OkStatus());
  EXPECT_TRUE(placement_.AwaitState(claim.consumer, InstanceState::kRunning));
  EXPECT_NE(PidOf(claim), first);
}

TEST_F(LifecycleTest, AStoppedInstanceStaysStoppedOverTheAgentsEndAndWhateverThePolicySays) {
  options_.policy.restart = Restart::kAlways;
  Claim claim = Run();
  ASSERT_EQ(reconciler_->Act(claim.consumer, Action::kStop), OkStatus());
  Restart();
  EXPECT_TRUE(placement_.AwaitState(claim.consumer, InstanceState::kStopped));
  EXPECT_EQ(PidOf(claim), 0);
}

TEST_F(LifecycleTest, AnInstanceThatIsStoppedBeforeItBeganNeverRuns) {
  Open();
  Claim claim = With("");
  ASSERT_EQ(reconciler_->Act(claim.consumer, Action::kStop).code(), StatusCode::kNotFound);
  claim.spec.cmdline = "fake_no_api";  // so that it is on its way for as long as it takes
  Put(claim);
  ASSERT_TRUE(placement_.AwaitState(claim.consumer, InstanceState::kBuilding));
  ASSERT_EQ(reconciler_->Act(claim.consumer, Action::kStop), OkStatus());
  EXPECT_TRUE(placement_.AwaitState(claim.consumer, InstanceState::kStopped));
}

TEST_F(LifecycleTest, AFailedInstanceIsStartedAgainWhenAsked) {
  Claim claim = With("fake_exit=3");
  Put(claim);
  ASSERT_TRUE(placement_.AwaitState(claim.consumer, InstanceState::kFailed));
  claim.spec.cmdline = "";
  reconciler_->PutClaim(claim);
  ASSERT_EQ(reconciler_->Act(claim.consumer, Action::kStart), OkStatus());
  EXPECT_TRUE(placement_.AwaitState(claim.consumer, InstanceState::kRunning));
}

TEST_F(LifecycleTest, ARebootIsANewProcessAndAResetIsNone) {
  Claim claim = Run();
  pid_t first = PidOf(claim);
  ASSERT_EQ(reconciler_->Act(claim.consumer, Action::kReset), OkStatus());
  EXPECT_TRUE(Await([&] { return !RecordOf(claim).reset; }));
  EXPECT_EQ(PidOf(claim), first);

  ASSERT_EQ(reconciler_->Act(claim.consumer, Action::kReboot), OkStatus());

  const pid_t second = AwaitNextPid(claim, first);
  EXPECT_GT(second, 0);
  // The process is there before the record says that it answers.
  EXPECT_TRUE(Await([&] { return !RecordOf(claim).reboot; }));
  EXPECT_TRUE(placement_.AwaitState(claim.consumer, InstanceState::kRunning));
  EXPECT_EQ(PidOf(claim), second);
}

TEST_F(LifecycleTest, AGuestThatIgnoresThePowerButtonIsRebootedAllTheSame) {
  Claim claim = Run("fake_stubborn");
  pid_t first = PidOf(claim);
  ASSERT_EQ(reconciler_->Act(claim.consumer, Action::kReboot), OkStatus());
  EXPECT_GT(AwaitNextPid(claim, first), 0);
}

TEST_F(LifecycleTest, PausedIsPausedOverTheAgentsEndAndResumedWhenAsked) {
  Claim claim = Run();
  ASSERT_EQ(reconciler_->Act(claim.consumer, Action::kPause), OkStatus());
  EXPECT_TRUE(placement_.AwaitState(claim.consumer, InstanceState::kPaused));
  EXPECT_EQ(InfoOf(claim).state, "Paused");
  EXPECT_EQ(reconciler_->Act(claim.consumer, Action::kReboot).code(), StatusCode::kFailedPrecondition);

  placement_.Forget(claim.consumer);
  Restart();
  EXPECT_TRUE(placement_.AwaitState(claim.consumer, InstanceState::kPaused));

  ASSERT_EQ(reconciler_->Act(claim.consumer, Action::kResume), OkStatus());
  EXPECT_TRUE(placement_.AwaitState(claim.consumer, InstanceState::kRunning));
  EXPECT_EQ(InfoOf(claim).state, "Running");
}

TEST_F(LifecycleTest, APausedInstanceIsShutDownByItsPowerButton) {
  options_.shutdown_timeout = kPatience;  // so that nothing else can have ended it
  Claim claim = Run();
  ASSERT_EQ(reconciler_->Act(claim.consumer, Action::kPause), OkStatus());
  ASSERT_TRUE(placement_.AwaitState(claim.consumer, InstanceState::kPaused));
  ASSERT_EQ(reconciler_->Act(claim.consumer, Action::kStop), OkStatus());
  EXPECT_TRUE(placement_.AwaitState(claim.consumer, InstanceState::kStopped));
}

TEST_F(LifecycleTest, AVmmThatIsTooBusyToAnswerIsAskedAgainToShutDown) {
  options_.shutdown_timeout = kPatience;  // so that nothing else can have ended it
  const Claim claim = Run("fake_slow_button");
  ASSERT_EQ(reconciler_->Act(claim.consumer, Action::kStop), OkStatus());
  ASSERT_TRUE(placement_.AwaitState(claim.consumer, InstanceState::kStopped));
  EXPECT_EQ(ReadFile(FolderOf(claim) / "vmm.log").value_or(""), "fake_vmm: the power button was pressed\n");
}

TEST_F(LifecycleTest, WhatNeedsARunningMachineIsRefusedWithoutOne) {
  Claim claim = Run();
  ASSERT_EQ(reconciler_->Act(claim.consumer, Action::kStop), OkStatus());
  ASSERT_TRUE(placement_.AwaitState(claim.consumer, InstanceState::kStopped));
  for (Action action : {Action::kReboot, Action::kReset, Action::kPause, Action::kResume}) {
    Status refused = reconciler_->Act(claim.consumer, action);
    EXPECT_EQ(refused.code(), StatusCode::kFailedPrecondition);
    EXPECT_EQ(refused.message(), "the instance has no VM that runs: STOPPED");
  }
  EXPECT_EQ(reconciler_->Act(claim.consumer, Action::kStop), OkStatus());
}

TEST_F(LifecycleTest, ADiskComesToARunningGuestStaysOverAStopAndLeaves) {
  Claim claim = Run();
  DiskAttachment disk{"data", Image("data.raw"), true, false, "S1", false};
  ASSERT_EQ(reconciler_->AttachDisk(claim.consumer, disk), OkStatus());
  ASSERT_EQ(reconciler_->AttachDisk(claim.consumer, disk), OkStatus());
  EXPECT_TRUE(Await([&] { return InfoOf(claim).devices.contains("vol-data"); }));
  DiskAttachment other = disk;
  other.path = Image("other.raw");
  EXPECT_EQ(reconciler_->AttachDisk(claim.consumer, other).code(), StatusCode::kAlreadyExists);

  ASSERT_EQ(reconciler_->Act(claim.consumer, Action::kStop), OkStatus());
  ASSERT_TRUE(placement_.AwaitState(claim.consumer, InstanceState::kStopped));
  ASSERT_EQ(reconciler_->Act(claim.consumer, Action::kStart), OkStatus());
  ASSERT_TRUE(placement_.AwaitState(claim.consumer, InstanceState::kRunning));
  EXPECT_TRUE(InfoOf(claim).devices.contains("vol-data"));

  ASSERT_EQ(reconciler_->DetachDisk(claim.consumer, "data"), OkStatus());
  EXPECT_TRUE(Await([&] { return RecordOf(claim).disks.empty(); }));
  EXPECT_FALSE(InfoOf(claim).devices.contains("vol-data"));
  EXPECT_EQ(reconciler_->DetachDisk(claim.consumer, "data").code(), StatusCode::kNotFound);
}

TEST_F(LifecycleTest, ADryRunSaysWhatWouldBeAcceptedAndChangesNothing) {
  Claim claim = Run();
  const DiskAttachment disk{"data", Image("data.raw"), true, false, "S1", false};
  const InstanceRecord before = RecordOf(claim);
  const pid_t pid = PidOf(claim);
  for (Action action : {Action::kStop, Action::kStart, Action::kReboot, Action::kReset, Action::kPause}) {
    EXPECT_EQ(reconciler_->Act(claim.consumer, action, /*dry_run=*/true), OkStatus());
  }
  EXPECT_EQ(reconciler_->AttachDisk(claim.consumer, disk, /*dry_run=*/true), OkStatus());
  EXPECT_EQ(reconciler_->DetachDisk(claim.consumer, "data", /*dry_run=*/true).code(), StatusCode::kNotFound);
  EXPECT_EQ(RecordOf(claim), before);
  EXPECT_EQ(PidOf(claim), pid);

  ASSERT_EQ(reconciler_->AttachDisk(claim.consumer, disk), OkStatus());
  EXPECT_TRUE(Await([&] { return InfoOf(claim).devices.contains("vol-data"); }));
  DiskAttachment other = disk;
  other.path = Image("other.raw");
  EXPECT_EQ(reconciler_->AttachDisk(claim.consumer, other, true).code(), StatusCode::kAlreadyExists);
  EXPECT_EQ(reconciler_->DetachDisk(claim.consumer, "data", true), OkStatus());
  EXPECT_FALSE(RecordOf(claim).disks.at(0).leaving);

  ASSERT_EQ(reconciler_->Act(claim.consumer, Action::kStop), OkStatus());
  ASSERT_TRUE(placement_.AwaitState(claim.consumer, InstanceState::kStopped));
  EXPECT_EQ(reconciler_->Act(claim.consumer, Action::kPause, true).code(), StatusCode::kFailedPrecondition);
  EXPECT_EQ(reconciler_->Act(claim.consumer, Action::kStart, true), OkStatus());
  EXPECT_EQ(RecordOf(claim).goal, Goal::kStopped);
}

TEST_F(LifecycleTest, ADryRunOfAnInstanceThatIsNotHereLeavesNothing) {
  Open();
  const Claim claim = With("");
  EXPECT_EQ(reconciler_->Act(claim.consumer, Action::kStart, true).code(), StatusCode::kNotFound);
  EXPECT_FALSE(std::filesystem::exists(FolderOf(claim)));
}

TEST_F(LifecycleTest, ADiskThatTheVmmRefusesIsToldAndNotKept) {
  Claim claim = Run();
  ASSERT_EQ(reconciler_->AttachDisk(claim.consumer, {"gone", "/nonexistent/disk", false, false, "", false}),
            OkStatus());
  EXPECT_TRUE(placement_.AwaitDetail(claim.consumer, "disk \"gone\" was not attached: vm.add-disk: 400"));
  EXPECT_TRUE(RecordOf(claim).disks.empty());

  ASSERT_EQ(reconciler_->AttachDisk(claim.consumer, {"d", Image("d"), false, false, "", false}), OkStatus());
  EXPECT_TRUE(Await([&] { return RecordOf(claim).note.empty(); }))
      << "that is past: " << RecordOf(claim).note;
}

TEST_F(LifecycleTest, ADiskThatTheGuestKeepsIsLeavingUntilTheMachineEnds) {
  Claim claim = Run("fake_keeps");
  ASSERT_EQ(reconciler_->AttachDisk(claim.consumer, {"d", Image("d"), false, false, "", false}), OkStatus());
  ASSERT_TRUE(Await([&] { return InfoOf(claim).devices.contains("vol-d"); }));
  ASSERT_EQ(reconciler_->DetachDisk(claim.consumer, "d"), OkStatus());
  placement_.Forget(claim.consumer);  // before anybody can tell it anew
  Restart();
  auto runtime = reconciler_->Runtime(claim.consumer);
  ASSERT_TRUE(runtime.has_value());
  ASSERT_EQ(runtime->disks.size(), 1u);
  EXPECT_TRUE(runtime->disks[0].leaving);

  ASSERT_TRUE(placement_.AwaitState(claim.consumer, InstanceState::kRunning));
  ASSERT_EQ(reconciler_->Act(claim.consumer, Action::kReboot), OkStatus());
  EXPECT_TRUE(Await([&] { return RecordOf(claim).disks.empty(); }));
}

TEST(DiskAttachment, WhatCannotBeOneIsRefusedWithItsField) {
  const DiskAttachment good{"data-1.x_Y", "/dev/vg/a b,c", false, false, "S-1", false};
  EXPECT_EQ(CheckDisk(good), OkStatus());
  EXPECT_EQ(DiskOption(good), "path=\"/dev/vg/a b,c\",id=vol-data-1.x_Y,serial=S-1");
  DiskAttachment bad = good;
  bad.id = "a,b";
  EXPECT_EQ(CheckDisk(bad).field(), "disk.id");
  bad = good;
  bad.path = "relative";
  EXPECT_EQ(CheckDisk(bad).field(), "disk.path");
  bad.path = "/x\"y";
  EXPECT_EQ(CheckDisk(bad).field(), "disk.path");
  bad = good;
  bad.serial = std::string(21, 'x');
  EXPECT_EQ(CheckDisk(bad).field(), "disk.serial");
}

// Seed 002: "makes sure that existing instances ... will have a corresponding PCI allocation in placement".
TEST_F(LifecycleTest, AStoppedInstanceWhoseClaimIsLostKeepsItsRecordAndGetsItsClaimBack) {
  std::atomic<int> restored = 0;
  placement_.on_restore = [&](const std::string&) {
    ++restored;
    return OkStatus();
  };
  Claim claim = Run();
  ASSERT_EQ(reconciler_->Act(claim.consumer, Action::kStop), OkStatus());
  ASSERT_TRUE(placement_.AwaitState(claim.consumer, InstanceState::kStopped));

  reconciler_->RemoveClaim(claim.consumer);

  EXPECT_TRUE(Await([&] { return restored == 1; }));
  EXPECT_TRUE(std::filesystem::exists(FolderOf(claim)));
  reconciler_->PutClaim(claim);
  ASSERT_EQ(reconciler_->Act(claim.consumer, Action::kStart), OkStatus());
}

// Its firmware is busy with the reset of the VF for a moment.
TEST_F(LifecycleTest, APortIsCleanedWhenItsDriverHasTimeForIt) {
  PortOnBus bus(folder_.path());
  options_.vf_links = &bus.links;
  const Claim claim = bus.Claim("vm", 7);
  Put(claim);
  ASSERT_TRUE(placement_.AwaitState(claim.consumer, InstanceState::kRunning))
      << placement_.Detail(claim.consumer);
  bus.links.refusals = 6;

  Claim released = claim;
  released.phase = berth::placement::ClaimPhase::kReleasing;
  reconciler_->PutClaim(released);

  ASSERT_TRUE(placement_.AwaitFinalized(claim.consumer));
  started_.clear();
  reconciler_.reset();  // ends its thread
  EXPECT_EQ(bus.Vlan(), 0);
}

TEST_F(LifecycleTest, ByPolicyReportAStoppedInstanceWithoutClaimIsLeftAloneAndByPolicyStopRemoved) {
  placement_.on_restore = [](const std::string&) { return Internal("nobody asks"); };
  for (Unclaimed policy : {Unclaimed::kReport, Unclaimed::kStop}) {
    options_.unclaimed = policy;
    options_.unclaimed_grace = std::chrono::milliseconds(0);
    reconciler_.reset();
    started_.clear();
    Claim claim = TestClaim(policy == Unclaimed::kReport ? "report" : "stop", 1, 2 * kMi);
    Put(claim);
    ASSERT_TRUE(placement_.AwaitState(claim.consumer, InstanceState::kRunning));
    ASSERT_EQ(reconciler_->Act(claim.consumer, Action::kStop), OkStatus());
    ASSERT_TRUE(placement_.AwaitState(claim.consumer, InstanceState::kStopped));
    started_.clear();
    reconciler_->RemoveClaim(claim.consumer);
    if (policy == Unclaimed::kStop) {
      EXPECT_TRUE(Await([&] { return !std::filesystem::exists(FolderOf(claim)); }));
      continue;
    }
    Claim marker = TestClaim("marker", 1, 2 * kMi);
    Put(marker);
    ASSERT_TRUE(placement_.AwaitState(marker.consumer, InstanceState::kRunning));
    EXPECT_TRUE(std::filesystem::exists(FolderOf(claim)));
    started_ = {claim, marker};
    reconciler_->PutClaim(claim);
    TearDown();
  }
}

// A move: the instance's claim is on another host, a claim that is reserved for it holds what it had here.
TEST_F(LifecycleTest, AMovedInstanceWaitsWithoutProcessUntilItsOldPlaceIsGivenUp) {
  Claim claim = Run();
  Claim reservation = TestClaim("move", 1, 2 * kMi);
  reservation.reserved_for = claim.consumer;
  reservation.swapped = true;
  pid_t pid = PidOf(claim);

  reconciler_->PutClaim(reservation);
  reconciler_->RemoveClaim(claim.consumer);

  EXPECT_TRUE(Await([&] { return ::kill(pid, 0) != 0 || PidOf(claim) == 0; }));
  EXPECT_TRUE(std::filesystem::exists(FolderOf(claim)));
  EXPECT_FALSE(placement_.IsFinalized(reservation.consumer));

  reconciler_->PutClaim(Releasing(reservation));
  EXPECT_TRUE(placement_.AwaitFinalized(reservation.consumer));
  EXPECT_FALSE(std::filesystem::exists(FolderOf(claim)));
  started_.clear();
}

TEST_F(LifecycleTest, AMovedInstanceThatComesBackStartsWhereItWas) {
  Claim claim = Run();
  Claim reservation = TestClaim("move", 1, 2 * kMi);
  reservation.reserved_for = claim.consumer;
  ASSERT_EQ(reconciler_->Act(claim.consumer, Action::kStop), OkStatus());
  ASSERT_TRUE(placement_.AwaitState(claim.consumer, InstanceState::kStopped));
  reservation.swapped = true;
  reconciler_->PutClaim(reservation);
  reconciler_->RemoveClaim(claim.consumer);
  EXPECT_EQ(reconciler_->Act(claim.consumer, Action::kStart).code(), StatusCode::kNotFound);

  reconciler_->PutClaim(claim);
  reservation.swapped = false;
  reconciler_->PutClaim(Releasing(reservation));
  ASSERT_EQ(reconciler_->Act(claim.consumer, Action::kStart), OkStatus());

  EXPECT_TRUE(placement_.AwaitFinalized(reservation.consumer));
  EXPECT_TRUE(placement_.AwaitState(claim.consumer, InstanceState::kRunning));
}

// A resize on one host: the claim is another one, without a status, and nothing else happens to the instance.
TEST_F(LifecycleTest, WhatBecameOfAnInstanceIsToldAgainWhenItsClaimForgotIt) {
  Claim claim = Run();
  ASSERT_EQ(reconciler_->Act(claim.consumer, Action::kStop), OkStatus());
  ASSERT_TRUE(placement_.AwaitState(claim.consumer, InstanceState::kStopped));
  placement_.Forget(claim.consumer);

  claim.spec.memory_bytes = 2 * kMi;
  ASSERT_EQ(claim.status.state, InstanceState::kPending);
  reconciler_->PutClaim(claim);

  EXPECT_TRUE(placement_.AwaitState(claim.consumer, InstanceState::kStopped));
  EXPECT_EQ(placement_.Detail(claim.consumer), "stopped on request");
}

TEST_F(LifecycleTest, AnInstanceThatCameStoppedIsStartedOnlyWhenAsked) {
  Open();
  Claim claim = With("");
  claim.stays_stopped = true;
  const DiskAttachment disk{"data", Image("data.raw"), false, false, "", false};
  Put(claim);
  ASSERT_EQ(reconciler_->AttachDisk(claim.consumer, disk), OkStatus());  // its disks come along
  EXPECT_TRUE(placement_.AwaitState(claim.consumer, InstanceState::kStopped));
  EXPECT_EQ(PidOf(claim), 0);
  placement_.Forget(claim.consumer);
  Restart();
  EXPECT_TRUE(placement_.AwaitState(claim.consumer, InstanceState::kStopped));
  EXPECT_EQ(PidOf(claim), 0);

  ASSERT_EQ(reconciler_->Act(claim.consumer, Action::kStart), OkStatus());
  EXPECT_TRUE(placement_.AwaitState(claim.consumer, InstanceState::kRunning));
  placement_.Forget(claim.consumer);
  Restart();  // what was asked for counts from then on
  EXPECT_TRUE(placement_.AwaitState(claim.consumer, InstanceState::kRunning));
}

TEST_F(LifecycleTest, AReservationOfAnInstanceThatIsNotHereYetRunsNothing) {
  Claim reservation = TestClaim("move", 1, 2 * kMi);
  reservation.reserved_for = TestClaim("vm", 1, 2 * kMi).consumer;
  Open();
  reconciler_->PutClaim(reservation);
  Claim marker = TestClaim("marker", 1, 2 * kMi);
  Put(marker);
  ASSERT_TRUE(placement_.AwaitState(marker.consumer, InstanceState::kRunning));
  EXPECT_FALSE(std::filesystem::exists(FolderOf(reservation)));
  reconciler_->PutClaim(Releasing(reservation));
  EXPECT_TRUE(placement_.AwaitFinalized(reservation.consumer));
}

TEST_F(LifecycleTest, ADeviceThatWasAskedBackIsDroppedOnceNothingHoldsIt) {
  Claim claim = Run();
  claim.devices.push_back({0, PciAddress{0, 0x41, 0, 0}, "gpu", 0, {}, true});
  reconciler_->PutClaim(claim);
  EXPECT_TRUE(placement_.AwaitDropped(PciAddress{0, 0x41, 0, 0}));
}

TEST_F(LifecycleTest, ADeviceIsOnlyGivenUpWhenTheRecordSaysSo) {
  PortOnBus bus(folder_.path());
  options_.vf_links = &bus.links;
  Claim claim = bus.Claim("vm", 7);
  Put(claim);
  ASSERT_TRUE(placement_.AwaitState(claim.consumer, InstanceState::kRunning))
      << placement_.Detail(claim.consumer);
  ASSERT_EQ(reconciler_->Act(claim.consumer, Action::kStop), OkStatus());
  ASSERT_TRUE(placement_.AwaitState(claim.consumer, InstanceState::kStopped));
  RefuseToSave(claim);

  claim.devices[0].leaving = true;
  reconciler_->PutClaim(claim);

  const Claim marker = TestClaim("marker", 1, 2 * kMi);
  Put(marker);
  ASSERT_TRUE(placement_.AwaitState(marker.consumer, InstanceState::kRunning));  // some rounds later
  EXPECT_FALSE(placement_.IsDropped(PortOnBus::kVf));
  EXPECT_EQ(RecordOf(claim).devices.size(), 1u);
  SaveAgain();
  EXPECT_TRUE(placement_.AwaitDropped(PortOnBus::kVf));
  EXPECT_TRUE(RecordOf(claim).devices.empty());
  TearDown();
  started_.clear();
  reconciler_.reset();
}

TEST_F(LifecycleTest, AResetThatIsDoneIsNotDoneAgainForWantOfARecord) {
  const Claim claim = Run();
  RefuseToSave(claim, "NEW.record LIKE '%\"reset\": true%'");
  ASSERT_EQ(reconciler_->Act(claim.consumer, Action::kReset), OkStatus());
  const std::string log = FolderOf(claim) / "vmm.log";
  ASSERT_TRUE(Await([&] { return ReadFile(log).value_or("") == "fake_vmm: reset\n"; }));
  const Claim marker = TestClaim("marker", 1, 2 * kMi);
  Put(marker);
  ASSERT_TRUE(placement_.AwaitState(marker.consumer, InstanceState::kRunning));
  EXPECT_TRUE(RecordOf(claim).reset);

  SaveAgain();

  EXPECT_TRUE(Await([&] { return !RecordOf(claim).reset; }));
  EXPECT_EQ(ReadFile(log).value_or(""), "fake_vmm: reset\n");
}

// Its claim was lost, and placement has given its device to another one.
TEST_F(LifecycleTest, ADeviceOfAnInstanceWithoutClaimIsTakenBackBeforeTheNextOneGetsIt) {
  PortOnBus bus(folder_.path());
  options_.vf_links = &bus.links;
  options_.unclaimed = Unclaimed::kStop;
  options_.unclaimed_grace = std::chrono::milliseconds(0);
  std::vector<uint16_t> vlans;  // of the port, whenever the next one tells of itself
  const Claim next = bus.Claim("next", 9);
  placement_.on_report = [&](const Uuid& consumer, const InstanceStatus& status) {
    if (consumer == next.consumer && status.detail.starts_with("it waits: device 0000:41:02.0 is still held"))
      vlans.push_back(bus.Vlan());
  };
  const Claim first = bus.Claim("first", 7);
  Put(first);
  ASSERT_TRUE(placement_.AwaitState(first.consumer, InstanceState::kRunning))
      << placement_.Detail(first.consumer);
  const pid_t pid = PidOf(first);

  started_ = {next};
  reconciler_->ReplaceClaims(started_);

  ASSERT_TRUE(placement_.AwaitState(next.consumer, InstanceState::kRunning));
  reconciler_.reset();  // ends its thread
  placement_.on_report = nullptr;
  EXPECT_EQ(vlans, std::vector<uint16_t>{7});
  EXPECT_EQ(bus.Vlan(), 9);
  EXPECT_NE(::kill(pid, 0), 0);
  EXPECT_FALSE(std::filesystem::exists(FolderOf(first)));
  TearDown();
  started_.clear();
  reconciler_.reset();
}

TEST_F(LifecycleTest, ADiskIsCopiedFromItsImageOnceAndLeavesWithItsInstance) {
  const std::string image = Image("base.raw");
  Claim claim = With("");
  claim.spec.disks = {"image=" + image + ",sha256=" + *Sha256OfFile(image) + ",size=1M,id=root"};
  Put(claim);
  ASSERT_TRUE(placement_.AwaitState(claim.consumer, InstanceState::kRunning))
      << placement_.Detail(claim.consumer);
  const std::filesystem::path disk = FolderOf(claim) / "disk0.raw";
  EXPECT_EQ(std::filesystem::file_size(disk), uintmax_t{1} << 20);
  EXPECT_TRUE(InfoOf(claim).devices.contains("root"));
  std::ofstream(disk) << "what the guest wrote";

  ASSERT_EQ(reconciler_->Act(claim.consumer, Action::kReboot), OkStatus());
  ASSERT_TRUE(Await([&] { return !RecordOf(claim).reboot; }));
  ASSERT_TRUE(placement_.AwaitState(claim.consumer, InstanceState::kRunning));
  EXPECT_EQ(*ReadFile(disk), "what the guest wrote");
}

TEST_F(LifecycleTest, AnImageOfAnotherSumFailsItsInstanceWithBothSums) {
  Claim claim = With("");
  claim.spec.disks = {"image=" + Image("base.raw") + ",sha256=" + std::string(64, '0')};
  Put(claim);
  EXPECT_TRUE(placement_.AwaitState(claim.consumer, InstanceState::kFailed));
  EXPECT_NE(placement_.Detail(claim.consumer).find("expected " + std::string(64, '0')), std::string::npos)
      << placement_.Detail(claim.consumer);
}

TEST_F(LifecycleTest, ASeedIsADiskThatItsGuestCannotWrite) {
  std::filesystem::create_directories(folder_.path() / "seed");
  std::ofstream(folder_.path() / "seed" / "user-data") << "#cloud-config\n";
  Claim claim = With("");
  claim.spec.disks = {"seed=" + (folder_.path() / "seed").string() + ",id=seed"};
  Put(claim);
  ASSERT_TRUE(placement_.AwaitState(claim.consumer, InstanceState::kRunning))
      << placement_.Detail(claim.consumer);
  EXPECT_TRUE(InfoOf(claim).devices.contains("seed"));
  const std::vector<std::string> arguments = RecordOf(claim).arguments;
  EXPECT_TRUE(std::any_of(arguments.begin(), arguments.end(), [](const std::string& one) {
    return one.starts_with("--disk=") && one.ends_with("/seed0.img\",id=seed,readonly=on");
  }));
}

// Remembers its TAPs; a bridge that is not there is refused as by the kernel.
class FakeTapLinks : public TapLinks {
 public:
  Status Create(const std::string& tap, const std::string& bridge) override {
    if (bridge != "br0") return NotFound("there is no bridge " + bridge + " on this host", "nets");
    std::lock_guard lock(mutex_);
    taps_.insert(tap);
    return OkStatus();
  }
  Status Remove(const std::string& tap) override {
    std::lock_guard lock(mutex_);
    taps_.erase(tap);
    return OkStatus();
  }
  std::set<std::string> taps() const {
    std::lock_guard lock(mutex_);
    return taps_;
  }

 private:
  mutable std::mutex mutex_;
  std::set<std::string> taps_;
};

TEST_F(LifecycleTest, ATapIsMadeOnItsBridgeAndLeavesWithItsInstance) {
  FakeTapLinks taps;
  options_.taps = &taps;
  Claim claim = With("");
  claim.spec.nets = {"bridge=br0,mac=52:54:00:00:00:01"};
  Put(claim);
  ASSERT_TRUE(placement_.AwaitState(claim.consumer, InstanceState::kRunning))
      << placement_.Detail(claim.consumer);
  EXPECT_EQ(taps.taps().size(), 1u);
  reconciler_->PutClaim(Releasing(claim));
  EXPECT_TRUE(placement_.AwaitFinalized(claim.consumer));
  EXPECT_TRUE(taps.taps().empty());

  Claim lost = TestClaim("lost", 1, 2 * kMi);
  lost.spec.nets = {"bridge=nobridge"};
  Put(lost);
  EXPECT_TRUE(placement_.AwaitState(lost.consumer, InstanceState::kFailed));
  EXPECT_EQ(placement_.Detail(lost.consumer), "there is no bridge nobridge on this host");
  reconciler_->PutClaim(Releasing(lost));
  EXPECT_TRUE(placement_.AwaitFinalized(lost.consumer));
  started_.clear();
  reconciler_.reset();
}

TEST_F(LifecycleTest, ThePlacementIsProvenAgainAndAgainByItself) {
  options_.proof_interval = std::chrono::milliseconds(10);
  Claim claim = Run();
  EXPECT_TRUE(Await([&] {
    auto runtime = reconciler_->Runtime(claim.consumer);
    return runtime.has_value() && runtime->proven_at_ms > 0;
  }));
  EXPECT_EQ(reconciler_->LastProofs().instances, 1u);
  // The claim lets the guest float over the 8 CPUs of the host of these tests; where the machine has fewer,
  // the kernel cuts the set, and that is told.
  EXPECT_EQ(reconciler_->LastProofs().different, std::thread::hardware_concurrency() >= 8 ? 0u : 1u);
}

TEST_F(LifecycleTest, TheNodesThatTheGuestIsToldOfAreComparedWithTheClaim) {
  Claim claim = TestClaim("vm", 1, 8 * kMi);
  claim.spec.kernel = With("").spec.kernel;
  claim.cells = {TestBinding(0, 0, "0", 8 * kMi)};
  Put(claim);
  ASSERT_TRUE(placement_.AwaitState(claim.consumer, InstanceState::kRunning))
      << placement_.Detail(claim.consumer);
  auto about_nodes = [&] {
    std::string found;
    auto runtime = reconciler_->Runtime(claim.consumer);
    for (const std::string& violation : runtime->violations) {
      if (violation.starts_with("guest node") || violation.starts_with("the guest")) found += violation;
    }
    return found;
  };
  EXPECT_EQ(about_nodes(), "");
  claim.cells[0].memory_bytes = 4 * kMi;
  reconciler_->PutClaim(claim);
  EXPECT_TRUE(Await([&] { return about_nodes() == "guest node 0 has 8.00 MiB, claimed are 4.00 MiB"; }));
}

TEST_F(LifecycleTest, ADeviceThatIsElsewhereOrThatTheVmmDoesNotHaveIsADifference) {
  const std::filesystem::path device = folder_.path() / "sys/bus/pci/devices/0000:41:00.0";
  std::filesystem::create_directories(device);
  std::filesystem::create_symlink("../../../kernel/iommu_groups/7", device / "iommu_group");
  std::ofstream(device / "numa_node") << "1\n";
  Claim claim = TestClaim("vm", 1, 2 * kMi);
  claim.devices.push_back({0, PciAddress{0, 0x41, 0, 0}, "gpu", 1, {}, false});
  EXPECT_EQ(CompareDevices(claim, folder_.path(), {"/dev/vfio/7"}), std::vector<std::string>{});
  EXPECT_EQ(CompareDevices(claim, folder_.path(), {"/dev/vfio/8"}),
            std::vector<std::string>{"device 0000:41:00.0 is not open in the VMM"});
  claim.devices[0].numa_node = 0;
  EXPECT_EQ(CompareDevices(claim, folder_.path(), {"/dev/vfio/7"}),
            std::vector<std::string>{"device 0000:41:00.0 is on node 1, claimed is node 0"});
  claim.devices[0].address.bus = 0x42;
  EXPECT_EQ(CompareDevices(claim, folder_.path(), {}),
            std::vector<std::string>{"device 0000:42:00.0 is gone"});
}

}  // namespace
}  // namespace berth::agent
