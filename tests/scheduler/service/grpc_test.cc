#include <algorithm>
#include <condition_variable>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <vector>

#include <grpcpp/create_channel.h>
#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server_builder.h>
#include <gtest/gtest.h>

#include "berth/v1/placement.grpc.pb.h"
#include "berth/v1/scheduler.grpc.pb.h"
#include "placement/client/channel.h"
#include "placement/wire/host.h"
#include "placement/wire/status.h"
#include "scheduler/service/grpc_placement_client.h"
#include "scheduler/service/server.h"
#include "scheduler/service/wire.h"
#include "tests/scheduler/service/fake_placement.h"

namespace berth::scheduler {
namespace {

std::filesystem::path MakeConfig() {
  std::string pattern = (std::filesystem::temp_directory_path() / "berth-sched-XXXXXX").string();
  std::filesystem::path folder = mkdtemp(pattern.data());
  std::ofstream(folder / "flavors.yaml") << "flavors:\n"
                                            "  - {name: pinned, vcpus: 4, memory_mib: 1024, extra_specs: "
                                            "{hw:cpu_policy: dedicated}}\n";
  std::ofstream(folder / "aliases.yaml")
      << "aliases:\n"
         "  - {name: vf, vendor_id: 8086, product_id: 154c, numa_policy: socket}\n";
  return folder;
}

class SchedulerGrpc : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = MakeConfig();
    auto fake = std::make_unique<FakePlacement>();
    placement_ = fake.get();
    placement_->ReportHost(MakeHost("h1", 1, 4));
    auto server = SchedulerServer::Start({"127.0.0.1:0", folder_.string()}, std::move(fake));
    ASSERT_TRUE(server.has_value()) << server.error().ToString();
    server_ = std::move(*server);
    auto channel = grpc::CreateChannel("127.0.0.1:" + std::to_string(server_->port()),
                                       grpc::InsecureChannelCredentials());
    stub_ = v1::Scheduler::NewStub(channel);
  }
  void TearDown() override {
    if (server_) server_->Stop();
    std::filesystem::remove_all(folder_);
  }

  std::filesystem::path folder_;
  FakePlacement* placement_ = nullptr;
  std::unique_ptr<SchedulerServer> server_;
  std::unique_ptr<v1::Scheduler::Stub> stub_;
};

TEST_F(SchedulerGrpc, ExplainsARefusalAndNamesAChangeThatIsEnough) {
  placement_->ReportHost(MakeHost("h2", 1, 2));
  grpc::ClientContext create;
  v1::CreateInstanceRequest request;
  request.set_name("vm");
  request.set_flavor("pinned");
  v1::CreateInstanceResponse created;
  ASSERT_TRUE(stub_->CreateInstance(&create, request, &created).ok());  // fills h1

  grpc::ClientContext context;
  v1::ExplainRequest question;
  question.mutable_wish()->set_flavor("pinned");
  question.set_verdicts(true);
  question.set_changes(true);
  v1::ExplainResponse answer;
  ASSERT_TRUE(stub_->Explain(&context, question, &answer).ok());

  EXPECT_EQ(answer.hosts(), 2u);
  EXPECT_EQ(answer.fitting(), 0u);
  ASSERT_EQ(answer.reasons_size(), 1);
  EXPECT_EQ(answer.reasons(0).code(), "cpus_dedicated");
  EXPECT_EQ(answer.reasons(0).hosts(), 2u);
  EXPECT_EQ(answer.reasons(0).nearest_host(), "h2");
  EXPECT_EQ(answer.reasons(0).nearest().have(), "2");
  ASSERT_EQ(answer.verdicts_size(), 2);
  EXPECT_EQ(answer.verdicts(0).reasons(0).have(), "0");
  auto shrink = std::find_if(answer.changes().begin(), answer.changes().end(),
                             [](const v1::Change& change) { return change.subject() == "vcpus"; });
  ASSERT_NE(shrink, answer.changes().end());
  EXPECT_EQ(shrink->to(), "2");
  EXPECT_EQ(answer.changes(answer.changes_size() - 1).kind(), v1::CHANGE_KIND_MOVE_INSTANCE);
  EXPECT_EQ(answer.changes(answer.changes_size() - 1).subject(), "vm");
}

