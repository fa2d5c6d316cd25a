#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <vector>

#include "common/status.h"
#include "vmm/convert/conversion.h"
#include "vmm/convert/conversion_plan.h"
#include "vmm/convert/counters.h"
#include "vmm/convert/guest_pages.h"
#include "vmm/convert/memory_planes.h"
#include "vmm/convert/range_locks.h"

namespace berth::vmm {

// The one that moves guest memory between its states. Every change is a transaction: it happens as a whole,
// or the page states, the kernel's attributes, what devices reach and the content of both sides are as
// before. Thread-safe: changes of different ranges run at the same time, on the threads of those who ask for
// them.
//
// Order of locks: the caller's (of the machine's devices), the range, the page states; nobody holds the last
// over a system call.
class Converter {
 public:
  struct Options {
    MemoryModel model = MemoryModel::kTwoBackings;
    // Of the shared side's backing, by region of the map: memory goes back by whole pages of it.
    std::vector<uint64_t> shared_page_sizes;
    // Devices or VMM threads that use a page get this long to finish.
    std::chrono::milliseconds drain_timeout{100};
    // Somebody holds a page that serves both sides: how often, and how long apart, to try again.
    int attribute_tries = 8;
    std::chrono::microseconds retry_after{200};
  };

  // All outlive it, listeners until they are removed. Pages start in the states that `pages` has: Start tells
  // the kernel and the listeners.
  Converter(GuestPages& pages, PageAttributes& attributes, MemoryPlanes& planes,
            std::vector<SharedMemoryListener*> listeners, Options options);

  // Before the guest runs: attributes of all memory, and what is shared to the listeners. Once.
  Status Start();

  // Tells one more listener of all that is shared, and from then on of every change; nothing for one that is
  // known. On an error it hears no more. Both wait for changes under way, and hold up others meanwhile.
  Status AddListener(SharedMemoryListener& listener);
  // From here on it is told nothing; what it has let others reach is its own to end.
  void RemoveListener(SharedMemoryListener& listener);

  // How many bytes have changed sides. Errors after which all is as before:
  //   kInvalidArgument, kResourceExhausted (plan): see PlanConversion;
  //   kResourceExhausted: no memory on the other side;
  //   kUnavailable: the pages are in use, may be tried again;
  //   others of listeners and the kernel.
  // kDataLoss: undoing failed as well; the guest must not go on.
  Result<uint64_t> Convert(uint64_t base, uint64_t size, Direction direction);

  // Memory of a hot-plug area (whole pages, all of them unplugged, or none): it comes and goes on the private
  // side, whatever part of it the guest has shared. Errors as of Convert.
  Status Plug(uint64_t base, uint64_t size);
  Status Unplug(uint64_t base, uint64_t size);

  const GuestPages& pages() const { return pages_; }
  ConversionCounters counters() const;
  const TimeHistogram& step_times(ConversionStep step) const { return times_[static_cast<size_t>(step)]; }
  // Private bytes whose shared backing could not be given back, because its pages are larger and other parts
  // of them are shared.
  uint64_t RetainedBytes() const;

 private:
  class Transaction;

  Status ToPrivate(Transaction& change, const ConversionPlan& plan);
  Status ToShared(Transaction& change, const ConversionPlan& plan);
  Status Withdraw(Transaction& change, const std::vector<StateRun>& runs, const std::vector<StateRun>& hulls);
  RangeLocks::Hold LockRange(uint64_t base, uint64_t size);
  uint64_t SharedPageSize(uint64_t gpa) const;

  GuestPages& pages_;
  PageAttributes& attributes_;
  MemoryPlanes& planes_;
  std::vector<SharedMemoryListener*> listeners_;  // used with a range locked, changed with all of them
  const Options options_;
  const uint64_t lock_granule_;  // the largest page of the shared side
  RangeLocks locks_;

  struct Atomics {
    std::array<std::atomic<uint64_t>, 2> conversions{}, bytes{}, runs{};
    std::array<std::atomic<uint64_t>, kConversionSteps + 1> failures{};
    std::atomic<uint64_t> nothing_to_do{0}, undone{0}, attribute_calls{0}, populate_calls{0},
        discard_calls{0}, leaked_bytes{0};
  };
  Atomics counters_;
  std::array<TimeHistogram, kConversionSteps + 1> times_;
};

}  // namespace berth::vmm
