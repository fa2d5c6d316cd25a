#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "common/status.h"
#include "vmm/dma/dma_backend.h"
#include "vmm/dma/run_table.h"

namespace berth::vmm {

// What is to happen to a mapping of which only a part is to be unmapped, where the kernel cannot cut one.
enum class PartialUnmap {
  kRefuse,
  // Unmap all of it and map the rest again. Accesses of devices to the rest fault in between: only for
  // address spaces whose devices stand still.
  kRemapRest,
};

struct DmaCounters {
  uint64_t maps = 0;  // system calls that succeeded
  uint64_t unmaps = 0;
  uint64_t failures = 0;
};

// The mappings of one I/O address space: joins what belongs together into few large mappings, keeps the table
// of what is mapped, and makes each change whole or not at all. Thread-safe.
class DmaEngine {
 public:
  explicit DmaEngine(std::unique_ptr<DmaBackend> backend) : backend_(std::move(backend)) {}

  std::string_view backend_name() const { return backend_->name(); }
  // Asks the kernel; to be called when a device has joined, for each brings its own limits.
  Result<DmaLimits> Limits();

  // Whether `runs` could be mapped as far as that can be told beforehand: address ranges, alignment, number
  // of mappings, with the figures in the message. kOutOfRange, kInvalidArgument, kResourceExhausted.
  Status Check(const std::vector<DmaRun>& runs);

  // See DmaBackend. Before anything of it is mapped.
  void Expect(std::span<const DmaRun> memory);
  // All or nothing.
  Status Map(std::vector<DmaRun> runs);
  // Everything that is mapped in the range, which may have holes. All or nothing: on error what was unmapped
  // already is mapped again; kDataLoss when not even that worked, and the table tells what is left.
  Status Unmap(uint64_t iova, uint64_t size, PartialUnmap partial = PartialUnmap::kRefuse);

  std::vector<DmaRun> Mapped() const;
  // The mappings that have at least one byte in the range, by address.
  std::vector<DmaRun> MappedIn(uint64_t iova, uint64_t size) const;
  uint64_t mapped_bytes() const;
  std::optional<DmaRun> Find(uint64_t iova) const;
  // The first mapping that ends behind `iova`.
  std::optional<DmaRun> FindFrom(uint64_t iova) const;
  DmaCounters counters() const;

 private:
  // With mutex_ held:
  Status KnowLimits();
  Status CheckAgainst(const DmaLimits& limits, const std::vector<DmaRun>& mappings) const;
  std::vector<DmaRun> Plan(std::vector<DmaRun> runs, bool can_cut) const;
  Status MapOne(const DmaRun& run);
  Status UnmapRange(const DmaRun& within, uint64_t iova, uint64_t size);
  Status Restore(const std::vector<DmaRun>& runs, const Status& reason);

  const std::unique_ptr<DmaBackend> backend_;
  mutable std::mutex mutex_;         // guards what follows, and the use of the back end
  std::optional<DmaLimits> limits_;  // as last asked for
  RunTable table_;
  DmaCounters counters_;
};

}  // namespace berth::vmm