TEST_F(SchedulerGrpc, ListsNothingAsLongAsTheFleetIsNotKnown) {
  auto silent = std::make_unique<FakePlacement>();
  silent->silent = true;
  FakePlacement* placement = silent.get();
  auto server = SchedulerServer::Start({"127.0.0.1:0", folder_.string()}, std::move(silent));
  ASSERT_TRUE(server.has_value()) << server.error().ToString();
  auto stub = v1::Scheduler::NewStub(grpc::CreateChannel("127.0.0.1:" + std::to_string((*server)->port()),
                                                         grpc::InsecureChannelCredentials()));
  auto codes = [&] {
    grpc::ClientContext one, two, three;
    v1::ListInstancesResponse instances;
    v1::ListGroupsResponse groups;
    v1::ListAggregatesResponse aggregates;
    return std::vector<grpc::StatusCode>{stub->ListInstances(&one, {}, &instances).error_code(),
                                         stub->ListGroups(&two, {}, &groups).error_code(),
                                         stub->ListAggregates(&three, {}, &aggregates).error_code()};
  };

  EXPECT_EQ(codes(), std::vector<grpc::StatusCode>(3, grpc::StatusCode::UNAVAILABLE));

  placement->SendSnapshot();
  EXPECT_EQ(codes(), std::vector<grpc::StatusCode>(3, grpc::StatusCode::OK));
  (*server)->Stop();
}

TEST_F(SchedulerGrpc, QuestionsAreRefusedLikeCreates) {
  v1::ExplainResponse answer;
  v1::ExplainRequest question;
  question.mutable_wish()->set_flavor("pined");
  grpc::ClientContext unknown;
  grpc::Status status = stub_->Explain(&unknown, question, &answer);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_NE(status.error_message().find("flavor"), std::string::npos);
  question.mutable_wish()->set_flavor("pinned");
  question.set_host("nowhere");
  grpc::ClientContext nowhere;
  EXPECT_EQ(stub_->Explain(&nowhere, question, &answer).error_code(), grpc::StatusCode::NOT_FOUND);
  question.clear_host();
  (*question.mutable_wish()->mutable_image_properties())["hw_numa_nodes"] = "0";
  grpc::ClientContext invalid;
  EXPECT_EQ(stub_->Explain(&invalid, question, &answer).error_code(), grpc::StatusCode::INVALID_ARGUMENT);
}

TEST_F(SchedulerGrpc, CountsHowManyMoreFit) {
  placement_->ReportHost(MakeHost("h2", 2, 9));
  placement_->ReportHost(MakeHost("h3", 1, 3));
  grpc::ClientContext context;
  v1::GetCapacityRequest question;
  question.mutable_wish()->set_flavor("pinned");
  v1::GetCapacityResponse answer;
  ASSERT_TRUE(stub_->GetCapacity(&context, question, &answer).ok());
  EXPECT_EQ(answer.instances(), 5u);
  EXPECT_EQ(answer.hosts_total(), 3u);
  ASSERT_EQ(answer.hosts_size(), 2);
  EXPECT_EQ(answer.hosts(0).host(), "h1");
  EXPECT_EQ(answer.hosts(0).instances(), 1u);
  EXPECT_EQ(answer.hosts(1).instances(), 4u);
}

TEST_F(SchedulerGrpc, CreatesListsShowsAndDeletesAnInstance) {
  grpc::ClientContext create;
  v1::CreateInstanceRequest request;
  request.set_name("vm");
  request.set_flavor("pinned");
  request.mutable_boot()->set_kernel("/boot/vmlinuz");
  v1::CreateInstanceResponse created;
  ASSERT_TRUE(stub_->CreateInstance(&create, request, &created).ok());
  EXPECT_EQ(created.host_name(), "h1");
  EXPECT_EQ(created.claim().spec().kernel(), "/boot/vmlinuz");
  EXPECT_EQ(created.claim().cells(0).pinning_size(), 4);

  grpc::ClientContext list;
  v1::ListInstancesResponse listed;
  ASSERT_TRUE(stub_->ListInstances(&list, {}, &listed).ok());
  ASSERT_EQ(listed.instances_size(), 1);
  EXPECT_EQ(listed.instances(0).claim().name(), "vm");

  grpc::ClientContext get;
  v1::GetInstanceRequest which;
  which.set_instance(created.claim().consumer());
  v1::GetInstanceResponse got;
  ASSERT_TRUE(stub_->GetInstance(&get, which, &got).ok());
  EXPECT_EQ(got.agent_endpoint(), "h1:7703");

  grpc::ClientContext remove;
  v1::DeleteInstanceRequest gone;
  gone.set_instance("vm");
  v1::DeleteInstanceResponse deleted;
  ASSERT_TRUE(stub_->DeleteInstance(&remove, gone, &deleted).ok());
  EXPECT_EQ(placement_->Claims()[0].phase, placement::ClaimPhase::kReleasing);
}

