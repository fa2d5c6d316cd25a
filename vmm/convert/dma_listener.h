#pragma once

#include <cstdint>
#include <functional>
#include <mutex>
#include <vector>

#include "common/status.h"
#include "vmm/convert/dma_strategy.h"
#include "vmm/convert/memory_planes.h"
#include "vmm/dma/dma_engine.h"
#include "vmm/dma/dma_gate.h"

namespace berth::vmm {

// Where a region's shared side is mapped in this process.
struct HostRange {
  uint64_t base = 0;  // guest-physical, and the I/O virtual address
  uint64_t size = 0;
  uint8_t* host = nullptr;
};

// Keeps one I/O address space of devices equal to the guest's shared memory. Thread-safe.
class DmaListener final : public SharedMemoryListener {
 public:
  struct Options {
    DmaStrategy strategy = DmaStrategy::kPages;
    bool allow_transient_faults = false;
    // Keeps devices of the address space from DMA as long as what it gives lives; nothing while one may be at
    // it. None: one always may.
    std::function<DmaGate::Stillness()> hold_still;
  };
  struct Counters {
    uint64_t compactions = 0;
    uint64_t joined = 0;   // mappings that compaction has saved
    uint64_t refused = 0;  // changes that the strategy could not make
  };

  // `engine` and what `ranges` name outlive it. Ranges are those of the page-state map's regions.
  DmaListener(DmaEngine& engine, std::vector<HostRange> ranges, Options options);

  Status OnShared(std::span<const StateRun> runs) override;
  // kFailedPrecondition: the strategy cannot unmap a part of a mapping now.
  Status OnPrivate(std::span<const StateRun> runs) override;

  // Joins mappings that continue each other, where the strategy can take them apart again and no device is at
  // work. Gives how many mappings were saved; 0 while devices work.
  Result<uint64_t> Compact();

  DmaStrategy strategy() const { return options_.strategy; }
  Counters counters() const;

 private:
  DmaRun RunOf(const StateRun& run) const;
  DmaGate::Stillness HoldStill() const { return options_.hold_still ? options_.hold_still() : nullptr; }
  // Maps again, mapping by mapping as it was.
  Status MapAsBefore(const std::vector<DmaRun>& runs, const Status& reason);

  DmaEngine& engine_;
  const std::vector<HostRange> ranges_;  // by address
  const Options options_;
  mutable std::mutex mutex_;  // one change of the address space at a time; guards counters_
  Counters counters_;
};

}  // namespace berth::vmm
