#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <vector>

#include "vmm/memory/guest_memory.h"
#include "vmm/pagestate/page_state.h"

namespace berth::vmm::vhost_user {

// Which pieces of a confidential guest's memory a back end is told of: those that hold a shared page, by
// whole pages of their backing, because no smaller part of a file can be mapped. Pieces are disjoint and each
// lies in one region; they stay as they were made as long as all of them is shown, so that what comes to be
// shared costs nobody a piece that is in use. A value: Between says what leads from one to the other.
class ShownMemory {
 public:
  struct Piece {
    uint64_t base = 0;  // guest-physical
    uint64_t size = 0;
    friend auto operator<=>(const Piece&, const Piece&) = default;
  };
  struct Changes {
    std::vector<Piece> removed;
    std::vector<Piece> added;
  };

  // `memory`'s mappings outlive it. Nothing is shown yet.
  explicit ShownMemory(const GuestMemory& memory);

  // What lies in no region is left out: no device has been told of it.
  void Show(std::span<const StateRun> runs);
  void Hide(std::span<const StateRun> runs);
  // Makes one piece of those that continue each other.
  void Join();

  size_t count() const { return pieces_.size(); }
  std::vector<Piece> Pieces() const;
  // Where a piece is mapped here.
  MemoryRegion At(const Piece& piece) const;
  static Changes Between(const ShownMemory& before, const ShownMemory& after);

 private:
  using Ranges = std::map<uint64_t, uint64_t>;  // first byte -> the one behind the last
  // Calls use(region, from, to) for what lies in regions.
  template <class Use>
  void ForEachPart(std::span<const StateRun> runs, Use use) const;

  std::vector<MemoryRegion> regions_;  // by address
  Ranges shared_;                      // as converted
  Ranges pieces_;
};

}  // namespace berth::vmm::vhost_user
