#include "placement/grpc/placement_service.h"

#include <gtest/gtest.h>

#include "placement/server.h"
#include "tests/fakes/temp_folder.h"
#include "tests/placement/grpc/placement_client.h"
#include "tests/placement/model/model_builders.h"

namespace berth::placement {
namespace {

using namespace testing;  // NOLINT(google-build-using-namespace)

// A server in this process, on an in-process channel and a real file.
class PlacementServiceTest : public ::testing::Test {
 protected:
  void SetUp() override { Start({}); }
  void TearDown() override { Stop(); }

  void Start(PlacementServer::Options options) {
    options.store = "sqlite:" + (folder_.path() / "store.db").string();
    auto placement = PlacementServer::Open(options);
    ASSERT_TRUE(placement.has_value()) << placement.status().ToString();
    placement_ = *std::move(placement);
    grpc::ServerBuilder builder;
    builder.RegisterService(placement_->service());
    server_ = builder.BuildAndStart();
    client_ = std::make_unique<PlacementClient>(server_->InProcessChannel({}));
  }
  void Stop() {
    if (!placement_) return;
    placement_->PrepareShutdown();
    server_->Shutdown();
    client_.reset();
    server_.reset();
    placement_.reset();
  }
  void Restart(PlacementServer::Options options = {}) {
    Stop();
    Start(options);
  }

