#include "cli/client.h"

namespace berth::cli {

Client::Client(std::string endpoint, double timeout_s)
    : endpoint_(std::move(endpoint)), timeout_(static_cast<int64_t>(timeout_s * 1000)) {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(-1);  // a fleet's list of hosts is large
  std::shared_ptr<grpc::Channel> channel =
      grpc::CreateCustomChannel(endpoint_, grpc::InsecureChannelCredentials(), arguments);
  placement_ = v1::Placement::NewStub(channel);
  scheduler_ = v1::Scheduler::NewStub(channel);
  agent_ = v1::Agent::NewStub(channel);
}

void Client::Prepare(grpc::ClientContext& call) const {
  call.set_deadline(std::chrono::system_clock::now() + timeout_);
}

Status Client::Explain(Status status) const {
  if (status.code() != StatusCode::kUnavailable) return status;
  return Status(status.code(), "no answer from " + endpoint_ + ": " + status.message(), "endpoint",
                "is berth running there? Set --endpoint or BERTH_ENDPOINT");
}

std::optional<v1::NoFit> Client::NoFitOf(const grpc::ClientContext& call) {
  const auto& metadata = call.GetServerTrailingMetadata();
  auto found = metadata.find("berth-no-fit-bin");
  if (found == metadata.end()) return std::nullopt;
  v1::NoFit no_fit;
  if (!no_fit.ParseFromArray(found->second.data(), static_cast<int>(found->second.size()))) {
    return std::nullopt;
  }
  return no_fit;
}

}  // namespace berth::cli
