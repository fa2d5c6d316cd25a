#pragma once

#include <grpcpp/server_context.h>
#include <grpcpp/support/server_callback.h>

#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "berth/v1/agent.pb.h"
#include "compute-agent/instances/console_hub.h"

namespace berth::agent {

// One Agent.Console call: joins a client's stream with a console. Deletes itself when the call is done. The
// client may end its side and still receive output; a client that does not keep up is refused.
class ConsoleStream final : public grpc::ServerBidiReactor<v1::ConsoleInput, v1::ConsoleOutput> {
 public:
  static constexpr size_t kMaxWaiting = 1 << 20;  // bytes of output for a slow client

  // `hub` must outlive the call.
  static ConsoleStream* Open(grpc::CallbackServerContext* context, ConsoleHub& hub);

  void OnReadDone(bool ok) override;
  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;

 private:
  class Listener;

  ConsoleStream(grpc::CallbackServerContext* context, ConsoleHub& hub) : context_(context), hub_(hub) {}
  Status Take(const v1::ConsoleInput& input);
  Status Subscribe(const std::string& instance);
  void Append(std::string_view data);
  // Nothing more will be written than what waits; then the call ends with `status`.
  void End(Status status);
  // Starts the next write or the end of the call, if it is time. Not to be called with mutex_ held.
  void Advance();

  grpc::CallbackServerContext* context_;
  ConsoleHub& hub_;
  v1::ConsoleInput input_;        // of the read in flight
  std::optional<Uuid> instance_;  // after the first message; of the reading side
  std::optional<uint64_t> subscription_;

  std::mutex mutex_;          // guards the rest; taken after the hub's, never before a call of it
  v1::ConsoleOutput output_;  // of the write in flight
  std::string waiting_;
  bool writing_ = false;
  bool finished_ = false;
  std::optional<Status> end_;
};

}  // namespace berth::agent