  fakes::TempFolder folder_;
  std::unique_ptr<PlacementServer> placement_;
  std::unique_ptr<grpc::Server> server_;
  std::unique_ptr<PlacementClient> client_;
};

Claim PinnedClaim(uint8_t number = 1) {
  Claim claim = NumaClaim(number, {GuestCell(0, 0, 0, 1, 64, {4, 5}, 2 * kMib)});
  claim.devices = {Bind(Pci(2, 1))};
  return claim;
}

TEST_F(PlacementServiceTest, ReportsClaimsAndReleasesSurviveARestart) {
  EXPECT_EQ(client_->ReportHost(MakeHost())->generation(), 1U);
  Result<v1::CreateClaimResponse> created = client_->CreateClaim(PinnedClaim(), 1);
  ASSERT_TRUE(created.has_value()) << created.status().ToString();
  EXPECT_EQ(created->generation(), 2U);
  EXPECT_GT(created->claim().created_at_ms(), 1600000000000U);

  Restart();

  Result<v1::GetHostResponse> host = client_->GetHost("host1");
  ASSERT_TRUE(host.has_value()) << host.status().ToString();
  EXPECT_EQ(host->host().generation(), 2U);
  EXPECT_EQ(host->host().cells(0).usage().pinned_cpus(), "4-5");
  EXPECT_EQ(host->host().devices(2).consumer(), PinnedClaim().consumer.ToString());
  ASSERT_EQ(host->claims_size(), 1);
  EXPECT_EQ(host->claims(0).SerializeAsString(), created->claim().SerializeAsString());

  ASSERT_TRUE(client_->ReleaseClaim("vm1").has_value());
  ASSERT_TRUE(client_->FinalizeClaim(PinnedClaim().consumer.ToString()).has_value());
  Restart();
  EXPECT_EQ(client_->ListClaims()->claims_size(), 0);
  EXPECT_EQ(client_->GetHost(Id(1).ToString())->host().generation(), 4U);
}

TEST_F(PlacementServiceTest, ErrorsCarryFieldAndHint) {
  ASSERT_TRUE(client_->ReportHost(MakeHost()).has_value());
  ASSERT_TRUE(client_->CreateClaim(PinnedClaim(1)).has_value());
  Claim second = NumaClaim(2, {GuestCell(0, 0, 0, 1, 64, {5, 6})});

  EXPECT_EQ(
      client_->CreateClaim(second).status(),
      FailedPrecondition("CPUs 5 of host cell 0 are held by other claims", "cells[0].pinning", "free: 6-7"));
  EXPECT_EQ(client_->CreateClaim(FloatingClaim(3, 1, 64), 1).status().code(), StatusCode::kAborted);
  EXPECT_EQ(client_->GetHost("nobody").status(), NotFound("no host \"nobody\"", "host"));
  EXPECT_EQ(client_->ReleaseClaim("nobody").status().code(), StatusCode::kNotFound);
  HostReport twin = MakeHost(2);
  twin.name = "host1";
  EXPECT_EQ(
      client_->ReportHost(twin).status(),
      AlreadyExists("host name \"host1\" belongs to host be000000-0000-0000-0000-000000000001, reported by "
                    "be000000-0000-0000-0000-000000000002",
                    "name"));
}

TEST_F(PlacementServiceTest, RefusesMalformedRequestsWithTheFieldsPath) {
  v1::CreateClaimRequest create;
  EXPECT_EQ(client_->Call(&v1::Placement::Stub::CreateClaim, create).status().field(), "consumer");
  v1::DeleteHostRequest drop;
  drop.set_host("not-a-uuid");
  EXPECT_EQ(client_->Call(&v1::Placement::Stub::DeleteHost, drop).status().code(),
            StatusCode::kInvalidArgument);
  v1::ReportHostRequest report;
  wire::HostToProto(MakeHost(), report.mutable_host());
  report.mutable_host()->mutable_cells(1)->set_dedicated_cpus("1-x");
  EXPECT_EQ(client_->Call(&v1::Placement::Stub::ReportHost, report).status().field(),
            "cells[1].dedicated_cpus");
  WatchClient stream(*client_, 0, false, "not-a-uuid");
  v1::Event event;
  EXPECT_FALSE(stream.Next(&event));
  EXPECT_EQ(stream.Finish().field(), "host");
}

TEST_F(PlacementServiceTest, ARepeatedDeletionOfAHostSucceeds) {
  ASSERT_TRUE(client_->ReportHost(MakeHost(1)).has_value());
  v1::DeleteHostRequest drop;
  drop.set_host(MakeHost(1).uuid.ToString());

  EXPECT_TRUE(client_->Call(&v1::Placement::Stub::DeleteHost, drop).has_value());
  EXPECT_TRUE(client_->Call(&v1::Placement::Stub::DeleteHost, drop).has_value());
  EXPECT_EQ(client_->Call(&v1::Placement::Stub::ListHosts, v1::ListHostsRequest())->hosts_size(), 0);
}

TEST_F(PlacementServiceTest, ListsHostsDevicesAndClaims) {
  ASSERT_TRUE(client_->ReportHost(MakeHost(2)).has_value());
  ASSERT_TRUE(client_->ReportHost(MakeHost(1)).has_value());
  ASSERT_TRUE(client_->CreateClaim(PinnedClaim()).has_value());

  auto hosts = client_->Call(&v1::Placement::Stub::ListHosts, v1::ListHostsRequest());
  ASSERT_EQ(hosts->hosts_size(), 2);
  EXPECT_EQ(hosts->hosts(0).name(), "host1");
  v1::ListDevicesRequest devices;
  EXPECT_EQ(client_->Call(&v1::Placement::Stub::ListDevices, devices)->devices_size(), 12);
  devices.set_host("host1");
  auto of_one = client_->Call(&v1::Placement::Stub::ListDevices, devices);
  ASSERT_EQ(of_one->devices_size(), 6);
  EXPECT_TRUE(of_one->devices(1).device().blocked());
  v1::GetClaimRequest claim;
  claim.set_consumer("vm1");
  EXPECT_EQ(client_->Call(&v1::Placement::Stub::GetClaim, claim)->claim().host(), Id(1).ToString());
  EXPECT_EQ(client_->ListClaims("host2")->claims_size(), 0);
}

TEST_F(PlacementServiceTest, StatusGoesUpAndIsSeen) {
  ASSERT_TRUE(client_->ReportHost(MakeHost()).has_value());
  ASSERT_TRUE(client_->CreateClaim(PinnedClaim()).has_value());
  v1::ReportStatusRequest report;
  report.set_consumer(PinnedClaim().consumer.ToString());
  report.mutable_status()->set_state(v1::INSTANCE_STATE_RUNNING);
  report.mutable_status()->set_observed_at_ms(77);

  ASSERT_TRUE(client_->Call(&v1::Placement::Stub::ReportStatus, report).has_value());

  EXPECT_EQ(client_->ListClaims()->claims(0).status().state(), v1::INSTANCE_STATE_RUNNING);
}

TEST_F(PlacementServiceTest, WatchGivesASnapshotThenEventsWithoutGaps) {
  ASSERT_TRUE(client_->ReportHost(MakeHost(1)).has_value());
  ASSERT_TRUE(client_->CreateClaim(PinnedClaim(1)).has_value());
  WatchClient watch(*client_, 0, true);
  v1::Event event;
  std::vector<std::pair<v1::EventKind, uint64_t>> seen;
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(watch.Next(&event));
    seen.emplace_back(event.kind(), event.sequence());
  }
  EXPECT_EQ(seen, (std::vector<std::pair<v1::EventKind, uint64_t>>{{v1::EVENT_KIND_HOST_CHANGED, 2},
                                                                   {v1::EVENT_KIND_CLAIM_CHANGED, 2},
                                                                   {v1::EVENT_KIND_SYNCED, 2}}));

