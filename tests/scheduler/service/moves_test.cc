// Resize, cold migration, evacuation and devices of instances that exist, with placement and agents in
// memory.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "scheduler/service/scheduler.h"
#include "tests/scheduler/service/fake_placement.h"

namespace berth::scheduler {
namespace {

using placement::Claim;
using placement::InstanceState;

constexpr const char* kCatalogue = R"(
flavors:
  - {name: small, vcpus: 1, memory_mib: 1024}
  - {name: large, vcpus: 2, memory_mib: 2048}
  - {name: huge, vcpus: 64, memory_mib: 2048}
aliases:
  - {name: vf, vendor_id: "8086", product_id: "154c", device_type: type-VF}
)";

// Does what an agent does, when the test lets it.
class FakeAgents : public AgentControl {
 public:
  explicit FakeAgents(FakePlacement& placement) : placement_(placement) {}
  Status Start(const std::string& endpoint, const Uuid& instance) override {
    if (!reachable) return Unavailable("the agent at " + endpoint + " is away");
    started.push_back(endpoint);
    placement_.ReportStatus(instance, InstanceState::kRunning);
    return OkStatus();
  }
  Status Stop(const std::string& endpoint, const Uuid& instance) override {
    if (!reachable) return Unavailable("the agent at " + endpoint + " is away");
    stopped.push_back(endpoint);
    if (stops) placement_.ReportStatus(instance, InstanceState::kStopped);
    return OkStatus();
  }
  Result<std::vector<CarriedDisk>> Disks(const std::string& endpoint, const Uuid&) override {
    if (!reachable) return Unavailable("the agent at " + endpoint + " is away");
    auto found = disks.find(endpoint);
    if (found == disks.end()) return NotFound("the instance is not on this host");
    return found->second;
  }
  Status AttachDisk(const std::string& endpoint, const Uuid&, const CarriedDisk& disk) override {
    if (!knows_instance) return NotFound("the instance is not on this host");
    std::vector<CarriedDisk>& there = disks[endpoint];
    if (std::find(there.begin(), there.end(), disk) == there.end()) there.push_back(disk);
    return OkStatus();
  }
  std::map<std::string, std::vector<CarriedDisk>> disks;  // by endpoint
  bool knows_instance = true;                             // the host that it moves to
  bool reachable = true;
  bool stops = true;
  std::vector<std::string> started, stopped;

 private:
  FakePlacement& placement_;
};

class MovesTest : public ::testing::Test {
 protected:
  MovesTest() {
    for (const char* name : {"h1", "h2"}) {
      placement::HostReport host = MakeHost(name, 2, 2);
      AddVfs(host, 0x41, 2, 1);
      placement_.ReportHost(host);
    }
    scheduler_ =
        std::make_unique<Scheduler>(std::make_shared<const Catalogue>(*ParseCatalogue(kCatalogue, "test")),
                                    placement_, metrics_, [] { return uint64_t{1}; });
    instance_ = Create("vm", {});
  }
  Uuid Create(const std::string& name, std::vector<std::string> disks) {
    InstanceRequest request;
    request.name = name;
    request.flavor = "small";
    request.host = "h1";
    request.boot.kernel = "/k";
    request.boot.disks = std::move(disks);
    InstanceAnswer answer = scheduler_->Create(request);
    EXPECT_TRUE(answer.status.ok()) << answer.status.ToString();
    placement_.ReportStatus(answer.claim->consumer, InstanceState::kRunning);
    return answer.claim->consumer;
  }
  Claim Instance() { return *placement_.GetClaim(instance_.ToString()); }
  std::optional<Claim> Reserved() {
    auto claim = placement_.GetClaim(ReservationOf(instance_).ToString());
    return claim.has_value() ? std::optional<Claim>(*claim) : std::nullopt;
  }
  MovePhase Move(const std::string& flavor = "", const std::string& host = "", bool evacuate = false) {
    auto answer = scheduler_->Move({"vm", flavor, {}, {}, host, evacuate}, agents_);
    EXPECT_TRUE(answer.has_value()) << answer.error().ToString();
    return answer.has_value() ? answer->phase : MovePhase::kNone;
  }
  static Uuid HostId(const char* name) { return Uuid::FromName(Uuid{}, name); }

