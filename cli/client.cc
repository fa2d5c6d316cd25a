#include "cli/client.h"

#include "common/host_port.h"

namespace berth::cli {

Client::Client(std::string endpoint, double timeout_s)
    : endpoint_(std::move(endpoint)),
      usable_(ParsePeer(endpoint_, kEndpointField).status()),
      timeout_(static_cast<int64_t>(timeout_s * 1000)) {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(-1);  // a fleet's list of hosts is large
  channel_ = grpc::CreateCustomChannel(endpoint_, grpc::InsecureChannelCredentials(), arguments);
  placement_ = v1::Placement::NewStub(channel_);
  scheduler_ = v1::Scheduler::NewStub(channel_);
  agent_ = v1::Agent::NewStub(channel_);
}

void Client::Prepare(grpc::ClientContext& call) const {
  call.set_deadline(std::chrono::system_clock::now() + timeout_);
}

Status Client::Explain(Status status, const char* service) const {
  if (status.code() == StatusCode::kUnimplemented && status.message().empty()) {
    return Status(status.code(), endpoint_ + " does not serve this: it is a call of " + service,
                  kEndpointField, "set --endpoint to that service; berth has them all");
  }
  // Whoever is connected has answered, and says itself who is away.
  if (status.code() != StatusCode::kUnavailable || channel_->GetState(false) == GRPC_CHANNEL_READY)
    return status;
  return Status(status.code(), "no answer from " + endpoint_ + ": " + status.message(), kEndpointField,
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
