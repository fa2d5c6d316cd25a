#include "vmm/virtio/io_ring.h"

#include <errno.h>
#include <linux/io_uring.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <string>
#include <system_error>

#ifndef RWF_DSYNC
#define RWF_DSYNC 0x00000002
#endif

namespace berth::vmm {
namespace {

int Setup(uint32_t entries, io_uring_params& parameters) {
  return static_cast<int>(syscall(__NR_io_uring_setup, entries, &parameters));
}

long Enter(int fd, uint32_t submit, uint32_t wait_for) {
  return syscall(__NR_io_uring_enter, fd, submit, wait_for, wait_for > 0 ? IORING_ENTER_GETEVENTS : 0u,
                 nullptr, 0);
}

uint32_t LoadAcquire(uint32_t* word) {
  return std::atomic_ref<uint32_t>(*word).load(std::memory_order_acquire);
}

void StoreRelease(uint32_t* word, uint32_t value) {
  std::atomic_ref<uint32_t>(*word).store(value, std::memory_order_release);
}

}  // namespace

IoRing::Mapping::~Mapping() {
  if (at != nullptr) munmap(at, bytes);
}

Result<std::unique_ptr<IoRing>> IoRing::Create(uint32_t entries) {
  std::unique_ptr<IoRing> ring(new IoRing);
  io_uring_params parameters{};
  ring->fd_.reset(Setup(entries, parameters));
  if (!ring->fd_.valid()) {
    const int error = errno;
    if (error == ENOSYS || error == EPERM || error == EACCES || error == EINVAL) {
      return Unimplemented("io_uring: " + std::generic_category().message(error));
    }
    return ErrnoStatus("io_uring", error);
  }
  // One mapping for both rings, and no lost completions: Linux 5.5. Positions of reads as flags: 5.6.
  constexpr uint32_t kNeeded = IORING_FEAT_SINGLE_MMAP | IORING_FEAT_NODROP | IORING_FEAT_RW_CUR_POS;
  if ((parameters.features & kNeeded) != kNeeded) return Unimplemented("io_uring of a kernel before 5.6");
  TRY(ring->Map(&parameters));
  return ring;
}

Status IoRing::Map(const void* from) {
  const auto& parameters = *static_cast<const io_uring_params*>(from);
  const size_t submit_bytes = parameters.sq_off.array + parameters.sq_entries * sizeof(uint32_t);
  const size_t complete_bytes = parameters.cq_off.cqes + parameters.cq_entries * sizeof(io_uring_cqe);
  auto map = [this](Mapping& mapping, size_t bytes, off_t offset) -> Status {
    void* at = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd_.get(), offset);
    if (at == MAP_FAILED) return ErrnoStatus("map an io_uring", errno);
    mapping.at = at;
    mapping.bytes = bytes;
    return OkStatus();
  };
  TRY(map(rings_, std::max(submit_bytes, complete_bytes), IORING_OFF_SQ_RING));
  TRY(map(operations_, parameters.sq_entries * sizeof(io_uring_sqe), IORING_OFF_SQES));
  // SAFETY: the offsets are the kernel's, and lie in the mapping whose size was computed from them.
  auto* base = static_cast<uint8_t*>(rings_.at);
  auto word = [base](uint32_t offset) { return reinterpret_cast<uint32_t*>(base + offset); };
  submit_tail_ = word(parameters.sq_off.tail);
  submit_index_ = word(parameters.sq_off.array);
  submit_mask_ = *word(parameters.sq_off.ring_mask);
  complete_head_ = word(parameters.cq_off.head);
  complete_tail_ = word(parameters.cq_off.tail);
  complete_mask_ = *word(parameters.cq_off.ring_mask);
  completions_ = reinterpret_cast<const io_uring_cqe*>(base + parameters.cq_off.cqes);
  entries_ = parameters.sq_entries;
  return OkStatus();
}

IoRing::~IoRing() {
  // The kernel writes into the callers' buffers until the last operation has ended.
  while (in_flight_ > 0) {
    if (!Submit(1).ok()) break;
    while (Take()) {
    }
  }
}

io_uring_sqe& IoRing::Next(uint8_t operation, int file, uint64_t tag) {
  CHECK(!full());
  const uint32_t slot = (*submit_tail_ + queued_) & submit_mask_;
  io_uring_sqe& entry = static_cast<io_uring_sqe*>(operations_.at)[slot];
  std::memset(&entry, 0, sizeof entry);
  entry.opcode = operation;
  entry.fd = file;
  entry.user_data = tag;
  submit_index_[slot] = slot;
  ++queued_;
  ++in_flight_;
  return entry;
}

void IoRing::Read(int file, std::span<const iovec> buffers, uint64_t position, uint64_t tag, bool may_wait) {
  io_uring_sqe& entry = Next(IORING_OP_READV, file, tag);
  entry.addr = reinterpret_cast<uintptr_t>(buffers.data());
  entry.len = static_cast<uint32_t>(buffers.size());
  entry.off = position;
  if (may_wait) entry.flags |= IOSQE_ASYNC;
}

void IoRing::Write(int file, std::span<const iovec> buffers, uint64_t position, bool durable, uint64_t tag,
                   bool may_wait) {
  io_uring_sqe& entry = Next(IORING_OP_WRITEV, file, tag);
  entry.addr = reinterpret_cast<uintptr_t>(buffers.data());
  entry.len = static_cast<uint32_t>(buffers.size());
  entry.off = position;
  if (durable) entry.rw_flags = RWF_DSYNC;
  if (may_wait) entry.flags |= IOSQE_ASYNC;
}

void IoRing::Flush(int file, uint64_t tag) {
  Next(IORING_OP_FSYNC, file, tag).fsync_flags = IORING_FSYNC_DATASYNC;
}

Status IoRing::Submit(uint32_t wait_for) {
  uint32_t left = queued_;
  StoreRelease(submit_tail_, *submit_tail_ + queued_);
  queued_ = 0;
  while (left > 0 || wait_for > 0) {
    const long taken = Enter(fd_.get(), left, wait_for);
    if (taken < 0 && (errno == EINTR || errno == EAGAIN || errno == EBUSY)) {
      if (errno != EINTR) sched_yield();  // the kernel is short of memory for the moment
      continue;
    }
    if (taken < 0) return ErrnoStatus("io_uring_enter", errno);
    left -= std::min(left, static_cast<uint32_t>(taken));
    wait_for = 0;
  }
  return OkStatus();
}

std::optional<IoRing::Completion> IoRing::Take() {
  const uint32_t head = *complete_head_;
  if (head == LoadAcquire(complete_tail_)) return std::nullopt;
  const io_uring_cqe& entry = completions_[head & complete_mask_];
  const Completion completion{entry.user_data, entry.res};
  StoreRelease(complete_head_, head + 1);
  --in_flight_;
  return completion;
}

}  // namespace berth::vmm
