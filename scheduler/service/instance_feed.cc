#include "scheduler/service/instance_feed.h"

#include <utility>

namespace berth::scheduler {

InstanceChange ChangeOf(const PlacementEvent& event) {
  using Event = PlacementEvent::Kind;
  InstanceChange change;
  if (event.kind == Event::kReset) change.kind = InstanceChange::Kind::kReset;
  if (event.kind == Event::kSynced) change.kind = InstanceChange::Kind::kSynced;
  if (event.claim && event.kind == Event::kClaimChanged) change.kind = InstanceChange::Kind::kChanged;
  if (event.claim && event.kind == Event::kClaimDeleted) change.kind = InstanceChange::Kind::kDeleted;
  if (event.claim) change.claim = std::make_shared<const placement::Claim>(*event.claim);
  return change;
}

Result<std::optional<InstanceChange>> InstanceWatcher::Next() {
  std::lock_guard lock(mutex_);
  if (dropped_)
    return Status(StatusCode::kOutOfRange, "the client was too slow, changes were dropped", {}, "watch anew");
  if (changes_.empty()) return std::optional<InstanceChange>();
  InstanceChange change = std::move(changes_.front());
  changes_.pop_front();
  return std::optional(std::move(change));
}

bool InstanceFeed::Concerns(const InstanceWatcher& watcher, const InstanceChange& change) {
  if (change.kind == InstanceChange::Kind::kNone) return false;
  if (watcher.instance_.empty() || !change.claim) return true;
  return change.claim->name == watcher.instance_ || change.claim->consumer.ToString() == watcher.instance_;
}

std::shared_ptr<InstanceWatcher> InstanceFeed::Subscribe(
    std::string instance,
    const std::function<std::vector<std::shared_ptr<const placement::Claim>>()>& present,
    std::function<void()> wake) {
  auto watcher = std::make_shared<InstanceWatcher>();
  watcher->wake_ = std::move(wake);
  watcher->instance_ = std::move(instance);
  // Under the lock, so that no change falls between the present state and those that follow.
  std::lock_guard lock(mutex_);
  for (auto& claim : present()) {
    InstanceChange change{InstanceChange::Kind::kChanged, std::move(claim)};
    if (Concerns(*watcher, change)) watcher->changes_.push_back(std::move(change));
  }
  watcher->changes_.push_back({InstanceChange::Kind::kSynced, nullptr});
  watcher->most_ = watcher->changes_.size() + InstanceWatcher::kMost;
  watchers_.insert(watcher);
  return watcher;
}

void InstanceFeed::Unsubscribe(const std::shared_ptr<InstanceWatcher>& watcher) {
  std::lock_guard lock(mutex_);
  watchers_.erase(watcher);
}

void InstanceFeed::Publish(InstanceChange change) {
  if (change.kind == InstanceChange::Kind::kNone) return;
  std::lock_guard lock(mutex_);
  for (const auto& watcher : watchers_) {
    if (!Concerns(*watcher, change)) continue;
    {
      std::lock_guard own(watcher->mutex_);
      if (watcher->changes_.size() >= watcher->most_) {
        watcher->dropped_ = true;
        watcher->changes_.clear();
      } else if (!watcher->dropped_) {
        watcher->changes_.push_back(change);
      }
    }
    watcher->wake_();
  }
}

}  // namespace berth::scheduler
