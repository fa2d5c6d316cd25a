#include "placement/engine/event_hub.h"

#include <algorithm>

namespace berth::placement {

bool Watcher::Push(const std::shared_ptr<const Event>& event, size_t limit) {
  std::lock_guard lock(mutex_);
  if (dropped_) return false;
  if (buffer_.size() >= limit) {
    dropped_ = true;
    buffer_.clear();
    backlog_.clear();
    snapshot_.clear();
    return true;
  }
  buffer_.push_back(event);
  return true;
}

std::shared_ptr<const Event> Watcher::NextOfSnapshot() {
  auto event = std::make_shared<Event>();
  event->sequence = snapshot_sequence_;
  if (snapshot_host_ >= snapshot_.size()) {
    event->kind = EventKind::kSynced;
    snapshot_pending_ = false;
    snapshot_.clear();
    return event;
  }
  const HostVersion& host = *snapshot_[snapshot_host_];
  event->host = host.uuid();
  event->generation = host.generation;
  if (snapshot_claim_ == 0) {
    event->kind = EventKind::kHostChanged;
    event->report = host.report;
  } else {
    event->kind = EventKind::kClaimChanged;
    event->claim = host.claims[snapshot_claim_ - 1];
  }
  if (snapshot_claim_++ == host.claims.size()) {
    snapshot_[snapshot_host_++] = nullptr;
    snapshot_claim_ = 0;
  }
  return event;
}

Result<std::shared_ptr<const Event>> Watcher::Next() {
  std::lock_guard lock(mutex_);
  if (dropped_) {
    return OutOfRange("the watcher was too slow: events have been dropped", {},
                      "watch again after the last event seen, or with a snapshot");
  }
  if (snapshot_pending_) return NextOfSnapshot();
  auto& queue = backlog_.empty() ? buffer_ : backlog_;
  if (queue.empty()) return std::shared_ptr<const Event>();
  std::shared_ptr<const Event> event = std::move(queue.front());
  queue.pop_front();
  return event;
}

void EventHub::Load(const std::vector<std::shared_ptr<const Event>>& events, uint64_t sequence) {
  std::lock_guard lock(mutex_);
  size_t skip = events.size() > options_.kept ? events.size() - options_.kept : 0;
  kept_.assign(events.begin() + static_cast<ptrdiff_t>(skip), events.end());
  sequence_ = sequence;
}

uint64_t EventHub::sequence() const {
  std::lock_guard lock(mutex_);
  return sequence_;
}

void EventHub::Deliver(const std::shared_ptr<const Event>& event, std::unordered_set<Watcher*>& woken) {
  for (const auto& [watcher, owner] : all_hosts_) {
    if (watcher->Push(event, options_.watcher_buffer)) woken.insert(watcher);
  }
  auto followers = by_host_.find(event->host);
  if (followers == by_host_.end()) return;
  for (const auto& [watcher, owner] : followers->second) {
    if (watcher->Push(event, options_.watcher_buffer)) woken.insert(watcher);
  }
}

void EventHub::Publish(const Engine::Committed& committed) {
  std::lock_guard lock(mutex_);
  fleet_.Publish(committed);
  sequence_ = committed.sequence;
  std::unordered_set<Watcher*> woken;
  for (const auto& event : committed.events) {
    kept_.push_back(event);
    Deliver(event, woken);
  }
  while (kept_.size() > options_.kept) kept_.pop_front();
  // Under the lock, so that Unsubscribe is a barrier.
  for (Watcher* watcher : woken) watcher->wake_();
}

Status EventHub::Resume(const WatchRequest& request, Watcher& watcher) const {
  const char* hint = "ask again with a snapshot";
  if (request.after_sequence > sequence_) {
    return OutOfRange("event " + std::to_string(request.after_sequence) +
                          " has not happened: the last one is " + std::to_string(sequence_),
                      "after_sequence", hint);
  }
  uint64_t first = kept_.empty() ? sequence_ + 1 : kept_.front()->sequence;
  if (request.after_sequence != 0 && request.after_sequence + 1 < first) {
    return OutOfRange("events after " + std::to_string(request.after_sequence) +
                          " are no longer kept: the first one is " + std::to_string(first),
                      "after_sequence", hint);
  }
  for (const auto& event : kept_) {
    if (event->sequence > request.after_sequence && (!request.host || event->host == *request.host)) {
      watcher.backlog_.push_back(event);
    }
  }
  return OkStatus();
}

Result<std::shared_ptr<Watcher>> EventHub::Subscribe(const WatchRequest& request,
                                                     std::function<void()> wake) {
  auto watcher = std::make_shared<Watcher>();
  watcher->wake_ = std::move(wake);
  watcher->host_ = request.host;
  std::lock_guard lock(mutex_);
  if (request.snapshot) {
    watcher->snapshot_pending_ = true;
    watcher->snapshot_sequence_ = sequence_;
    if (!request.host) {
      watcher->snapshot_ = fleet_.Hosts();
    } else if (Fleet::Version host = fleet_.Host(*request.host)) {
      watcher->snapshot_.push_back(std::move(host));
    }
  } else {
    TRY(Resume(request, *watcher));
  }
  auto& followers = request.host ? by_host_[*request.host] : all_hosts_;
  followers.emplace(watcher.get(), watcher);
  return watcher;
}

void EventHub::Unsubscribe(const std::shared_ptr<Watcher>& watcher) {
  std::lock_guard lock(mutex_);
  if (!watcher->host_) {
    all_hosts_.erase(watcher.get());
    return;
  }
  auto followers = by_host_.find(*watcher->host_);
  if (followers == by_host_.end()) return;
  followers->second.erase(watcher.get());
  if (followers->second.empty()) by_host_.erase(followers);
}

}  // namespace berth::placement
