#include "placement/grpc/watch_streams.h"

#include "placement/wire/claim.h"
#include "placement/wire/host.h"
#include "placement/wire/status.h"

namespace berth::placement {
namespace {

void EventToProto(const Event& event, v1::Event* out) {
  out->Clear();
  out->set_sequence(event.sequence);
  out->set_kind(static_cast<v1::EventKind>(event.kind));  // the same numbers
  if (event.kind != EventKind::kSynced) out->set_host(event.host.ToString());
  out->set_generation(event.generation);
  out->set_at_ms(event.at_ms);
  if (event.report) {
    wire::HostToProto(*event.report, out->mutable_host_state());
    out->mutable_host_state()->set_generation(event.generation);
  }
  if (event.kind == EventKind::kClaimChanged) wire::ClaimToProto(*event.claim, out->mutable_claim());
  if (event.kind == EventKind::kClaimDeleted) {
    v1::Claim* claim = out->mutable_claim();
    claim->set_consumer(event.claim->consumer.ToString());
    claim->set_name(event.claim->name);
    claim->set_host(event.claim->host.ToString());
  }
}

}  // namespace

// One Watch call: writes one event at a time, the next when the last has gone. gRPC and the writer's thread
// both call in; mutex_ keeps their steps apart. Deleted by OnDone.
class WatchStream final : public grpc::ServerWriteReactor<v1::Event> {
 public:
  WatchStream(WatchStreams& streams, grpc::CallbackServerContext* context)
      : streams_(streams), context_(context) {}

  void Start(const WatchRequest& request) {
    auto watcher = streams_.hub_.Subscribe(request, [this] { Pump(); });
    if (!watcher) return End(watcher.error());
    {
      std::lock_guard lock(mutex_);
      watcher_ = *std::move(watcher);
    }
    // Headers now: the client knows that it is connected although nothing may happen for long.
    StartSendInitialMetadata();
    Pump();
  }

  void End(const Status& status) {
    std::lock_guard lock(mutex_);
    EndLocked(status);
  }

  void OnWriteDone(bool ok) override {
    {
      std::lock_guard lock(mutex_);
      writing_ = false;
      if (!ok) EndLocked(Status(StatusCode::kCancelled, "the client has gone"));
    }
    Pump();
  }
  void OnCancel() override { End(Status(StatusCode::kCancelled, "the client has gone")); }
  void OnDone() override {
    // No wake-up is under way or comes after this.
    std::shared_ptr<Watcher> watcher;
    {
      std::lock_guard lock(mutex_);
      watcher = watcher_;
    }
    if (watcher) streams_.hub_.Unsubscribe(watcher);
    streams_.Forget(this);
    delete this;
  }

 private:
  void Pump() {
    std::lock_guard lock(mutex_);
    if (finished_ || writing_ || !watcher_) return;
    Result<std::shared_ptr<const Event>> next = watcher_->Next();
    if (!next) return EndLocked(next.error());
    if (!*next) return;
    writing_ = true;
    EventToProto(**next, &message_);
    StartWrite(&message_);
  }

  void EndLocked(const Status& status) {
    if (finished_) return;
    finished_ = true;
    Finish(wire::ToGrpc(context_, status));
  }

  WatchStreams& streams_;
  grpc::CallbackServerContext* const context_;
  std::mutex mutex_;
  std::shared_ptr<Watcher> watcher_;
  bool writing_ = false;
  bool finished_ = false;
  v1::Event message_;
};

grpc::ServerWriteReactor<v1::Event>* WatchStreams::Open(grpc::CallbackServerContext* context,
                                                        const WatchRequest& request) {
  auto* stream = new WatchStream(*this, context);
  {
    std::lock_guard lock(mutex_);
    if (!ended_) open_.insert(stream);
    if (ended_) {
      stream->End(Unavailable("placement is shutting down"));
      return stream;
    }
  }
  stream->Start(request);
  return stream;
}

grpc::ServerWriteReactor<v1::Event>* WatchStreams::Refuse(grpc::CallbackServerContext* context,
                                                          const Status& status) {
  auto* stream = new WatchStream(*this, context);
  stream->End(status);
  return stream;
}

void WatchStreams::EndAll() {
  std::lock_guard lock(mutex_);
  ended_ = true;
  for (WatchStream* stream : open_) stream->End(Unavailable("placement is shutting down"));
}

void WatchStreams::Forget(WatchStream* stream) {
  std::lock_guard lock(mutex_);
  open_.erase(stream);
}

}  // namespace berth::placement
