#pragma once

#include <condition_variable>
#include <cstdint>
#include <map>
#include <mutex>

namespace berth::vmm {

// Locks on ranges of addresses: holders of different ranges run at the same time. A thread holds at most one.
// First come, first served among ranges that overlap. Thread-safe.
class RangeLocks {
 public:
  class Hold {
   public:
    Hold(Hold&& other) noexcept : locks_(other.locks_), ticket_(other.ticket_) { other.locks_ = nullptr; }
    Hold& operator=(Hold&&) = delete;
    ~Hold() {
      if (locks_ != nullptr) locks_->Release(ticket_);
    }

   private:
    friend class RangeLocks;
    Hold(RangeLocks* locks, uint64_t ticket) : locks_(locks), ticket_(ticket) {}

    RangeLocks* locks_;
    uint64_t ticket_;
  };

  // Waits until nobody holds, and nobody waits earlier for, a byte of the range. `size` is not 0.
  Hold Lock(uint64_t base, uint64_t size);
  // How many had to wait so far.
  uint64_t contended() const;

 private:
  struct Range {
    uint64_t base;
    uint64_t last;
  };
  void Release(uint64_t ticket);
  bool First(uint64_t ticket) const;

  mutable std::mutex mutex_;  // guards what follows
  std::condition_variable released_;
  std::map<uint64_t, Range> ranges_;  // held or waited for, by ticket; at most one for each vCPU
  uint64_t next_ticket_ = 0;
  uint64_t contended_ = 0;
};

}  // namespace berth::vmm
