#include "placement/client/event_watch.h"

#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <chrono>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <utility>
#include <vector>

namespace berth::placement {
namespace {

// One stream: what it tells, and how it ends.
struct Stream {
  std::vector<std::pair<v1::EventKind, uint64_t>> events;
  grpc::StatusCode end = grpc::StatusCode::OUT_OF_RANGE;
};

// Plays streams in order and keeps how each was asked for; after the last it waits until it is cancelled.
class ScriptedPlacement : public v1::Placement::Service {
 public:
  explicit ScriptedPlacement(std::deque<Stream> streams) : streams_(std::move(streams)) {}

  grpc::Status Watch(grpc::ServerContext* context, const v1::WatchRequest* request,
                     grpc::ServerWriter<v1::Event>* writer) override {
    std::unique_lock lock(mutex_);
    requests_.push_back(*request);
    if (streams_.empty()) {
      all_asked_ = true;
      done_.notify_all();
      while (!context->IsCancelled()) done_.wait_for(lock, std::chrono::milliseconds(5));
      return grpc::Status::CANCELLED;
    }
    const Stream stream = streams_.front();
    streams_.pop_front();
    for (const auto& [kind, sequence] : stream.events) {
      v1::Event event;
      event.set_kind(kind);
      event.set_sequence(sequence);
      writer->Write(event);
    }
    return {stream.end, "the end"};
  }
  // When all streams were played, and one more was asked for.
  std::vector<v1::WatchRequest> AwaitRequests() {
    std::unique_lock lock(mutex_);
    done_.wait(lock, [this] { return all_asked_; });
    return requests_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable done_;
  std::deque<Stream> streams_;
  bool all_asked_ = false;
  std::vector<v1::WatchRequest> requests_;
};

class CountingSink : public EventSink {
 public:
  void OnReset() override { ++resets; }
  Status OnEvent(const v1::Event& event) override {
    sequences.push_back(event.sequence());
    return OkStatus();
  }
  int resets = 0;
  std::vector<uint64_t> sequences;
};

TEST(EventWatch, BeginsAnewOnlyWhenWhatCameSinceIsNotKept) {
  ScriptedPlacement placement({{{{v1::EVENT_KIND_SYNCED, 5}, {v1::EVENT_KIND_CLAIM_CHANGED, 6}}},
                               {{{v1::EVENT_KIND_CLAIM_CHANGED, 7}}},  // it was too slow, twice
                               {{}},                                   // 8 is no longer kept
                               {{{v1::EVENT_KIND_SYNCED, 20}}, grpc::StatusCode::UNAVAILABLE}});
  grpc::ServerBuilder builder;
  builder.RegisterService(&placement);
  auto server = builder.BuildAndStart();
  auto stub = v1::Placement::NewStub(server->InProcessChannel({}));
  CountingSink sink;
  EventWatch watch(*stub, "");

  watch.Start(sink);
  const std::vector<v1::WatchRequest> requests = placement.AwaitRequests();
  watch.Stop();
  server->Shutdown();

  ASSERT_EQ(requests.size(), 5U);
  EXPECT_TRUE(requests[0].snapshot());
  EXPECT_FALSE(requests[1].snapshot());
  EXPECT_EQ(requests[1].after_sequence(), 6U);
  EXPECT_EQ(requests[2].after_sequence(), 7U);
  EXPECT_TRUE(requests[3].snapshot());
  EXPECT_EQ(requests[4].after_sequence(), 20U);
  EXPECT_EQ(sink.resets, 2);
  EXPECT_EQ(sink.sequences, (std::vector<uint64_t>{5, 6, 7, 20}));
}

}  // namespace
}  // namespace berth::placement
