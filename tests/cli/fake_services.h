#pragma once

#include <grpcpp/grpcpp.h>

#include <memory>
#include <string>
#include <vector>

#include "berth/v1/agent.grpc.pb.h"
#include "berth/v1/placement.grpc.pb.h"
#include "berth/v1/scheduler.grpc.pb.h"

namespace berth::cli {

// What the fake services answer with and what they were asked. Filled before the server gets calls.
struct FakeCloud {
  v1::GetHostResponse host;  // the only host
  v1::ListFlavorsResponse flavors;
  v1::ListAliasesResponse aliases;
  v1::GetInstanceRuntimeResponse runtime;
  v1::NoFit no_fit;  // of the refused flavor "huge"
  v1::ExplainResponse explanation;
  v1::GetCapacityResponse capacity;          // of flavor "numa2"
  std::vector<v1::InstanceState> states;     // what an instance goes through, one step a question
  std::string console_greeting = "login: ";  // then the console sends back what it gets

  v1::CreateInstanceRequest created;  // the last request
  v1::ExplainRequest explained;       // likewise
  std::vector<std::string> deleted;
  std::vector<std::string> forgotten;  // hosts
  std::vector<std::string> started;
};

// A host with two nodes, an SR-IOV card and two instances: "vm1" is pinned, with 2 guest cells and a VF;
// "vm2" floats.
FakeCloud SmallCloud();

// Serves all three services on one port of 127.0.0.1, as the all-in-one program does. One call at a time.
class FakeServices {
 public:
  explicit FakeServices(FakeCloud& cloud);
  ~FakeServices();

  const std::string& endpoint() const { return endpoint_; }

 private:
  class PlacementService;
  class SchedulerService;
  class AgentService;

  std::unique_ptr<PlacementService> placement_;
  std::unique_ptr<SchedulerService> scheduler_;
  std::unique_ptr<AgentService> agent_;
  std::unique_ptr<grpc::Server> server_;
  std::string endpoint_;
};

}  // namespace berth::cli
