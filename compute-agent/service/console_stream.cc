#include "compute-agent/service/console_stream.h"

#include <utility>

#include "placement/wire/fields.h"
#include "placement/wire/status.h"

namespace berth::agent {
namespace {

constexpr size_t kMaxChunk = 64 << 10;

}  // namespace

// Unsubscribed in OnDone, before the stream goes away.
class ConsoleStream::Listener : public ConsoleListener {
 public:
  explicit Listener(ConsoleStream& stream) : stream_(stream) {}
  void OnOutput(std::string_view data) override { stream_.Append(data); }
  void OnEnd() override { stream_.End(OkStatus()); }

 private:
  ConsoleStream& stream_;
};

ConsoleStream* ConsoleStream::Open(grpc::CallbackServerContext* context, ConsoleHub& hub) {
  auto* stream = new ConsoleStream(context, hub);  // owned by the call: OnDone deletes it
  stream->StartRead(&stream->input_);
  return stream;
}

void ConsoleStream::OnReadDone(bool ok) {
  if (!ok) {
    if (!instance_.has_value()) End(InvalidArgument("the first message names the instance", "instance"));
    return;
  }
  Status taken = Take(input_);
  if (taken.ok()) {
    StartRead(&input_);
  } else {
    End(std::move(taken));
  }
}

Status ConsoleStream::Take(const v1::ConsoleInput& input) {
  if (!instance_.has_value()) {
    TRY(Subscribe(input.instance()));
  } else if (!input.instance().empty()) {
    return InvalidArgument("only the first message names the instance", "instance");
  }
  return input.data().empty() ? OkStatus() : hub_.Write(*instance_, input.data());
}

Status ConsoleStream::Subscribe(const std::string& instance) {
  TRY_ASSIGN(instance_, wire::ReadUuid(instance, "instance"));
  TRY_ASSIGN(subscription_, hub_.Subscribe(*instance_, std::make_shared<Listener>(*this)));
  return OkStatus();
}

void ConsoleStream::Append(std::string_view data) {
  bool too_slow = false;
  {
    std::lock_guard lock(mutex_);
    too_slow = waiting_.size() + data.size() > kMaxWaiting;
    if (!too_slow) waiting_ += data;
  }
  if (too_slow) {
    End({StatusCode::kResourceExhausted, "the client does not keep up with the console"});
  } else {
    Advance();
  }
}

void ConsoleStream::End(Status status) {
  {
    std::lock_guard lock(mutex_);
    if (!end_.has_value()) end_ = std::move(status);
  }
  Advance();
}

void ConsoleStream::Advance() {
  std::optional<Status> finish;
  {
    std::lock_guard lock(mutex_);
    if (writing_ || finished_) return;
    if (!waiting_.empty()) {
      output_.set_data(waiting_.substr(0, kMaxChunk));
      waiting_.erase(0, kMaxChunk);
      writing_ = true;
    } else if (end_.has_value()) {
      finish = end_;
      finished_ = true;
    } else {
      return;
    }
  }
  if (finish.has_value()) {
    Finish(wire::ToGrpc(context_, *finish));
  } else {
    StartWrite(&output_);
  }
}

void ConsoleStream::OnWriteDone(bool ok) {
  {
    std::lock_guard lock(mutex_);
    writing_ = false;
    if (!ok) {
      waiting_.clear();
      if (!end_.has_value()) end_ = Status{StatusCode::kCancelled, "the client is gone"};
    }
  }
  Advance();
}

void ConsoleStream::OnCancel() {
  {
    std::lock_guard lock(mutex_);
    waiting_.clear();
  }
  End({StatusCode::kCancelled, "cancelled"});
}

void ConsoleStream::OnDone() {
  if (subscription_.has_value()) hub_.Unsubscribe(*subscription_);
  delete this;
}

}  // namespace berth::agent
