#pragma once

#include <grpcpp/support/server_callback.h>

#include <functional>
#include <memory>
#include <mutex>
#include <unordered_set>
#include <utility>

#include "placement/wire/status.h"

namespace berth::wire {

// What one streaming call tells: the events of one subscription, which ends with this object (no wake-up
// begins after the destructor has returned).
template <class Message>
class EventSource {
 public:
  EventSource() = default;
  virtual ~EventSource() = default;
  EventSource(const EventSource&) = delete;
  EventSource& operator=(const EventSource&) = delete;

  // Writes the next event into `out`, whatever was there. False: none now, the wake-up comes when there is
  // one. An error ends the call with it.
  virtual Result<bool> Next(Message* out) = 0;
};

// The open calls of one server-streaming method that follows events. Each call owns itself and ends with its
// client, with an error of its source, or with EndAll. Thread-safe.
template <class Message>
class EventStreams {
 public:
  using Source = std::unique_ptr<EventSource<Message>>;
  // Makes the source of one call. `wake` is quick, calls neither the source nor what made it, and may be
  // called on any thread, also before Subscribe returns.
  using Subscribe = std::function<Result<Source>(std::function<void()> wake)>;

  // `stopped`: what calls are told that are open at, or come after, EndAll.
  explicit EventStreams(Status stopped) : stopped_(std::move(stopped)) {}

  // An error of `subscribe` ends the call at once.
  grpc::ServerWriteReactor<Message>* Open(grpc::CallbackServerContext* context, const Subscribe& subscribe) {
    auto* stream = new Stream(*this, context);
    bool ended = false;
    {
      std::lock_guard lock(mutex_);
      open_.insert(stream);
      ended = ended_;
    }
    if (ended) {
      stream->End(stopped_);
    } else {
      stream->Start(subscribe);
    }
    return stream;
  }

  // Ends all, now and in future.
  void EndAll() {
    std::lock_guard lock(mutex_);
    ended_ = true;
    for (Stream* stream : open_) stream->End(stopped_);
  }

 private:
  // Writes one event at a time, the next when the last has gone. gRPC and whoever wakes both call in; mutex_
  // keeps their steps apart. Deleted by OnDone.
  class Stream final : public grpc::ServerWriteReactor<Message> {
   public:
    Stream(EventStreams& streams, grpc::CallbackServerContext* context)
        : streams_(streams), context_(context) {}

    void Start(const Subscribe& subscribe) {
      Result<Source> source = subscribe([this] { Pump(); });
      if (!source) return End(source.error());
      {
        std::lock_guard lock(mutex_);
        source_ = *std::move(source);
      }
      // Headers now: the client knows that it is connected although nothing may happen for long.
      this->StartSendInitialMetadata();
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
      Source source;
      {
        std::lock_guard lock(mutex_);
        source = std::move(source_);
      }
      source.reset();  // without the lock, since it waits for a wake-up that is under way
      streams_.Forget(this);
      delete this;
    }

   private:
    void Pump() {
      std::lock_guard lock(mutex_);
      if (finished_ || writing_ || !source_) return;
      Result<bool> filled = source_->Next(&message_);
      if (!filled) return EndLocked(filled.error());
      if (!*filled) return;
      writing_ = true;
      this->StartWrite(&message_);
    }

    void EndLocked(const Status& status) {
      if (finished_) return;
      finished_ = true;
      this->Finish(ToGrpc(context_, status));
    }

    EventStreams& streams_;
    grpc::CallbackServerContext* const context_;
    std::mutex mutex_;  // guards all below
    Source source_;
    bool writing_ = false;
    bool finished_ = false;
    Message message_;
  };

  void Forget(Stream* stream) {
    std::lock_guard lock(mutex_);
    open_.erase(stream);
  }

  const Status stopped_;
  std::mutex mutex_;
  std::unordered_set<Stream*> open_;
  bool ended_ = false;
};

}  // namespace berth::wire
