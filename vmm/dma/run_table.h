#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "common/status.h"
#include "vmm/dma/dma_run.h"

namespace berth::vmm {

// What is really mapped, mapping by mapping, as the kernel was told. An unmap is always derived from this
// table, never from what somebody asks for. Thread-compatible.
class RunTable {
 public:
  // kAlreadyExists when it overlaps a run of the table; kInvalidArgument when empty or wrapping.
  Status Insert(const DmaRun& run);
  // Removes exactly this range; a run that reaches out of it keeps what is outside, as one or two runs.
  void Cut(uint64_t iova, uint64_t size);

  // The runs that have at least one byte in the range, by address.
  std::vector<DmaRun> Overlapping(uint64_t iova, uint64_t size) const;
  std::optional<DmaRun> Find(uint64_t iova) const;
  std::optional<DmaRun> FindFrom(uint64_t iova) const;  // the first that ends behind it
  std::vector<DmaRun> runs() const;
  size_t count() const { return runs_.size(); }
  uint64_t bytes() const { return bytes_; }

 private:
  using Runs = std::map<uint64_t, DmaRun>;
  // The first run that ends behind `iova`.
  Runs::const_iterator FirstBehind(uint64_t iova) const;

  Runs runs_;  // by iova, disjoint
  uint64_t bytes_ = 0;
};

}  // namespace berth::vmm
