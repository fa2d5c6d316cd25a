#pragma once

#include <memory>
#include <mutex>
#include <utility>

namespace berth {

// The newest version of an immutable value, for any number of readers and writers at once: who has loaded a
// version keeps it, whatever is stored later. As std::atomic<std::shared_ptr<const T>>, whose load() in
// libstdc++ 12 unlocks with relaxed order, which is a race with the next store by the rules of the language
// (GCC bug 101761) and which ThreadSanitizer reports. The lock is held for one increment of a counter.
template <class T>
class Published {
 public:
  using Value = std::shared_ptr<const T>;

  Published() = default;
  explicit Published(Value value) : value_(std::move(value)) {}

  Value load() const {
    std::lock_guard lock(mutex_);
    return value_;
  }
  // The version before is let go of after the lock.
  void store(Value value) {
    std::lock_guard lock(mutex_);
    value_.swap(value);
  }

 private:
  mutable std::mutex mutex_;
  Value value_;  // guarded by mutex_
};

}  // namespace berth
