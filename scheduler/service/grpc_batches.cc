#include <algorithm>
#include <map>
#include <mutex>
#include <utility>

#include "placement/wire/status.h"
#include "scheduler/service/grpc_service.h"
#include "scheduler/service/wire.h"

// Calls about several instances, groups and hosts.
namespace berth::scheduler {
namespace {

grpc::ServerUnaryReactor* Finish(grpc::CallbackServerContext* context, const Status& status) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  reactor->Finish(wire::ToGrpc(context, status));
  return reactor;
}

template <class Response>
void AnswersToProto(const BatchAnswer& answer, Response* response) {
  for (const InstanceAnswer& one : answer.answers) ResultToProto(one, response->add_results());
}

// The status of a refused batch says which instance had no place.
Status NameRefused(const BatchAnswer& answer, const BatchRequest& batch) {
  if (answer.status.ok() || !batch.all_or_nothing || answer.refused >= batch.instances.size())
    return answer.status;
  Status status = answer.status;
  return std::move(status).WithContext("instance \"" + batch.instances[answer.refused].name + "\"");
}

}  // namespace

// One StreamInstances call: a batch is read, decided on the worker, answered, and only then the next is read.
// Deleted by OnDone.
class BatchStream final
    : public grpc::ServerBidiReactor<v1::CreateInstancesRequest, v1::CreateInstancesResponse> {
 public:
  BatchStream(Scheduler& scheduler, WorkQueue& queue, grpc::CallbackServerContext* context)
      : scheduler_(scheduler), queue_(queue), context_(context) {
    StartRead(&request_);
  }

  void OnReadDone(bool ok) override {
    if (!ok) return Finish(grpc::Status::OK);
    bool queued = queue_.Push([this] {
      Decide();
      StartWrite(&response_);
    });
    if (!queued)
      Finish(wire::ToGrpc(context_, Unavailable("the scheduler is stopping or has too much to do")));
  }
  void OnWriteDone(bool ok) override {
    if (!ok) return Finish(grpc::Status::CANCELLED);
    StartRead(&request_);
  }
  void OnDone() override { delete this; }

 private:
  void Decide() {
    response_.Clear();
    auto batch = BatchFromProto(request_.instances(), request_.all_or_nothing());
    Status status = batch.status();
    if (batch.has_value()) {
      BatchAnswer answer = scheduler_.CreateMany(*batch);
      status = NameRefused(answer, *batch);
      AnswersToProto(answer, &response_);
    }
    response_.set_code(wire::ToGrpc(nullptr, status).error_code());
    response_.set_message(status.message());
    response_.set_field(status.field());
  }

  Scheduler& scheduler_;
  WorkQueue& queue_;
  grpc::CallbackServerContext* const context_;
  v1::CreateInstancesRequest request_;
  v1::CreateInstancesResponse response_;
};

grpc::ServerUnaryReactor* GrpcService::CreateInstances(grpc::CallbackServerContext* context,
                                                       const v1::CreateInstancesRequest* request,
                                                       v1::CreateInstancesResponse* response) {
  auto batch = BatchFromProto(request->instances(), request->all_or_nothing());
  if (!batch.has_value()) return Finish(context, batch.error());
  return Enqueue(context, [this, context, response, asked = *std::move(batch)] {
    BatchAnswer answer = scheduler_.CreateMany(asked);
    AnswersToProto(answer, response);
    return wire::ToGrpc(context, NameRefused(answer, asked));
  });
}

grpc::ServerBidiReactor<v1::CreateInstancesRequest, v1::CreateInstancesResponse>*
GrpcService::StreamInstances(grpc::CallbackServerContext* context) {
  return new BatchStream(scheduler_, queue_, context);
}

grpc::ServerUnaryReactor* GrpcService::SelectDestinations(grpc::CallbackServerContext* context,
                                                          const v1::SelectDestinationsRequest* request,
                                                          v1::SelectDestinationsResponse* response) {
  auto batch = BatchFromProto(request->instances(), request->all_or_nothing());
  if (!batch.has_value()) return Finish(context, batch.error());
  batch->dry_run = true;
  batch->alternates = request->alternates();
  return Enqueue(context, [this, context, response, asked = *std::move(batch)] {
    BatchAnswer answer = scheduler_.CreateMany(asked);
    AnswersToProto(answer, response);
    return wire::ToGrpc(context, NameRefused(answer, asked));
  });
}

grpc::ServerWriteReactor<v1::InstanceEvent>* GrpcService::WatchInstances(
    grpc::CallbackServerContext* context, const v1::WatchInstancesRequest* request) {
  return watches_.Open(context, [&](std::function<void()> wake) {
    return InstanceEvents(scheduler_, request->instance(), std::move(wake));
  });
}

grpc::ServerUnaryReactor* GrpcService::ListGroups(grpc::CallbackServerContext* context,
                                                  const v1::ListGroupsRequest* request,
                                                  v1::ListGroupsResponse* response) {
  if (Status ready = scheduler_.CheckReady(); !ready.ok()) return Finish(context, ready);
  GroupsToProto(scheduler_.mirror().Groups(), scheduler_.List(), request->name(), response);
  if (!request->name().empty() && response->groups_size() == 0)
    return Finish(context, NotFound("server group \"" + request->name() + "\" has no members", "name"));
  return Finish(context, OkStatus());
}

grpc::ServerUnaryReactor* GrpcService::DrainHost(grpc::CallbackServerContext* context,
                                                 const v1::DrainHostRequest* request,
                                                 v1::DrainHostResponse* /*response*/) {
  return Enqueue(context, [this, context, host = request->host(), reason = request->reason()] {
    return wire::ToGrpc(context, scheduler_.SetHostStatus(host, false, reason));
  });
}

grpc::ServerUnaryReactor* GrpcService::EnableHost(grpc::CallbackServerContext* context,
                                                  const v1::EnableHostRequest* request,
                                                  v1::EnableHostResponse* /*response*/) {
  return Enqueue(context, [this, context, host = request->host(), reason = request->reason()] {
    return wire::ToGrpc(context, scheduler_.SetHostStatus(host, true, reason));
  });
}

grpc::ServerUnaryReactor* GrpcService::ListAggregates(grpc::CallbackServerContext* context,
                                                      const v1::ListAggregatesRequest* /*request*/,
                                                      v1::ListAggregatesResponse* response) {
  if (Status ready = scheduler_.CheckReady(); !ready.ok()) return Finish(context, ready);
  // Facts name the aggregates of the facts' table; names are unique.
  std::map<std::string, std::vector<std::string>> hosts;
  scheduler_.mirror().Snapshot()->ForEach([&](const HostView& view) {
    for (const Aggregate* aggregate : view.facts->aggregates)
      hosts[aggregate->name].push_back(view.report->name);
  });
  for (const Aggregate& aggregate : scheduler_.policy().settings.aggregates) {
    auto* one = response->add_aggregates();
    one->set_name(aggregate.name);
    if (!aggregate.uuid.is_nil()) one->set_uuid(aggregate.uuid.ToString());
    one->set_availability_zone(aggregate.availability_zone);
    for (const auto& [key, value] : aggregate.metadata) (*one->mutable_metadata())[key] = value;
    std::vector<std::string>& names = hosts[aggregate.name];
    std::sort(names.begin(), names.end());
    for (const std::string& name : names) one->add_hosts(name);
  }
  return Finish(context, OkStatus());
}

}  // namespace berth::scheduler
