#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_set>
#include <vector>

#include "common/status.h"
#include "placement/model/claim.h"
#include "scheduler/service/placement_client.h"

namespace berth::scheduler {

// One change of an instance, for those who watch.
struct InstanceChange {
  enum class Kind {
    kNone,     // nothing that concerns instances
    kReset,    // what was told is void: the present state follows, up to kSynced
    kChanged,  // the whole claim
    kDeleted,  // consumer, name and host
    kSynced,
  };
  Kind kind = Kind::kNone;
  std::shared_ptr<const placement::Claim> claim;  // of kChanged and kDeleted; shared by all who watch
};

// What an event of placement says about instances.
InstanceChange ChangeOf(const PlacementEvent& event);

// One who watches. Thread-safe.
class InstanceWatcher {
 public:
  // The next change; nothing: none now, `wake` will be called. kOutOfRange: it was too slow, and changes were
  // dropped: subscribe anew.
  Result<std::optional<InstanceChange>> Next();

 private:
  friend class InstanceFeed;
  static constexpr size_t kMost = 65'536;  // changes that it may lag behind, beside the present state

  std::mutex mutex_;
  std::function<void()> wake_;
  std::string instance_;  // name or UUID; empty: all
  std::deque<InstanceChange> changes_;
  size_t most_ = kMost;
  bool dropped_ = false;
};

// Hands changes of instances to all who watch. Thread-safe.
class InstanceFeed {
 public:
  // `present`: what is so now; told first, then kSynced. `wake` is called when there is something new after
  // Next said nothing; it must be quick and must not call the feed.
  std::shared_ptr<InstanceWatcher> Subscribe(
      std::string instance,
      const std::function<std::vector<std::shared_ptr<const placement::Claim>>()>& present,
      std::function<void()> wake);
  // No `wake` begins after this has returned.
  void Unsubscribe(const std::shared_ptr<InstanceWatcher>& watcher);
  void Publish(InstanceChange change);

 private:
  static bool Concerns(const InstanceWatcher& watcher, const InstanceChange& change);

  std::mutex mutex_;
  std::unordered_set<std::shared_ptr<InstanceWatcher>> watchers_;  // shared with their streams
};

}  // namespace berth::scheduler
