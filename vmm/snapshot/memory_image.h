#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string_view>
#include <vector>

#include "common/status.h"
#include "vmm/config/vm_config.h"
#include "vmm/memory/guest_memory.h"
#include "vmm/state/state_reader.h"
#include "vmm/state/state_writer.h"

namespace berth::vmm {

// A run of guest RAM in a snapshot, in the order of addresses.
struct SavedRun {
  uint64_t base = 0;  // guest-physical
  uint64_t size = 0;
  std::optional<uint64_t> offset;  // in the memory file; none: it stays in the file of its zone

  uint64_t end() const { return base + size; }
  friend bool operator==(const SavedRun&, const SavedRun&) = default;
};

// Whether the RAM of a zone stays where it is: in a file (not a directory) that is mapped shared.
bool StaysInItsFile(const MemoryZoneConfig& zone);

// Lays `runs` one behind the other into a file; `stays` says which zones are left out.
std::vector<SavedRun> PlanMemoryImage(const std::vector<MemoryRegion>& runs,
                                      const std::function<bool(const std::string& zone)>& stays);
// Writes guest memory, which stands still, into an empty file and makes it durable. Pages of zeros become
// holes; memory that has never been touched is not touched.
Status WriteMemoryImage(int file, const std::vector<MemoryRegion>& runs, const std::vector<SavedRun>& plan);

void SaveRuns(const std::vector<SavedRun>& plan, StateWriter& out);
// Sorted, without overlaps, in whole pages, and inside of a file of `file_size` bytes; else it fails the
// reader.
std::vector<SavedRun> LoadRuns(uint64_t file_size, StateReader& in);

// The part of a snapshot's state that begins with the runs: the first.
inline constexpr std::string_view kMemoryPart = "memory";
inline constexpr uint16_t kMemoryVersion = 1;
// Marks the zones whose only copy is in their file, as those with a run that is not in the memory file. When
// the runs cannot be read, which a restore tells, all that could be.
void MarkRestoredZones(const std::vector<uint8_t>& state, uint64_t memory_size, VmConfig& config);

// A piece of guest memory that has its content in the memory file.
struct ImagePiece {
  uint8_t* host = nullptr;
  uint64_t size = 0;
  uint64_t offset = 0;     // in the file
  bool reads_zero = true;  // before anything is written to it
  uint64_t page_size = 4096;
  bool anonymous_or_memfd = true;
};
// What of `runs` comes from the file. kInvalidArgument when the runs are not those of the snapshot.
Result<std::vector<ImagePiece>> MatchImage(const std::vector<MemoryRegion>& runs,
                                           const std::vector<SavedRun>& plan);

// Calls use(offset, length) for the parts of [offset, offset + size) of a file that are no holes.
Status ForEachExtent(int file, uint64_t offset, uint64_t size,
                     const std::function<Status(uint64_t offset, uint64_t length)>& use);
// Copies pieces out of the file.
Status ReadMemoryImage(int file, const std::vector<ImagePiece>& pieces);

}  // namespace berth::vmm
