#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "placement/engine/fleet.h"

namespace berth::placement {

struct WatchRequest {
  uint64_t after_sequence = 0;    // the last one that the client has seen; 0: from the first that is kept
  bool snapshot = false;          // begin with the present state; after_sequence does not count then
  std::optional<Uuid> host = {};  // only events of this host
};

// One follower of the events. Made by EventHub::Subscribe. Thread-safe.
class Watcher {
 public:
  // The next event in order; nullptr: none now, `wake` will be called when there is one. A snapshot comes
  // first: each host (kHostChanged) followed by its claims (kClaimChanged), then kSynced, all with the
  // snapshot's number. kOutOfRange: the client was too slow, and events have been dropped: it must subscribe
  // anew.
  Result<std::shared_ptr<const Event>> Next();

 private:
  friend class EventHub;
  bool Push(const std::shared_ptr<const Event>& event, size_t limit);
  std::shared_ptr<const Event> NextOfSnapshot();

  std::mutex mutex_;
  std::function<void()> wake_;
  std::optional<Uuid> host_;
  // The snapshot, until it is told.
  std::vector<Fleet::Version> snapshot_;
  size_t snapshot_host_ = 0;
  size_t snapshot_claim_ = 0;  // 0: the host itself
  bool snapshot_pending_ = false;
  uint64_t snapshot_sequence_ = 0;
  // What has happened since.
  std::deque<std::shared_ptr<const Event>> backlog_;  // kept events at the time of subscription
  std::deque<std::shared_ptr<const Event>> buffer_;
  bool dropped_ = false;
};

// Keeps the last events and hands each to all who follow. Thread-safe.
class EventHub {
 public:
  struct Options {
    size_t kept = 16384;  // events that a resuming client may ask for
    size_t watcher_buffer =
        16384;  // events that a slow client may lag behind: several of the largest commits
  };

  EventHub(Fleet& fleet, Options options) : fleet_(fleet), options_(options) {}

  // At the start: what the store has kept.
  void Load(const std::vector<std::shared_ptr<const Event>>& events, uint64_t sequence);
  // By the writer after each commit: shows the new versions to the readers and the events to the watchers, in
  // one step for those who ask for a snapshot.
  void Publish(const Engine::Committed& committed);

  // `wake` is called, from the writer's thread, whenever there is something new after Next has returned
  // nothing, or the watcher was dropped. It must be quick and must not call the hub. kOutOfRange: the events
  // after that number are not kept (any more), or have not happened yet.
  Result<std::shared_ptr<Watcher>> Subscribe(const WatchRequest& request, std::function<void()> wake);
  // No `wake` begins after this has returned.
  void Unsubscribe(const std::shared_ptr<Watcher>& watcher);

  uint64_t sequence() const;

 private:
  Status Resume(const WatchRequest& request, Watcher& watcher) const;
  void Deliver(const std::shared_ptr<const Event>& event, std::unordered_set<Watcher*>& woken);

  Fleet& fleet_;
  const Options options_;
  mutable std::mutex mutex_;
  std::deque<std::shared_ptr<const Event>> kept_;
  uint64_t sequence_ = 0;
  std::unordered_map<Watcher*, std::shared_ptr<Watcher>> all_hosts_;
  std::unordered_map<Uuid, std::unordered_map<Watcher*, std::shared_ptr<Watcher>>> by_host_;
};

}  // namespace berth::placement