  FakePlacement placement_;
  MetricsRegistry metrics_;
  FakeAgents agents_{placement_};
  std::unique_ptr<Scheduler> scheduler_;
  Uuid instance_;
};

TEST_F(MovesTest, ADryRunTellsWhatTheMoveThenDoes) {
  const Claim before = Instance();
  auto foreseen = scheduler_->Move({"vm", "large", {}, {}, "h2", false, true}, agents_);
  ASSERT_TRUE(foreseen.has_value()) << foreseen.error().ToString();
  EXPECT_EQ(foreseen->phase, MovePhase::kNone);
  EXPECT_EQ(foreseen->host_name, "h2");
  EXPECT_FALSE(Reserved().has_value());
  EXPECT_EQ(Instance(), before);
  EXPECT_TRUE(agents_.stopped.empty());

  EXPECT_EQ(Move("large", "h2"), MovePhase::kStopping);
  EXPECT_EQ(Reserved()->host, foreseen->claim.host);
  EXPECT_EQ(Reserved()->cells, foreseen->claim.cells);
  EXPECT_EQ(Reserved()->spec.flavor, foreseen->claim.spec.flavor);

  // Of one that moves: how far it is.
  const auto stopped = agents_.stopped;
  foreseen = scheduler_->Move({"vm", "large", {}, {}, "h2", false, true}, agents_);
  EXPECT_EQ(foreseen->phase, MovePhase::kStopping);
  EXPECT_EQ(foreseen->host_name, "h2");
  EXPECT_EQ(agents_.stopped, stopped);
  EXPECT_EQ(scheduler_->ConfirmMove("vm", true).error().code(), StatusCode::kFailedPrecondition);
  EXPECT_EQ(Move("large", "h2"), MovePhase::kStarting);
  EXPECT_EQ(Move("large", "h2"), MovePhase::kDecide);
  EXPECT_EQ(*scheduler_->ConfirmMove("vm", true), MovePhase::kEnding);
  EXPECT_EQ(*scheduler_->RevertMove("vm", agents_, true), MovePhase::kEnding);
  EXPECT_EQ(Instance().host, HostId("h2"));
  EXPECT_TRUE(Reserved().has_value());
  EXPECT_NE(Reserved()->phase, placement::ClaimPhase::kReleasing);
}

TEST_F(MovesTest, ADryRunIsRefusedAsTheMoveIs) {
  for (const MoveRequest& request :
       {MoveRequest{"vm", "huge", {}, {}, ""}, MoveRequest{"vm", "", {}, {}, "h1"},
        MoveRequest{"vm", "none", {}, {}, ""}, MoveRequest{"", "", {}, {}, ""},
        MoveRequest{"other", "", {}, {}, ""}}) {
    MoveRequest dry = request;
    dry.dry_run = true;
    const auto foreseen = scheduler_->Move(dry, agents_);
    const auto done = scheduler_->Move(request, agents_);
    ASSERT_FALSE(foreseen.has_value());
    ASSERT_FALSE(done.has_value());
    EXPECT_EQ(foreseen.error().ToString(), done.error().ToString());
  }
}

TEST_F(MovesTest, ADryRunOfDevicesTellsWhichOneAndClaimsNone) {
  const auto foreseen = scheduler_->AttachDevice("vm", "vf", std::nullopt, true);
  ASSERT_TRUE(foreseen.has_value()) << foreseen.error().ToString();
  EXPECT_TRUE(Instance().devices.empty());
  const auto refused = scheduler_->DetachDevice("vm", foreseen->address, true);
  EXPECT_EQ(refused.ToString(), scheduler_->DetachDevice("vm", foreseen->address).ToString());
  EXPECT_EQ(refused.code(), StatusCode::kNotFound);

  const auto attached = scheduler_->AttachDevice("vm", "vf", std::nullopt);
  ASSERT_TRUE(attached.has_value());
  EXPECT_EQ(attached->address, foreseen->address);
  EXPECT_TRUE(scheduler_->DetachDevice("vm", attached->address, true).ok());
  EXPECT_FALSE(Instance().devices.front().leaving);
}

TEST_F(MovesTest, AMigrationHoldsBothPlacesUntilItIsConfirmed) {
  EXPECT_EQ(Move(), MovePhase::kStopping);
  ASSERT_TRUE(Reserved().has_value());
  EXPECT_EQ(Reserved()->host, HostId("h2"));
  EXPECT_EQ(Instance().host, HostId("h1"));
  EXPECT_EQ(agents_.stopped, std::vector<std::string>{"h1:7703"});

  EXPECT_EQ(Move(), MovePhase::kStarting);
  EXPECT_EQ(Instance().host, HostId("h2"));
  EXPECT_EQ(Reserved()->host, HostId("h1"));
  EXPECT_TRUE(Reserved()->swapped);
  EXPECT_EQ(agents_.started, std::vector<std::string>{"h2:7703"});
  EXPECT_EQ(scheduler_->Find("vm")->host_name, "h2");

  EXPECT_EQ(Move(), MovePhase::kDecide);
  EXPECT_EQ(*scheduler_->ConfirmMove("vm"), MovePhase::kEnding);
  EXPECT_EQ(*scheduler_->ConfirmMove("vm"), MovePhase::kEnding);
  placement_.Finalize(ReservationOf(instance_));
  EXPECT_EQ(*scheduler_->ConfirmMove("vm"), MovePhase::kNone);
  EXPECT_EQ(Instance().host, HostId("h2"));
}

// Placement tells of the new host first, then of the end at the old one.
TEST_F(MovesTest, WhoWatchesIsNotToldThatAnInstanceThatMovedHasEnded) {
  auto watcher =
      scheduler_->feed().Subscribe("vm", [] { return std::vector<std::shared_ptr<const Claim>>(); }, [] {});
  Move();
  Move();
  ASSERT_EQ(Instance().host, HostId("h2"));

  std::optional<InstanceChange> last;
  while (auto change = *watcher->Next()) {
    EXPECT_NE(change->kind, InstanceChange::Kind::kDeleted);
    last = std::move(change);
  }
  ASSERT_TRUE(last.has_value());
  EXPECT_EQ(last->claim->host, HostId("h2"));
  placement_.Finalize(instance_);
  EXPECT_EQ((*watcher->Next())->kind, InstanceChange::Kind::kDeleted);
  scheduler_->feed().Unsubscribe(watcher);
}

TEST_F(MovesTest, DisksThatWereAttachedLaterComeAlong) {
  const std::vector<CarriedDisk> disks = {{"data", "/san/data", false, true, "D1"},
                                          {"iso", "/san/iso", true, false, ""}};
  agents_.disks["h1:7703"] = disks;
  Move();
  agents_.knows_instance = false;  // its claim is on the way
  EXPECT_EQ(Move(), MovePhase::kStarting);
  EXPECT_FALSE(agents_.disks.contains("h2:7703"));
  agents_.knows_instance = true;

  EXPECT_EQ(Move(), MovePhase::kStarting);
  EXPECT_EQ(Move(), MovePhase::kDecide);

  EXPECT_EQ(agents_.disks["h2:7703"], disks);
  EXPECT_EQ(agents_.disks["h1:7703"], disks);  // for the case that the move is reverted
}

TEST_F(MovesTest, AMoveIsNotDecidedWhileNobodyCanTellItsDisks) {
  Move();
  Move();
  agents_.reachable = false;
  EXPECT_EQ(scheduler_->Move({"vm", "", {}, {}, "", false}, agents_).error().code(),
            StatusCode::kUnavailable);
  agents_.reachable = true;
  EXPECT_EQ(Move(), MovePhase::kDecide);
}

TEST_F(MovesTest, AMoveThatIsRevertedIsWhereItWas) {
  Move();
  Move();
  EXPECT_EQ(Move(), MovePhase::kDecide);
  EXPECT_EQ(*scheduler_->RevertMove("vm", agents_), MovePhase::kEnding);  // is being stopped
  EXPECT_EQ(Instance().host, HostId("h2"));
  EXPECT_EQ(*scheduler_->RevertMove("vm", agents_), MovePhase::kEnding);
  EXPECT_EQ(Instance().host, HostId("h1"));
  EXPECT_EQ(agents_.started.back(), "h1:7703");
  placement_.Finalize(ReservationOf(instance_));
  EXPECT_EQ(*scheduler_->RevertMove("vm", agents_), MovePhase::kNone);
  EXPECT_EQ(Instance().status.state, InstanceState::kRunning);
}

TEST_F(MovesTest, AMoveIsTakenBackBeforeItsGuestHasStopped) {
  agents_.stops = false;
  EXPECT_EQ(Move(), MovePhase::kStopping);
  EXPECT_EQ(Move(), MovePhase::kStopping);
  EXPECT_EQ(scheduler_->ConfirmMove("vm").error().code(), StatusCode::kFailedPrecondition);
  EXPECT_EQ(*scheduler_->RevertMove("vm", agents_), MovePhase::kEnding);
  EXPECT_EQ(Instance().host, HostId("h1"));
  EXPECT_EQ(Reserved()->phase, placement::ClaimPhase::kReleasing);
}

TEST_F(MovesTest, AStoppedInstanceMovesWithoutBeingStarted) {
  placement_.ReportStatus(instance_, InstanceState::kStopped);
  EXPECT_EQ(Move(), MovePhase::kStarting);
  EXPECT_EQ(Instance().host, HostId("h2"));
  EXPECT_TRUE(Instance().stays_stopped);
  EXPECT_EQ(Move(), MovePhase::kStarting);  // its agent has said nothing yet
  placement_.ReportStatus(instance_, InstanceState::kStopped);
  EXPECT_EQ(Move(), MovePhase::kDecide);
  EXPECT_TRUE(agents_.started.empty());
  EXPECT_TRUE(agents_.stopped.empty());

  EXPECT_EQ(*scheduler_->RevertMove("vm", agents_), MovePhase::kEnding);
  EXPECT_EQ(Instance().host, HostId("h1"));
  EXPECT_EQ(Reserved()->phase, placement::ClaimPhase::kReleasing);
  EXPECT_TRUE(agents_.started.empty());

  // Started since, it is started again after its next move.
  placement_.Finalize(ReservationOf(instance_));
  placement_.ReportStatus(instance_, InstanceState::kRunning);
  EXPECT_EQ(Move(), MovePhase::kStopping);
  EXPECT_EQ(Move(), MovePhase::kStarting);
  EXPECT_FALSE(Instance().stays_stopped);
  EXPECT_EQ(agents_.started, std::vector<std::string>{"h2:7703"});
}

TEST_F(MovesTest, AnEvacuatedInstanceThatWasStoppedStaysSo) {
  placement_.ReportStatus(instance_, InstanceState::kStopped);
  EXPECT_EQ(Move("", "", true), MovePhase::kStarting);
  EXPECT_EQ(Instance().host, HostId("h2"));
  EXPECT_TRUE(Instance().stays_stopped);
  EXPECT_TRUE(agents_.started.empty());
}

TEST_F(MovesTest, AResizeMayStayOnItsHostAndHoldsBothSets) {
  EXPECT_EQ(Move("large", "h1"), MovePhase::kStopping);
  EXPECT_EQ(Reserved()->host, HostId("h1"));
  EXPECT_EQ(Move("large", "h1"), MovePhase::kStarting);
  EXPECT_EQ(Instance().spec.vcpus, 2U);
  EXPECT_EQ(Instance().spec.flavor, "large");
  EXPECT_EQ(Instance().spec.kernel, "/k");
  EXPECT_EQ(Reserved()->spec.vcpus, 1U);
}

// The copy of the image lies in the instance's folder: another host would begin with a fresh one.
TEST_F(MovesTest, AnInstanceWithADiskFromAnImageStaysOnItsHost) {
  instance_ = Create("copied", {"path=/san/a,id=image=1", "id=root,image=/images/a,sha256=0"});
  for (const auto& [flavor, host] : {std::pair("", ""), std::pair("", "h2"), std::pair("large", "h2")}) {
    for (bool dry_run : {true, false}) {
      auto moved = scheduler_->Move({"copied", flavor, {}, {}, host, false, dry_run}, agents_);
      ASSERT_FALSE(moved.has_value());
      EXPECT_EQ(moved.error().code(), StatusCode::kFailedPrecondition);
      EXPECT_EQ(moved.error().message(),
                "instance \"copied\" has a disk that was made from an image on its host, which would be left "
                "behind and lost");
    }
  }
  EXPECT_FALSE(Reserved().has_value());
  EXPECT_TRUE(agents_.stopped.empty());

  auto resized = scheduler_->Move({"copied", "large", {}, {}, "", false}, agents_);
  ASSERT_TRUE(resized.has_value()) << resized.error().ToString();
  EXPECT_EQ(Reserved()->host, HostId("h1"));
}

// Its disk is lost with its host, and it begins anew.
TEST_F(MovesTest, AnInstanceWithADiskFromAnImageIsEvacuated) {
  instance_ = Create("copied", {"image=/images/a,sha256=0"});
  auto moved = scheduler_->Move({"copied", "", {}, {}, "", true}, agents_);
  ASSERT_TRUE(moved.has_value()) << moved.error().ToString();
  EXPECT_EQ(Instance().host, HostId("h2"));
}

TEST_F(MovesTest, AnImageIsOnlyTheKeyOfThatName) {
  instance_ = Create("path", {"path=\"/san/a,image=1\",id=image=1", "seed=/seeds/image=1"});
  EXPECT_TRUE(scheduler_->Move({"path", "", {}, {}, "h2", false}, agents_).has_value());
}

TEST_F(MovesTest, AnEvacuationAsksNobodyAndGivesTheOldPlaceUpAtOnce) {
  agents_.reachable = false;
  EXPECT_EQ(Move("", "", true), MovePhase::kStarting);
  EXPECT_EQ(Instance().host, HostId("h2"));
  EXPECT_EQ(Reserved()->phase, placement::ClaimPhase::kReleasing);
  EXPECT_EQ(Reserved()->host, HostId("h1"));
}

TEST_F(MovesTest, WhatCannotMoveIsRefusedAndHoldsNothing) {
  EXPECT_EQ(scheduler_->Move({"vm", "huge", {}, {}, "", false}, agents_).error().code(),
            StatusCode::kResourceExhausted);
  EXPECT_EQ(scheduler_->Move({"vm", "none", {}, {}, "", false}, agents_).error().field(), "wish.flavor");
  EXPECT_EQ(scheduler_->Move({"vm", "", {}, {}, "h1", false}, agents_).error().code(), StatusCode::kNotFound);
  EXPECT_EQ(scheduler_->Move({"nobody", "", {}, {}, "", false}, agents_).error().code(),
            StatusCode::kNotFound);
  EXPECT_FALSE(Reserved().has_value());
  agents_.reachable = false;
  EXPECT_EQ(scheduler_->Move({"vm", "", {}, {}, "", false}, agents_).error().code(),
            StatusCode::kUnavailable);
  EXPECT_EQ(Instance().host, HostId("h1"));
}

TEST_F(MovesTest, AnotherMoveWaitsForTheDecisionOfTheFirst) {
  EXPECT_EQ(Move("", "h2"), MovePhase::kStopping);
  for (const bool moved : {false, true}) {
    auto other = scheduler_->Move({"vm", "large", {}, {}, "", false}, agents_);
    ASSERT_FALSE(other.has_value()) << moved;
    EXPECT_EQ(other.error().ToString(),
              "FAILED_PRECONDITION: wish.flavor: instance \"vm\" is being moved to host h2 with flavor small "
              "(confirm or revert that move first)");
    EXPECT_EQ(scheduler_->Move({"vm", "", {}, {}, "h1", false}, agents_).error().field(), "host");
    if (!moved) {
      EXPECT_EQ(Move("small", "h2"), MovePhase::kStarting);
    }
  }
  EXPECT_EQ(Move("small"), MovePhase::kDecide);
}

TEST_F(MovesTest, WhatIsHeldForAMoveCannotBeDeletedAlone) {
  Move();
  auto refused = scheduler_->Delete("move of " + instance_.ToString());
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code(), StatusCode::kFailedPrecondition);
  EXPECT_EQ(Reserved()->phase, placement::ClaimPhase::kActive);
}

