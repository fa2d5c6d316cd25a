#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>

namespace berth::vmm {

// Who uses shared pages of the guest right now, without a lock for them: a user enters, looks whether the
// pages are shared, uses them and leaves. Whoever has taken pages out of the shared state then waits until
// all have left who might have looked before. For short uses: for long ones there is PageHolds. Thread-safe.
class AccessEpochs {
 public:
  // A ticket for Leave. Waits, without end, only while kUsers others are inside.
  size_t Enter();
  void Leave(size_t ticket);
  // True when everybody has left who was inside at the call; false after `timeout`. Not from inside.
  bool Drain(std::chrono::milliseconds timeout);

  static constexpr size_t kUsers = 64;

 private:
  struct alignas(64) Slot {
    std::atomic<uint64_t> epoch{0};  // in which the user came; 0: nobody
  };
  std::array<Slot, kUsers> slots_;
  std::atomic<uint64_t> epoch_{1};
  std::atomic<uint32_t> waiting_{0};  // for somebody to leave
  std::mutex mutex_;                  // with left_; guards nothing
  std::condition_variable left_;
};

}  // namespace berth::vmm