  ASSERT_TRUE(client_->CreateClaim(FloatingClaim(2, 1, 64)).has_value());
  ASSERT_TRUE(watch.Next(&event));
  EXPECT_EQ(event.sequence(), 3U);
  EXPECT_EQ(event.claim().name(), "vm2");
  EXPECT_EQ(event.generation(), 3U);
  ASSERT_TRUE(client_->ReleaseClaim("vm2").has_value());
  ASSERT_TRUE(client_->FinalizeClaim(FloatingClaim(2, 1, 64).consumer.ToString()).has_value());
  ASSERT_TRUE(watch.Next(&event));
  EXPECT_EQ(event.claim().phase(), v1::CLAIM_PHASE_RELEASING);
  ASSERT_TRUE(watch.Next(&event));
  EXPECT_EQ(event.kind(), v1::EVENT_KIND_CLAIM_DELETED);
  EXPECT_EQ(event.claim().name(), "vm2");
  EXPECT_EQ(event.sequence(), 5U);
}

TEST_F(PlacementServiceTest, WatchResumesOverARestart) {
  ASSERT_TRUE(client_->ReportHost(MakeHost(1)).has_value());
  ASSERT_TRUE(client_->ReportHost(MakeHost(2)).has_value());
  Restart();
  ASSERT_TRUE(client_->CreateClaim(FloatingClaim(1, 1, 64)).has_value());

  WatchClient watch(*client_, 1, false);
  v1::Event event;
  ASSERT_TRUE(watch.Next(&event));
  EXPECT_EQ(event.sequence(), 2U);
  EXPECT_EQ(event.host_state().name(), "host2");
  ASSERT_TRUE(watch.Next(&event));
  EXPECT_EQ(event.sequence(), 3U);
}

TEST_F(PlacementServiceTest, WatchOfOneHostSeesOnlyThat) {
  ASSERT_TRUE(client_->ReportHost(MakeHost(1)).has_value());
  ASSERT_TRUE(client_->ReportHost(MakeHost(2)).has_value());
  WatchClient watch(*client_, 0, true, Id(2).ToString());
  v1::Event event;
  ASSERT_TRUE(watch.Next(&event));
  EXPECT_EQ(event.host_state().name(), "host2");
  ASSERT_TRUE(watch.Next(&event));
  EXPECT_EQ(event.kind(), v1::EVENT_KIND_SYNCED);
  ASSERT_TRUE(client_->CreateClaim(FloatingClaim(1, 1, 64, 1)).has_value());
  ASSERT_TRUE(client_->CreateClaim(FloatingClaim(2, 1, 64, 2)).has_value());
  ASSERT_TRUE(watch.Next(&event));
  EXPECT_EQ(event.claim().name(), "vm2");
}

TEST_F(PlacementServiceTest, WatchBeyondWhatIsKeptIsOutOfRange) {
  Restart({.events_kept = 16});
  ASSERT_TRUE(client_->ReportHost(MakeHost()).has_value());
  for (int i = 0; i < 40; ++i) {
    HostReport report = MakeHost();
    report.warnings = {std::to_string(i)};
    ASSERT_TRUE(client_->ReportHost(report).has_value());
  }
  v1::Event event;
  WatchClient old(*client_, 3, false);
  EXPECT_FALSE(old.Next(&event));
  EXPECT_EQ(old.Finish().ToString(),
            "OUT_OF_RANGE: after_sequence: events after 3 are no longer kept: the first one is 26 (ask again "
            "with a "
            "snapshot)");
  WatchClient future(*client_, 4000, false);
  EXPECT_FALSE(future.Next(&event));
  EXPECT_EQ(future.Finish().code(), StatusCode::kOutOfRange);

  Restart({.events_kept = 16});  // the table is trimmed too
  EXPECT_EQ(placement_->events().sequence(), 41U);
  WatchClient all(*client_, 0, false);
  ASSERT_TRUE(all.Next(&event));
  EXPECT_GE(event.sequence(), 23U);
}

TEST_F(PlacementServiceTest, ShutdownEndsOpenWatches) {
  WatchClient watch(*client_, 0, true);
  v1::Event event;
  ASSERT_TRUE(watch.Next(&event));

  placement_->PrepareShutdown();

  EXPECT_FALSE(watch.Next(&event));
  EXPECT_EQ(watch.Finish().code(), StatusCode::kUnavailable);
}

TEST_F(PlacementServiceTest, ACancelledWatchGoesAway) {
  for (int i = 0; i < 20; ++i) {
    WatchClient watch(*client_, 0, true);
    v1::Event event;
    ASSERT_TRUE(watch.Next(&event));
    watch.Cancel();
    EXPECT_EQ(watch.Finish().code(), StatusCode::kCancelled);
    ASSERT_TRUE(client_
                    ->ReportHost([i] {
                      HostReport report = MakeHost();
                      report.warnings = {std::to_string(i)};
                      return report;
                    }())
                    .has_value());
  }
}

TEST_F(PlacementServiceTest, AFullStoreIsNamedAndReadsGoOn) {
  Restart({.store_max_pages = 40});
  Status status;
  uint8_t hosts = 0;
  for (uint8_t i = 1; i < 60 && status.ok(); ++i) {
    HostReport report = MakeHost(i);
    report.warnings.assign(5, std::string(4000, 'x'));
    status = client_->ReportHost(report).status();
    hosts = status.ok() ? i : hosts;
  }
  EXPECT_EQ(status.code(), StatusCode::kResourceExhausted);
  EXPECT_NE(status.message().find("store.db: database or disk is full"), std::string::npos)
      << status.ToString();
  EXPECT_EQ(client_->Call(&v1::Placement::Stub::ListHosts, v1::ListHostsRequest())->hosts_size(), hosts);

  Restart();  // the limit is gone
  EXPECT_EQ(client_->Call(&v1::Placement::Stub::ListHosts, v1::ListHostsRequest())->hosts_size(), hosts);
  EXPECT_TRUE(client_->ReportHost(MakeHost(99)).has_value());
}

TEST(PlacementServerOpen, NamesAStoreThatItDoesNotKnow) {
  EXPECT_EQ(PlacementServer::Open({.store = "oracle:x"}).status().ToString(),
            "INVALID_ARGUMENT: store: \"oracle:x\" names no store (expected sqlite:PATH)");
}

}  // namespace
}  // namespace berth::placement
