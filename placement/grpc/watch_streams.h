#pragma once

#include <grpcpp/support/server_callback.h>

#include <memory>
#include <mutex>
#include <unordered_set>

#include "berth/v1/placement.pb.h"
#include "placement/engine/event_hub.h"

namespace berth::placement {

class WatchStream;

// The open Watch calls of one service. Each stream owns itself and ends with its call. Thread-safe.
class WatchStreams {
 public:
  explicit WatchStreams(EventHub& hub) : hub_(hub) {}

  grpc::ServerWriteReactor<v1::Event>* Open(grpc::CallbackServerContext* context,
                                            const WatchRequest& request);
  // A stream that ends at once with this error.
  grpc::ServerWriteReactor<v1::Event>* Refuse(grpc::CallbackServerContext* context, const Status& status);
  // Ends all, now and in future, with UNAVAILABLE.
  void EndAll();

 private:
  friend class WatchStream;
  void Forget(WatchStream* stream);

  EventHub& hub_;
  std::mutex mutex_;
  std::unordered_set<WatchStream*> open_;
  bool ended_ = false;
};

}  // namespace berth::placement
