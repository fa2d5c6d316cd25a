#include "vmm/snapshot/memory_pager.h"

#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "common/log.h"
#include "vmm/jail/thread_filter.h"

namespace berth::vmm {
namespace {

constexpr uint64_t kPage = 4096;
constexpr uint64_t kBatch = 64;  // pages that are brought at once
#ifndef USERFAULTFD_IOC_NEW
#define USERFAULTFD_IOC_NEW _IO(0xAA, 0x00)
#endif

// The kernel faults on guest memory, too (KVM, vhost): a descriptor for faults of programs alone is not
// enough.
Result<UniqueFd> OpenUserfaultfd() {
  UniqueFd fd(static_cast<int>(::syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK)));
  if (!fd.valid()) {
    const UniqueFd device(::open("/dev/userfaultfd", O_RDWR | O_CLOEXEC));
    if (device.valid()) fd.reset(::ioctl(device.get(), USERFAULTFD_IOC_NEW, O_CLOEXEC | O_NONBLOCK));
  }
  if (!fd.valid()) {
    return FailedPrecondition(
        "memory cannot come on demand: this process may not have a userfaultfd", "memory_restore_mode",
        "give its user access to /dev/userfaultfd, or the capability CAP_SYS_PTRACE; or "
        "restore by copy");
  }
  uffdio_api api{};
  api.api = UFFD_API;
  api.features = UFFD_FEATURE_EVENT_REMOVE | UFFD_FEATURE_MISSING_SHMEM;
  if (::ioctl(fd.get(), UFFDIO_API, &api) != 0) return ErrnoStatus("UFFDIO_API", errno);
  return fd;
}

}  // namespace

Result<std::unique_ptr<MemoryPager>> MemoryPager::Start(UniqueFd file, const std::vector<ImagePiece>& pieces,
                                                        std::function<void(const Status&)> on_error) {
  TRY_ASSIGN(UniqueFd uffd, OpenUserfaultfd());
  std::unique_ptr<MemoryPager> self(new MemoryPager(std::move(file), std::move(uffd), std::move(on_error)));
  TRY(self->Register(pieces));
  self->thread_ = std::thread([raw = self.get()] { raw->Main(); });
  return self;
}

Status MemoryPager::Register(const std::vector<ImagePiece>& pieces) {
  buffer_.resize(kBatch * kPage);
  for (const ImagePiece& image : pieces) {
    CHECK(CanPage(image));
    uffdio_register range{};
    range.range = {reinterpret_cast<uintptr_t>(image.host), image.size};
    range.mode = UFFDIO_REGISTER_MODE_MISSING;
    if (::ioctl(uffd_.get(), UFFDIO_REGISTER, &range) != 0) return ErrnoStatus("UFFDIO_REGISTER", errno);
    pieces_.push_back({image, std::vector<bool>(image.size / kPage), 0});
  }
  return OkStatus();
}

MemoryPager::~MemoryPager() {
  if (!thread_.joinable()) return;
  stopping_ = true;  // the thread never waits for long
  thread_.join();
}

Status MemoryPager::Finish() {
  if (thread_.joinable()) thread_.join();
  std::lock_guard lock(mutex_);
  return status_;
}

void MemoryPager::Main() {
  ::pthread_setname_np(::pthread_self(), "pager");
  EnterThread(ThreadKind::kPager);
  Status status = Serve();
  if (status.ok() && !stopping_) {
    Unregister();
    done_ = true;
    LOG(kInfo, "memory_restored", {{"faults", faults_.load()}});
  }
  if (status.ok()) return;
  {
    std::lock_guard lock(mutex_);
    status_ = status;
  }
  on_error_(status);
}

// Faults first; when nobody waits, a piece of the rest.
Status MemoryPager::Serve() {
  bool left = true;
  while (!stopping_ && left) {
    std::optional<Fault> fault;
    if (!deferred_.empty()) {
      fault = deferred_.front();
      deferred_.pop_front();
    } else {
      TRY_ASSIGN(fault, NextEvent());
    }
    if (fault) {
      TRY(Handle(*fault));
    } else {
      TRY_ASSIGN(left, Advance());
    }
  }
  return OkStatus();
}

Result<std::optional<MemoryPager::Fault>> MemoryPager::NextEvent() {
  uffd_msg message;
  const ssize_t count = ::read(uffd_.get(), &message, sizeof message);
  if (count < 0 && (errno == EAGAIN || errno == EINTR)) return std::optional<Fault>();
  if (count != sizeof message) return ErrnoStatus("read a fault", count < 0 ? errno : EIO);
  if (message.event == UFFD_EVENT_PAGEFAULT) {
    return std::optional<Fault>(Fault{message.arg.pagefault.address & ~(kPage - 1), false, 0});
  }
  if (message.event == UFFD_EVENT_REMOVE) {
    return std::optional<Fault>(Fault{message.arg.remove.start, true, message.arg.remove.end});
  }
  return std::optional<Fault>();
}

MemoryPager::Piece* MemoryPager::PieceAt(uint64_t address) {
  for (Piece& piece : pieces_) {
    const uint64_t begin = reinterpret_cast<uintptr_t>(piece.image.host);
    if (address >= begin && address - begin < piece.image.size) return &piece;
  }
  return nullptr;
}