TEST_F(SchedulerGrpc, NoFitCarriesTheReasonsOfEachHost) {
  placement::HostReport small = MakeHost("h1", 1, 3);
  placement_->ReportHost(small);
  grpc::ClientContext context;
  v1::CreateInstanceRequest request;
  request.set_name("vm");
  request.set_flavor("pinned");
  v1::CreateInstanceResponse response;

  grpc::Status status = stub_->CreateInstance(&context, request, &response);

  EXPECT_EQ(status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  auto detail = context.GetServerTrailingMetadata().find(kNoFitKey);
  ASSERT_NE(detail, context.GetServerTrailingMetadata().end());
  v1::NoFit parsed;
  ASSERT_TRUE(parsed.ParseFromArray(detail->second.data(), static_cast<int>(detail->second.size())));
  ASSERT_EQ(parsed.hosts_size(), 1);
  EXPECT_EQ(parsed.hosts(0).host(), "h1");
  EXPECT_EQ(parsed.hosts(0).reasons(0).have(), "3");
  EXPECT_EQ(parsed.hosts(0).reasons(0).need(), "4");
}

TEST_F(SchedulerGrpc, BadFieldIsNamedInTheErrorDetail) {
  grpc::ClientContext context;
  v1::CreateInstanceRequest request;
  request.set_name("vm");
  request.set_flavor("pinnd");
  v1::CreateInstanceResponse response;

  grpc::Status status = stub_->CreateInstance(&context, request, &response);

  Status ours = wire::FromGrpc(status, context);
  EXPECT_EQ(ours.code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(ours.field(), "flavor");
  EXPECT_EQ(ours.hint(), "did you mean \"pinned\"?");
}

TEST_F(SchedulerGrpc, ListsFlavorsAndAliases) {
  grpc::ClientContext first;
  v1::ListFlavorsResponse flavors;
  ASSERT_TRUE(stub_->ListFlavors(&first, {}, &flavors).ok());
  ASSERT_EQ(flavors.flavors_size(), 1);
  EXPECT_EQ(flavors.flavors(0).extra_specs().at("hw:cpu_policy"), "dedicated");
  grpc::ClientContext second;
  v1::ListAliasesResponse aliases;
  ASSERT_TRUE(stub_->ListAliases(&second, {}, &aliases).ok());
  ASSERT_EQ(aliases.aliases_size(), 1);
  EXPECT_EQ(aliases.aliases(0).numa_policy(), "socket");
}

TEST_F(SchedulerGrpc, SecondServerOnTheSamePortIsRefused) {
  std::string address = "127.0.0.1:" + std::to_string(server_->port());
  auto second = SchedulerServer::Start({address, folder_.string()}, std::make_unique<FakePlacement>());
  EXPECT_EQ(second.status().code(), StatusCode::kUnavailable);
  EXPECT_EQ(second.status().field(), "grpc-listen");
}

// A Watch that answers as scripted, one entry a connection, then keeps the stream open.
class ScriptedPlacement final : public v1::Placement::Service {
 public:
  struct Stream {
    std::vector<v1::Event> events;
    grpc::Status end = grpc::Status::OK;
    bool stays_open = false;
  };

  grpc::Status Watch(grpc::ServerContext* context, const v1::WatchRequest* request,
                     grpc::ServerWriter<v1::Event>* writer) override {
    Stream stream;
    {
      std::lock_guard lock(mutex_);
      requests_.push_back(*request);
      if (next_ < script.size()) stream = script[next_++];
      changed_.notify_all();
    }
    for (const v1::Event& event : stream.events) writer->Write(event);
    while (stream.stays_open && !context->IsCancelled()) {
      std::unique_lock lock(mutex_);
      changed_.wait_for(lock, std::chrono::milliseconds(20));
    }
    return stream.end;
  }

  std::vector<v1::WatchRequest> WaitForRequests(size_t count) {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, std::chrono::seconds(20), [&] { return requests_.size() >= count; });
    return requests_;
  }

  std::vector<Stream> script;

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<v1::WatchRequest> requests_;
  size_t next_ = 0;
};

v1::Event HostEvent(const placement::HostReport& host, uint64_t sequence, uint64_t generation) {
  v1::Event event;
  event.set_sequence(sequence);
  event.set_kind(v1::EVENT_KIND_HOST_CHANGED);
  event.set_host(host.uuid.ToString());
  event.set_generation(generation);
  wire::HostToProto(host, event.mutable_host_state());
  return event;
}

v1::Event Synced(uint64_t sequence) {
  v1::Event event;
  event.set_sequence(sequence);
  event.set_kind(v1::EVENT_KIND_SYNCED);
  return event;
}

TEST(GrpcPlacementClient, ResumesWhereTheStreamBrokeAndBeginsAnewWhenThatIsGone) {
  placement::HostReport host = MakeHost("h1", 1, 4);
  ScriptedPlacement service;
  service.script = {
      {{HostEvent(host, 7, 1), Synced(7), HostEvent(host, 8, 2)}, grpc::Status::OK, false},
      {{}, grpc::Status(grpc::StatusCode::OUT_OF_RANGE, "gone"), false},
      {{HostEvent(host, 30, 9), Synced(30)}, grpc::Status::OK, true},
  };
  grpc::ServerBuilder builder;
  int port = 0;
  builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
  builder.RegisterService(&service);
  auto server = builder.BuildAndStart();
  GrpcPlacementClient client(placement::MakeChannel("127.0.0.1:" + std::to_string(port)));
  std::mutex mutex;
  std::condition_variable changed;
  std::vector<PlacementEvent> events;

  client.StartWatch([&](PlacementEvent event) {
    std::lock_guard lock(mutex);
    events.push_back(std::move(event));
    changed.notify_all();
  });
  std::vector<v1::WatchRequest> requests = service.WaitForRequests(3);
  {
    std::unique_lock lock(mutex);
    changed.wait_for(lock, std::chrono::seconds(20), [&] { return events.size() >= 7; });
  }
  client.StopWatch();
  server->Shutdown();

  ASSERT_EQ(requests.size(), 3u);
  EXPECT_TRUE(requests[0].snapshot());
  EXPECT_EQ(requests[1].after_sequence(), 8u);
  EXPECT_FALSE(requests[1].snapshot());
  EXPECT_TRUE(requests[2].snapshot());
  using Kind = PlacementEvent::Kind;
  std::vector<Kind> kinds;
  for (const PlacementEvent& event : events) kinds.push_back(event.kind);
  EXPECT_EQ(kinds, (std::vector<Kind>{Kind::kReset, Kind::kHostChanged, Kind::kSynced, Kind::kHostChanged,
                                      Kind::kReset, Kind::kHostChanged, Kind::kSynced}));
  EXPECT_EQ(events[1].report->name, "h1");
  EXPECT_EQ(events[5].generation, 9u);
}

TEST(GrpcPlacementClient, UnreachablePlacementIsUnavailable) {
  GrpcPlacementClient client(placement::MakeChannel("127.0.0.1:1"));
  EXPECT_EQ(client.GetClaim("vm").status().code(), StatusCode::kUnavailable);
}

TEST_F(SchedulerGrpc, BatchesGroupsAndStatusOfHostsGoThroughTheService) {
  placement_->ReportHost(MakeHost("h2", 1, 4));
  v1::CreateInstancesRequest batch;
  batch.set_all_or_nothing(true);
  for (const char* name : {"a", "b"}) {
    auto* one = batch.add_instances();
    one->set_name(name);
    one->set_flavor("pinned");
    one->mutable_group()->set_name("g");
    one->mutable_group()->set_policy(v1::GROUP_POLICY_ANTI_AFFINITY);
  }
  v1::SelectDestinationsRequest select;
  *select.mutable_instances() = batch.instances();
  v1::SelectDestinationsResponse places;
  grpc::ClientContext dry;
  ASSERT_TRUE(stub_->SelectDestinations(&dry, select, &places).ok());
  ASSERT_EQ(places.results_size(), 2);
  EXPECT_NE(places.results(0).host_name(), places.results(1).host_name());
  EXPECT_TRUE(placement_->Claims().empty());

  v1::CreateInstancesResponse made;
  grpc::ClientContext create;
  ASSERT_TRUE(stub_->CreateInstances(&create, batch, &made).ok());
  EXPECT_EQ(placement_->Claims().size(), 2u);
  v1::ListGroupsResponse groups;
  grpc::ClientContext list;
  ASSERT_TRUE(stub_->ListGroups(&list, {}, &groups).ok());
  ASSERT_EQ(groups.groups_size(), 1);
  EXPECT_EQ(groups.groups(0).group().name(), "g");
  ASSERT_EQ(groups.groups(0).members_size(), 2);
  EXPECT_EQ(groups.groups(0).members(0).instance(), "a");

  batch.mutable_instances(0)->set_name("c");
  batch.mutable_instances(1)->set_name("d");
  grpc::ClientContext full;
  grpc::Status refused = stub_->CreateInstances(&full, batch, &made);
  EXPECT_EQ(refused.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_NE(refused.error_message().find("instance \"c\""), std::string::npos) << refused.error_message();

  placement_->ReportHost(MakeHost("h3", 1, 4));
  v1::DrainHostRequest drain;
  drain.set_host("h3");
  v1::DrainHostResponse drained;
  grpc::ClientContext out;
  ASSERT_TRUE(stub_->DrainHost(&out, drain, &drained).ok());
  v1::ExplainRequest question;
  question.mutable_wish()->set_flavor("pinned");
  question.set_verdicts(true);
  v1::ExplainResponse why;
  grpc::ClientContext explain;
  ASSERT_TRUE(stub_->Explain(&explain, question, &why).ok());
  EXPECT_EQ(why.hosts(), 3u);
  ASSERT_EQ(why.verdicts_size(), 3);
  EXPECT_EQ(why.verdicts(2).host(), "h3");
  EXPECT_EQ(why.verdicts(2).reasons(0).code(), "compute_status");
  v1::GetCapacityRequest count;
  count.mutable_wish()->set_flavor("pinned");
  v1::GetCapacityResponse capacity;
  grpc::ClientContext counting;
  ASSERT_TRUE(stub_->GetCapacity(&counting, count, &capacity).ok());
  EXPECT_EQ(capacity.instances(), 0u);
  v1::EnableHostRequest enable;
  enable.set_host("h3");
  v1::EnableHostResponse enabled;
  grpc::ClientContext in;
  ASSERT_TRUE(stub_->EnableHost(&in, enable, &enabled).ok());
  grpc::ClientContext again;
  ASSERT_TRUE(stub_->GetCapacity(&again, count, &capacity).ok());
  EXPECT_EQ(capacity.instances(), 1u);
  ASSERT_EQ(capacity.aggregates_size(), 1);
  EXPECT_EQ(capacity.aggregates(0).name(), "zone:default");
}

TEST_F(SchedulerGrpc, StreamedBatchesAreAnsweredInOrder) {
  placement_->ReportHost(MakeHost("h2", 1, 4));
  grpc::ClientContext context;
  auto stream = stub_->StreamInstances(&context);
  for (int i = 0; i < 3; ++i) {
    v1::CreateInstancesRequest batch;
    auto* one = batch.add_instances();
    one->set_name("vm" + std::to_string(i));
    one->set_flavor("pinned");
    ASSERT_TRUE(stream->Write(batch));
  }
  stream->WritesDone();
  std::vector<int> codes;
  v1::CreateInstancesResponse answer;
  while (stream->Read(&answer)) codes.push_back(answer.results(0).code());
  EXPECT_TRUE(stream->Finish().ok());
  EXPECT_EQ(codes, (std::vector<int>{0, 0, grpc::StatusCode::RESOURCE_EXHAUSTED}));
}

TEST_F(SchedulerGrpc, WatchersHearOfEveryChange) {
  grpc::ClientContext context;
  auto stream = stub_->WatchInstances(&context, {});
  v1::InstanceEvent event;
  ASSERT_TRUE(stream->Read(&event));
  EXPECT_EQ(event.kind(), v1::INSTANCE_EVENT_KIND_SYNCED);
  v1::CreateInstanceRequest request;
  request.set_name("vm");
  request.set_flavor("pinned");
  v1::CreateInstanceResponse created;
  grpc::ClientContext create;
  ASSERT_TRUE(stub_->CreateInstance(&create, request, &created).ok());
  ASSERT_TRUE(stream->Read(&event));
  EXPECT_EQ(event.kind(), v1::INSTANCE_EVENT_KIND_CHANGED);
  EXPECT_EQ(event.claim().name(), "vm");
  placement_->Finalize(*Uuid::Parse(created.claim().consumer()));
  ASSERT_TRUE(stream->Read(&event));
  EXPECT_EQ(event.kind(), v1::INSTANCE_EVENT_KIND_DELETED);
  server_->Stop();
  EXPECT_FALSE(stream->Read(&event));
  EXPECT_EQ(stream->Finish().error_code(), grpc::StatusCode::UNAVAILABLE);
}

}  // namespace
}  // namespace berth::scheduler
