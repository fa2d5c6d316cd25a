#pragma once

#include <sys/uio.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "common/status.h"
#include "common/unique_fd.h"

struct io_uring_cqe;  // NOLINT(readability-identifier-naming): the kernel's
struct io_uring_sqe;  // NOLINT(readability-identifier-naming)

namespace berth::vmm {

// An io_uring (Linux 5.6 and later; include/uapi/linux/io_uring.h) for file I/O, by its system calls, so that
// the program needs no library. Used by one thread at a time. What is in flight uses the caller's buffers
// until its completion was taken.
class IoRing {
 public:
  // Up to `entries` operations in flight, a power of two up to 4096. kUnimplemented: the kernel has no
  // io_uring, or forbids it to this process (kernel.io_uring_disabled, a seccomp filter that answers).
  static Result<std::unique_ptr<IoRing>> Create(uint32_t entries);
  ~IoRing();
  IoRing(const IoRing&) = delete;
  IoRing& operator=(const IoRing&) = delete;

  // Readable while a completion waits.
  int fd() const { return fd_.get(); }
  uint32_t in_flight() const { return in_flight_; }
  bool full() const { return in_flight_ == entries_; }

  // Queue an operation; not when full(). `buffers`: at most 1024 (IOV_MAX), and the array stays in place,
  // too. `durable`: the write is on stable storage before it completes (RWF_DSYNC). `may_wait`: on a thread
  // of the kernel, at once, where it is not tried first whether the answer is there.
  void Read(int file, std::span<const iovec> buffers, uint64_t position, uint64_t tag, bool may_wait = false);
  void Write(int file, std::span<const iovec> buffers, uint64_t position, bool durable, uint64_t tag,
             bool may_wait = false);
  void Flush(int file, uint64_t tag);  // of data, as fdatasync(2)

  // Gives what was queued to the kernel, and waits until `wait_for` completions can be taken.
  Status Submit(uint32_t wait_for = 0);
  struct Completion {
    uint64_t tag;
    int32_t result;  // bytes, or a negative errno
  };
  // The next completion, none when no operation has ended.
  std::optional<Completion> Take();

 private:
  IoRing() = default;
  Status Map(const void* parameters);
  io_uring_sqe& Next(uint8_t operation, int file, uint64_t tag);

  struct Mapping {
    ~Mapping();
    void* at = nullptr;
    size_t bytes = 0;
  };

  UniqueFd fd_;
  uint32_t entries_ = 0;
  uint32_t queued_ = 0;  // not given to the kernel yet
  uint32_t in_flight_ = 0;
  Mapping rings_;
  Mapping operations_;
  // In rings_, shared with the kernel.
  uint32_t* submit_tail_ = nullptr;
  uint32_t* submit_index_ = nullptr;
  uint32_t* complete_head_ = nullptr;
  uint32_t* complete_tail_ = nullptr;
  const io_uring_cqe* completions_ = nullptr;
  uint32_t submit_mask_ = 0;
  uint32_t complete_mask_ = 0;
};

}  // namespace berth::vmm