TEST_F(MovesTest, DeletingAnInstanceThatMovesGivesUpBothPlaces) {
  Move();
  ASSERT_TRUE(scheduler_->Delete("vm").has_value());
  EXPECT_EQ(Reserved()->phase, placement::ClaimPhase::kReleasing);
  EXPECT_EQ(Instance().phase, placement::ClaimPhase::kReleasing);
}

TEST_F(MovesTest, ADeviceIsClaimedForAnInstanceThatExistsAndAskedBack) {
  auto first = scheduler_->AttachDevice("vm", "vf", std::nullopt);
  ASSERT_TRUE(first.has_value()) << first.error().ToString();
  EXPECT_EQ(first->address, (PciAddress{0, 0x41, 2, 0}));
  auto second = scheduler_->AttachDevice("vm", "vf", PciAddress{0, 0x41, 2, 1});
  ASSERT_TRUE(second.has_value());
  EXPECT_NE(second->request, first->request);
  EXPECT_EQ(scheduler_->AttachDevice("vm", "vf", PciAddress{0, 0x41, 2, 1})->request, second->request);
  EXPECT_EQ(scheduler_->AttachDevice("vm", "vf", std::nullopt).error().code(),
            StatusCode::kResourceExhausted);
  EXPECT_EQ(scheduler_->AttachDevice("vm", "none", std::nullopt).error().field(), "alias");

  EXPECT_EQ(scheduler_->DetachDevice("vm", first->address), OkStatus());
  EXPECT_TRUE(Instance().devices[0].leaving);
  EXPECT_EQ(scheduler_->AttachDevice("vm", "vf", std::nullopt).error().code(),
            StatusCode::kResourceExhausted);
}

