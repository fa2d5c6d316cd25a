#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "common/status.h"
#include "common/unique_fd.h"
#include "vmm/snapshot/memory_image.h"

namespace berth::vmm {

// Brings guest memory from a snapshot's file when it is touched (userfaultfd(2)), and all the rest meanwhile,
// by a thread "pager" that ends when nothing is missing any more. What the guest gives back before it came
// (balloon, unplugged memory) reads as zeros, as it does otherwise.
class MemoryPager {
 public:
  // Whether a piece can come this way: memory without a name, or of a memfd, in ordinary pages, that nothing
  // has touched yet.
  static bool CanPage(const ImagePiece& piece) {
    return piece.reads_zero && piece.anonymous_or_memfd && piece.page_size == 4096;
  }
  // `pieces` stay mapped as long as the pager lives. `on_error`, on the pager's thread: the file cannot be
  // read any more, and who waits for it waits for ever. kFailedPrecondition where this process may not have a
  // userfaultfd, with what would let it.
  static Result<std::unique_ptr<MemoryPager>> Start(UniqueFd file, const std::vector<ImagePiece>& pieces,
                                                    std::function<void(const Status&)> on_error);
  ~MemoryPager();
  MemoryPager(const MemoryPager&) = delete;
  MemoryPager& operator=(const MemoryPager&) = delete;

  // Waits until everything is there.
  Status Finish();
  // Whether it is.
  bool done() const { return done_.load(); }
  // Pages that somebody waited for.
  uint64_t faults() const { return faults_.load(); }

 private:
  struct Piece {
    ImagePiece image;
    std::vector<bool> there;  // by page: copied, or given back
    uint64_t next = 0;        // the first page that is not looked at yet
  };
  struct Fault {
    uint64_t address = 0;
    bool removed = false;  // not a fault: [address, end) was given back
    uint64_t end = 0;
  };

  MemoryPager(UniqueFd file, UniqueFd uffd, std::function<void(const Status&)> on_error)
      : file_(std::move(file)), uffd_(std::move(uffd)), on_error_(std::move(on_error)) {}
  Status Register(const std::vector<ImagePiece>& pieces);
  void Main();
  Status Serve();
  // Takes an event; nothing when there is none.
  Result<std::optional<Fault>> NextEvent();
  Status Handle(const Fault& fault);
  // Brings the next pages of the background; false when there are none left.
  Result<bool> Advance();
  // Fills missing pages [page, page + count) of a piece from the file, or with zeros where it has a hole.
  Status Fill(Piece& piece, uint64_t page, uint64_t count);
  // Gives missing pages their contents: as many bytes, from the first, as it could at once. None when
  // something was given back meanwhile, which may be these pages: look at `there` again.
  Result<uint64_t> Copy(uint64_t address, const uint8_t* from, uint64_t bytes);
  void Wake(uint64_t address);
  Piece* PieceAt(uint64_t address);
  void Unregister();

  const UniqueFd file_;
  const UniqueFd uffd_;
  const std::function<void(const Status&)> on_error_;
  std::vector<Piece> pieces_;  // of the thread, once it runs
  std::vector<uint8_t> buffer_;
  std::deque<Fault> deferred_;  // told, and not served yet
  std::atomic<bool> stopping_{false};
  std::atomic<bool> done_{false};
  std::atomic<uint64_t> faults_{0};
  std::mutex mutex_;  // guards what follows
  Status status_;
  std::thread thread_;
};

}  // namespace berth::vmm
