#pragma once

#include <pthread.h>

#include "common/status.h"

namespace berth::vmm {

// A lock for many readers and one writer that prefers writers: std::shared_mutex lets readers that keep
// coming (devices at full speed) hold a writer off, here a vCPU, for as long as they like. A thread holds it
// once at most. For std::lock_guard and std::shared_lock.
class StatesLock {
 public:
  StatesLock() {
    pthread_rwlockattr_t attributes;
    CHECK(::pthread_rwlockattr_init(&attributes) == 0);
    ::pthread_rwlockattr_setkind_np(&attributes, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    CHECK(::pthread_rwlock_init(&lock_, &attributes) == 0);
    ::pthread_rwlockattr_destroy(&attributes);
  }
  ~StatesLock() { ::pthread_rwlock_destroy(&lock_); }
  StatesLock(const StatesLock&) = delete;
  StatesLock& operator=(const StatesLock&) = delete;

  void lock() { CHECK(::pthread_rwlock_wrlock(&lock_) == 0); }
  void unlock() { ::pthread_rwlock_unlock(&lock_); }
  void lock_shared() { CHECK(::pthread_rwlock_rdlock(&lock_) == 0); }
  void unlock_shared() { ::pthread_rwlock_unlock(&lock_); }

 private:
  pthread_rwlock_t lock_;
};

}  // namespace berth::vmm