// R11: nobody knows where the device is, which a guest that is not encrypted may put up with.
TEST_F(MovesTest, ADeviceForAnEncryptedGuestIsChosenAsAtItsCreation) {
  placement::HostReport host = MakeHost("h3", 1, 2);
  host.cells[0].secure_memory_bytes = uint64_t{1} << 30;
  AddVfs(host, 0x41, 1, 0);
  for (placement::Device& device : host.devices) device.numa_node = {};
  placement_.ReportHost(host);
  auto claim = [&](const char* name, uint32_t cpu, bool secure) {
    Claim made;
    made.consumer = Uuid::FromName(Uuid{}, name);
    made.name = name;
    made.host = host.uuid;
    made.spec.flavor = "small";
    made.spec.vcpus = 1;
    made.spec.memory_bytes = 64 << 20;
    placement::CellBinding cell;
    cell.vcpus = CpuSet{0};
    cell.pinning = {{0, cpu}};
    cell.memory_bytes = made.spec.memory_bytes;
    cell.secure = secure;
    made.cells = {cell};
    return placement_.ClaimByOther(made);
  };
  ASSERT_EQ(claim("plain", 2, false), OkStatus());
  ASSERT_EQ(claim("secret", 3, true), OkStatus());

  EXPECT_TRUE(scheduler_->AttachDevice("plain", "vf", std::nullopt, true).has_value());
  EXPECT_EQ(scheduler_->AttachDevice("secret", "vf", std::nullopt, true).error().code(),
            StatusCode::kResourceExhausted);
}

