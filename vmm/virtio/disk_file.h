#pragma once

#include <sys/uio.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "common/status.h"
#include "common/unique_fd.h"

namespace berth::vmm {

// A raw disk image or a block device. Positions and lengths are bytes, and are to be checked against size()
// by the caller. Blocking; thread-compatible.
class DiskFile {
 public:
  // Takes a lock on the file for as long as it is open, exclusive unless `readonly`, so that no two machines
  // write one disk. Errors name the path: kNotFound, kPermissionDenied, kFailedPrecondition (locked by
  // another process), kInvalidArgument (neither file nor block device, or smaller than a sector).
  // `direct`: past the page cache (O_DIRECT).
  static Result<DiskFile> Open(const std::string& path, bool readonly, bool direct);

  // The same open file for another thread; the lock holds as long as any of them is open.
  Result<DiskFile> Share() const;

  uint64_t size() const { return size_; }  // a multiple of 512
  bool readonly() const { return readonly_; }
  // What the guest's accesses are multiples of: of a block device its logical sector, of a file 512; more
  // when direct I/O needs it.
  uint32_t block_size() const { return block_size_; }
  bool direct() const { return direct_; }
  int fd() const { return fd_.get(); }
  // Whether direct I/O takes these buffers as they are.
  bool Aligned(uint64_t position, const std::vector<iovec>& buffers) const;
  bool can_discard() const { return can_discard_; }

  // Read or write all of the buffers. A file that ends early is kDataLoss.
  Status Read(uint64_t position, std::vector<iovec>& buffers);
  Status Write(uint64_t position, std::vector<iovec>& buffers);
  Status Flush();
  // Makes the file larger; the new part reads as zeros. A block device must have the size already. May be
  // called while another thread reads and writes, who must not look at size() then.
  Status Grow(uint64_t bytes);
  // Frees the range's storage, a hint. What is then read there is zeros in a file, anything of a block
  // device. kUnimplemented where neither file system nor device can.
  Status Discard(uint64_t position, uint64_t length);
  // Makes the range read as zeros, freeing storage if `may_free`.
  Status WriteZeroes(uint64_t position, uint64_t length, bool may_free);

 private:
  DiskFile(UniqueFd fd, std::string path) : fd_(std::move(fd)), path_(std::move(path)) {}
  Status Lock();
  Status ProbeDirect();
  bool PunchHole(uint64_t position, uint64_t length);
  Status Transfer(bool write, uint64_t position, std::vector<iovec>& buffers);
  Status TransferAligned(bool write, uint64_t position, std::vector<iovec>& buffers);

  struct FreeDeleter {
    void operator()(void* memory) const;
  };

  UniqueFd fd_;
  std::string path_;
  uint64_t size_ = 0;
  bool readonly_ = false;
  bool direct_ = false;
  bool can_discard_ = false;
  bool is_device_ = false;
  uint32_t block_size_ = 512;
  std::unique_ptr<uint8_t, FreeDeleter> bounce_;  // kBounceBytes, when direct
};

}  // namespace berth::vmm
