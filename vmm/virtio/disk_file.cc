#include "vmm/virtio/disk_file.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <span>
#include <utility>

namespace berth::vmm {
namespace {

constexpr int kSector = 512;
constexpr size_t kBounceBytes = 256 << 10;
constexpr size_t kVectorsMax = 1024;  // IOV_MAX
constexpr size_t kZeroPages = 64;     // written at once

// Drops the first `count` bytes of a list of buffers, of which `first` are already done.
void Advance(std::vector<iovec>& buffers, size_t& first, size_t count) {
  while (count > 0) {
    iovec& buffer = buffers[first];
    const size_t step = std::min(count, buffer.iov_len);
    buffer.iov_base = static_cast<uint8_t*>(buffer.iov_base) + step;
    buffer.iov_len -= step;
    count -= step;
    if (buffer.iov_len == 0) ++first;
  }
}

uint64_t TotalBytes(const std::vector<iovec>& buffers) {
  uint64_t total = 0;
  for (const iovec& buffer : buffers) total += buffer.iov_len;
  return total;
}

}  // namespace

void DiskFile::FreeDeleter::operator()(void* memory) const {
  std::free(memory);
}

Result<DiskFile> DiskFile::Open(const std::string& path, bool readonly, bool direct) {
  const int flags = (readonly ? O_RDONLY : O_RDWR) | (direct ? O_DIRECT : 0) | O_CLOEXEC | O_NONBLOCK;
  DiskFile disk(UniqueFd(open(path.c_str(), flags)), path);
  if (!disk.fd_.valid()) return ErrnoStatus("disk " + path, errno).WithField("disk.path");
  struct stat info{};
  if (fstat(disk.fd_.get(), &info) != 0) return ErrnoStatus("disk " + path, errno);
  if (!S_ISREG(info.st_mode) && !S_ISBLK(info.st_mode)) {
    return InvalidArgument("disk " + path + " is neither a regular file nor a block device", "disk.path");
  }
  // O_NONBLOCK was for a FIFO, whose opening would wait. It stays: with it io_uring serves what the page
  // cache has at once, of file systems that do not say that they can (FMODE_NOWAIT: tmpfs, 9p, NFS), too.
  // What is not there, older kernels answer by EAGAIN (BlockRing).
  const off_t end = lseek(disk.fd_.get(), 0, SEEK_END);
  if (end < 0) return ErrnoStatus("size of disk " + path, errno);
  disk.readonly_ = readonly;
  disk.direct_ = direct;
  disk.is_device_ = S_ISBLK(info.st_mode);
  int sector = 0;  // partition tables count in these: a guest must see the device's own
  if (disk.is_device_ && ioctl(disk.fd_.get(), BLKSSZGET, &sector) == 0 && sector > kSector) {
    disk.block_size_ = static_cast<uint32_t>(sector);
  }
  TRY(disk.Lock());
  if (direct) {
    disk.bounce_.reset(static_cast<uint8_t*>(std::aligned_alloc(4096, kBounceBytes)));
    CHECK(disk.bounce_ != nullptr);
    TRY(disk.ProbeDirect());
  }
  disk.size_ = static_cast<uint64_t>(end) / disk.block_size_ * disk.block_size_;
  if (disk.size_ == 0) {
    return InvalidArgument("disk " + path + " of " + std::to_string(end) + " bytes is smaller than a sector",
                           "disk.path");
  }
  // Punching behind the end of a file changes nothing and tells whether it can. Block devices tell at use.
  disk.can_discard_ = !readonly && (disk.is_device_ ||
                                    disk.PunchHole((static_cast<uint64_t>(end) + 4095) / 4096 * 4096, 4096));
  return disk;
}

Result<DiskFile> DiskFile::Share() const {
  DiskFile disk(UniqueFd(fcntl(fd_.get(), F_DUPFD_CLOEXEC, 3)), path_);
  if (!disk.fd_.valid()) return ErrnoStatus("disk " + path_, errno);
  disk.size_ = size_;
  disk.readonly_ = readonly_;
  disk.direct_ = direct_;
  disk.can_discard_ = can_discard_;
  disk.is_device_ = is_device_;
  disk.block_size_ = block_size_;
  if (direct_) {
    disk.bounce_.reset(static_cast<uint8_t*>(std::aligned_alloc(4096, kBounceBytes)));
    CHECK(disk.bounce_ != nullptr);
  }
  return disk;
}

Status DiskFile::Lock() {
  struct flock lock{};
  lock.l_type = readonly_ ? F_RDLCK : F_WRLCK;
  lock.l_whence = SEEK_SET;
  if (fcntl(fd_.get(), F_OFD_SETLK, &lock) == 0) return OkStatus();
  if (errno != EAGAIN && errno != EACCES) return OkStatus();  // a file system without locks
  return FailedPrecondition("disk " + path_ + " is in use by another process", "disk.path",
                            "stop its user, or attach it read-only everywhere");
}

// The alignment that direct I/O needs is that of the storage below: tried out, smallest first.
Status DiskFile::ProbeDirect() {
  for (uint32_t size : {512u, 4096u}) {
    if (size < block_size_) continue;
    const ssize_t count = pread(fd_.get(), bounce_.get() + size, size, 0);
    if (count >= 0) {
      block_size_ = size;
      return OkStatus();
    }
    if (errno != EINVAL) return ErrnoStatus("disk " + path_, errno);
  }
  return InvalidArgument("disk " + path_ + " does not take direct I/O of 512 or 4096 bytes", "disk.direct");
}

bool DiskFile::Aligned(uint64_t position, const std::vector<iovec>& buffers) const {
  const uint64_t mask = block_size_ - 1;
  if ((position & mask) != 0) return false;
  return std::all_of(buffers.begin(), buffers.end(), [mask](const iovec& buffer) {
    return ((reinterpret_cast<uintptr_t>(buffer.iov_base) | buffer.iov_len) & mask) == 0;
  });
}

Status DiskFile::Read(uint64_t position, std::vector<iovec>& buffers) {
  return Transfer(false, position, buffers);
}

Status DiskFile::Write(uint64_t position, std::vector<iovec>& buffers) {
  return Transfer(true, position, buffers);
}

Status DiskFile::Transfer(bool write, uint64_t position, std::vector<iovec>& buffers) {
  if (!direct_) return TransferAligned(write, position, buffers);
  uint64_t left = TotalBytes(buffers);
  if ((position | left) % block_size_ != 0) {
    return InvalidArgument("direct I/O on " + path_ + " needs blocks of " + std::to_string(block_size_));
  }
  if (Aligned(position, buffers)) return TransferAligned(write, position, buffers);
  for (size_t first = 0; left > 0;) {
    const size_t length = std::min<uint64_t>(left, kBounceBytes);
    std::vector<iovec> whole = {{bounce_.get(), length}};
    if (!write) TRY(TransferAligned(false, position, whole));
    for (size_t done = 0; done < length;) {
      const iovec buffer = buffers[first];
      const size_t count = std::min(length - done, buffer.iov_len);
      uint8_t* bounce = bounce_.get() + done;
      std::memcpy(write ? bounce : buffer.iov_base, write ? buffer.iov_base : bounce, count);
      Advance(buffers, first, count);
      done += count;
    }
    if (write) TRY(TransferAligned(true, position, whole));
    position += length;
    left -= length;
  }
  return OkStatus();
}

Status DiskFile::TransferAligned(bool write, uint64_t position, std::vector<iovec>& buffers) {
  for (size_t first = 0; first < buffers.size();) {
    const int count = static_cast<int>(std::min(buffers.size() - first, kVectorsMax));
    const auto at = static_cast<off_t>(position);
    const ssize_t done = write ? pwritev(fd_.get(), &buffers[first], count, at)
                               : preadv(fd_.get(), &buffers[first], count, at);
    if (done < 0 && errno == EINTR) continue;
    if (done < 0) return ErrnoStatus((write ? "write to " : "read of ") + path_, errno);
    if (done == 0) return DataLoss("disk " + path_ + " ends before byte " + std::to_string(position));
    position += static_cast<uint64_t>(done);
    Advance(buffers, first, static_cast<size_t>(done));
  }
  return OkStatus();
}

Status DiskFile::Grow(uint64_t bytes) {
  if (bytes % block_size_ != 0) {
    return InvalidArgument("disk " + path_ + " has blocks of " + std::to_string(block_size_) + " bytes, " +
                               std::to_string(bytes) + " are not a multiple",
                           "desired_size");
  }
  if (is_device_) {
    const off_t end = lseek(fd_.get(), 0, SEEK_END);
    if (end >= 0 && static_cast<uint64_t>(end) >= bytes) return OkStatus();
    return InvalidArgument("block device " + path_ + " has " + std::to_string(end) + " bytes",
                           "desired_size");
  }
  if (readonly_) return FailedPrecondition("disk " + path_ + " is read-only", "id");
  struct stat info{};
  if (fstat(fd_.get(), &info) != 0) return ErrnoStatus("disk " + path_, errno);
  // A file that ends within a block has more than it shows.
  if (static_cast<uint64_t>(info.st_size) >= bytes) return OkStatus();
  if (ftruncate(fd_.get(), static_cast<off_t>(bytes)) != 0) return ErrnoStatus("extend " + path_, errno);
  return OkStatus();
}

Status DiskFile::Flush() {
  if (readonly_ || fdatasync(fd_.get()) == 0) return OkStatus();
  return ErrnoStatus("flush of " + path_, errno);
}

bool DiskFile::PunchHole(uint64_t position, uint64_t length) {
  return fallocate(fd_.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(position),
                   static_cast<off_t>(length)) == 0;
}

Status DiskFile::Discard(uint64_t position, uint64_t length) {
  // A hole in a device is its write of zeros, which thin volumes and many flash disks do not have.
  const uint64_t range[2] = {position, length};
  const bool done = is_device_ ? ioctl(fd_.get(), BLKDISCARD, range) == 0 : PunchHole(position, length);
  if (done) return OkStatus();
  if (errno == EOPNOTSUPP) return Unimplemented("discard on " + path_);
  return ErrnoStatus("discard on " + path_, errno);
}

Status DiskFile::WriteZeroes(uint64_t position, uint64_t length, bool may_free) {
  if (may_free && PunchHole(position, length)) return OkStatus();
  if (fallocate(fd_.get(), FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(position),
                static_cast<off_t>(length)) == 0) {
    return OkStatus();
  }
  // One page of zeros, many times; only read from.
  alignas(4096) static uint8_t zeroes[4096];
  while (length > 0) {
    std::vector<iovec> buffers;
    uint64_t chunk = 0;
    while (buffers.size() < kZeroPages && chunk < length) {
      buffers.push_back({zeroes, std::min<uint64_t>(length - chunk, sizeof zeroes)});
      chunk += buffers.back().iov_len;
    }
    TRY(Transfer(true, position, buffers));
    position += chunk;
    length -= chunk;
  }
  return OkStatus();
}

}  // namespace berth::vmm
