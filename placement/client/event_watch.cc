#include "placement/client/event_watch.h"

#include <algorithm>
#include <utility>

#include "common/log.h"
#include "placement/wire/status.h"

namespace berth::placement {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kFirstPause{50};
constexpr milliseconds kLongestPause{2'000};

}  // namespace

EventWatch::EventWatch(v1::Placement::Stub& stub, std::string host) : stub_(stub), host_(std::move(host)) {}

EventWatch::~EventWatch() {
  Stop();
}

void EventWatch::Start(EventSink& sink) {
  CHECK(!thread_.joinable());
  sink_ = &sink;
  thread_ = std::thread([this] { Run(); });
}

void EventWatch::Stop() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
    if (stream_ != nullptr) stream_->TryCancel();
    changed_.notify_all();
  }
  if (thread_.joinable()) thread_.join();
}

// False when stopping.
bool EventWatch::Pause(milliseconds time) {
  std::unique_lock lock(mutex_);
  return !changed_.wait_for(lock, time, [this] { return stopping_; });
}

void EventWatch::Run() {
  milliseconds pause = kFirstPause;
  bool told = false;
  do {
    const uint64_t before = last_;
    Status status = Follow();
    const bool progress = last_ != before;
    // A stream that ended because we were too slow goes on where it ended; one that did not come so far asks
    // for events that are no longer kept. Or an event cannot be read.
    const bool lost = status.code() == StatusCode::kOutOfRange && !progress;
    if (lost || status.code() == StatusCode::kInvalidArgument) last_ = 0;
    pause = progress ? kFirstPause : std::min(pause * 2, kLongestPause);
    if (progress) told = false;
    if (!told && !status.ok() && status.code() != StatusCode::kCancelled) {
      LOG(kWarning, "placement_watch_lost", {{"error", status}});
      told = true;
    }
  } while (Pause(pause));
}

Status EventWatch::Follow() {
  grpc::ClientContext context;
  context.set_wait_for_ready(true);  // while placement is away, wait instead of failing again and again
  {
    std::lock_guard lock(mutex_);
    if (stopping_) return OkStatus();
    stream_ = &context;
  }
  v1::WatchRequest request;
  request.set_host(host_);
  request.set_after_sequence(last_);
  request.set_snapshot(last_ == 0);
  if (last_ == 0) sink_->OnReset();
  auto reader = stub_.Watch(&context, request);
  v1::Event event;
  Status failure;
  while (failure.ok() && reader->Read(&event)) failure = Deliver(event);
  if (!failure.ok()) context.TryCancel();
  Status end = wire::FromGrpc(reader->Finish(), context);
  std::lock_guard lock(mutex_);
  stream_ = nullptr;
  return failure.ok() ? end : failure;
}

Status EventWatch::Deliver(const v1::Event& event) {
  TRY(sink_->OnEvent(event));
  // Until the present state is complete there is nothing to resume from.
  if (last_ != 0 || event.kind() == v1::EVENT_KIND_SYNCED) last_ = event.sequence();
  return OkStatus();
}

}  // namespace berth::placement