// What is forbidden at a creation is forbidden at a move: the tenant is named again.
TEST_F(MovesTest, AMoveKeepsToTheHostsOfItsTenant) {
  placement_.ReportHost(MakeHost("h3", 2, 2));
  auto policy = ParsePolicy(R"(
aggregates:
  - {name: red, hosts: [h1, h3], metadata: {filter_tenant_id: red, exclusive_tenant: true}}
)",
                            "scheduler.yaml");
  ASSERT_TRUE(policy.has_value()) << policy.error().ToString();
  scheduler_ = std::make_unique<Scheduler>(
      std::make_shared<const Catalogue>(*ParseCatalogue(kCatalogue, "test")), placement_, metrics_,
      [] { return uint64_t{1}; }, *std::move(policy));

  MoveRequest request;
  request.instance = "vm";
  request.dry_run = true;
  auto anybody = scheduler_->Move(request, agents_);
  request.project = "red";
  auto red = scheduler_->Move(request, agents_);

  ASSERT_TRUE(anybody.has_value()) << anybody.error().ToString();
  EXPECT_EQ(anybody->host_name, "h2");
  ASSERT_TRUE(red.has_value()) << red.error().ToString();
  EXPECT_EQ(red->host_name, "h3");
}

}  // namespace
}  // namespace berth::scheduler