Status MemoryPager::Handle(const Fault& fault) {
  if (fault.removed) {
    for (Piece& piece : pieces_) {
      const uint64_t host = reinterpret_cast<uintptr_t>(piece.image.host);
      const uint64_t begin = std::max(fault.address, host),
                     end = std::min(fault.end, host + piece.image.size);
      for (uint64_t at = begin; at < end; at += kPage) piece.there[(at - host) / kPage] = true;
    }
    return OkStatus();
  }
  ++faults_;
  Piece* piece = PieceAt(fault.address);
  if (piece == nullptr) return OkStatus();
  const uint64_t page = (fault.address - reinterpret_cast<uintptr_t>(piece->image.host)) / kPage;
  if (piece->there[page]) {
    // It was given back: nothing of the snapshot.
    std::fill(buffer_.begin(), buffer_.begin() + kPage, uint8_t{0});
    for (uint64_t done = 0; done == 0 && !stopping_;) {
      TRY_ASSIGN(done, Copy(fault.address, buffer_.data(), kPage));
    }
    return OkStatus();
  }
  // With its neighbours behind it, which are likely to be next.
  uint64_t count = 1;
  while (count < kBatch / 4 && page + count < piece->there.size() && !piece->there[page + count]) ++count;
  return Fill(*piece, page, count);
}

Result<bool> MemoryPager::Advance() {
  for (Piece& piece : pieces_) {
    const uint64_t pages = piece.there.size();
    while (piece.next < pages && piece.there[piece.next]) ++piece.next;
    if (piece.next == pages) continue;
    // Holes need not be filled: once nothing is registered any more they read as zeros by themselves.
    const off_t at = static_cast<off_t>(piece.image.offset + piece.next * kPage);
    const off_t data = ::lseek(file_.get(), at, SEEK_DATA);
    const uint64_t end = piece.image.offset + piece.image.size;
    if (data < 0 && errno != ENXIO) return ErrnoStatus("seek in the memory file", errno);
    if (data < 0 || static_cast<uint64_t>(data) >= end) {
      piece.next = pages;
      continue;
    }
    piece.next = std::max(piece.next, (static_cast<uint64_t>(data) - piece.image.offset) / kPage);
    uint64_t count = 0;
    while (count < kBatch && piece.next + count < pages && !piece.there[piece.next + count]) ++count;
    if (count > 0) TRY(Fill(piece, piece.next, count));
    piece.next += std::max<uint64_t>(count, 1);
    return true;
  }
  return false;
}

Status MemoryPager::Fill(Piece& piece, uint64_t page, uint64_t count) {
  const uint64_t bytes = count * kPage;
  for (uint64_t done = 0; done < bytes;) {
    const ssize_t got = ::pread(file_.get(), buffer_.data() + done, bytes - done,
                                static_cast<off_t>(piece.image.offset + page * kPage + done));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0)
      return got < 0 ? ErrnoStatus("read the memory file", errno)
                     : DataLoss("the memory file has become shorter");
    done += static_cast<uint64_t>(got);
  }
  const uint64_t to = reinterpret_cast<uintptr_t>(piece.image.host) + page * kPage;
  for (uint64_t at = 0; at < count && !stopping_;) {
    if (piece.there[page + at]) {
      // Given back while this copied: not to come again. Who waits for it faults once more, and gets zeros.
      Wake(to + at * kPage);
      ++at;
      continue;
    }
    uint64_t run = 1;
    while (at + run < count && !piece.there[page + at + run]) ++run;
    TRY_ASSIGN(const uint64_t done, Copy(to + at * kPage, buffer_.data() + at * kPage, run * kPage));
    for (uint64_t end = at + done / kPage; at < end; ++at) piece.there[page + at] = true;
  }
  return OkStatus();
}

Result<uint64_t> MemoryPager::Copy(uint64_t address, const uint8_t* from, uint64_t bytes) {
  uffdio_copy copy{};
  copy.dst = address;
  copy.src = reinterpret_cast<uintptr_t>(from);
  copy.len = bytes;
  if (::ioctl(uffd_.get(), UFFDIO_COPY, &copy) == 0) return bytes;
  const int error = errno;
  const uint64_t done = copy.copy > 0 ? std::min(static_cast<uint64_t>(copy.copy), bytes) : 0;
  if (error == EEXIST) {
    // There already: written by somebody since, who knows better.
    Wake(address + done);
    return std::min(done + kPage, bytes);
  }
  if (error != EAGAIN) return ErrnoStatus("UFFDIO_COPY", error);
  if (done > 0) return done;
  // Memory is being given back, and that waits for us to hear of it.
  TRY_ASSIGN(const std::optional<Fault> event, NextEvent());
  if (event && event->removed) {
    TRY(Handle(*event));
  } else if (event) {
    // Faults are told before what was given back. To wake this thread now would have it fault again
    // before that is heard of, without end when several threads wait.
    deferred_.push_back(*event);
  }
  return uint64_t{0};
}

void MemoryPager::Wake(uint64_t address) {
  uffdio_range range{address, kPage};
  static_cast<void>(::ioctl(uffd_.get(), UFFDIO_WAKE, &range));
}

void MemoryPager::Unregister() {
  for (const Piece& piece : pieces_) {
    uffdio_range range{reinterpret_cast<uintptr_t>(piece.image.host), piece.image.size};
    if (::ioctl(uffd_.get(), UFFDIO_UNREGISTER, &range) != 0) {
      LOG(kError, "memory_not_unregistered", {{"error", ErrnoStatus("UFFDIO_UNREGISTER", errno)}});
    }
    // A thread that began to wait meanwhile was seen sleeping on; whoever looks again finds memory.
    static_cast<void>(::ioctl(uffd_.get(), UFFDIO_WAKE, &range));
  }
}

}  // namespace berth::vmm
