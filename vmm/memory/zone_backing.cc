#include "vmm/memory/zone_backing.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <linux/mempolicy.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <string>
#include <utility>
#include <vector>

#include "vmm/memory/prefault.h"
#include "vmm/memory/zone_file.h"

namespace berth::vmm {
namespace {

constexpr uint64_t kBasePage = 4096;
constexpr uint64_t kHugePage = uint64_t{2} << 20;
constexpr int kHugePageSizeShift = 26;  // MFD_HUGE_SHIFT

Result<UniqueFd> OpenInDirectory(const std::string& directory) {
  UniqueFd fd(::open(directory.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
  if (fd.valid()) return fd;
  if (errno != EOPNOTSUPP && errno != EISDIR) return ErrnoStatus("create a file in " + directory, errno);
  // A file system without unnamed files.
  std::string name = directory + "/berth-vmm-XXXXXX";
  fd.reset(::mkostemp(name.data(), O_CLOEXEC));
  if (!fd.valid()) return ErrnoStatus("create " + name, errno);
  ::unlink(name.c_str());
  return fd;
}

// Never longer than it was, unless it is empty or made here: bytes of somebody else's file are not for
// guests.
Result<ZoneBacking> OpenFile(const std::string& path, const MemoryZoneConfig& zone, uint64_t page_size) {
  ZoneBacking backing;
  backing.page_size = page_size;
  struct stat info;
  if (::stat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode)) {
    TRY_ASSIGN(backing.file, OpenInDirectory(path));
    backing.shared = true;  // nobody else can see it, and a private mapping would take the memory twice
  } else {
    backing.file.reset(::open(path.c_str(), O_RDWR | O_CLOEXEC));
    if (!backing.file.valid() && errno == ENOENT && !zone.restored) {
      backing.file.reset(::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
    }
    if (!backing.file.valid()) return ErrnoStatus("open " + path, errno).WithField("file");
    backing.shared = zone.shared;
  }
  // Of a file that is mapped privately holes are only read, which takes a page of a tmpfs, and of no other;
  // huge pages are filled by pages of the mapping's own, and would be taken twice.
  struct statfs file_system{};
  const bool holes_take_pages =
      ::statfs(path.c_str(), &file_system) == 0 && file_system.f_type == TMPFS_MAGIC;
  backing.reserve_space = backing.shared || (page_size == kBasePage && holes_take_pages);
  if (::fstat(backing.file.get(), &info) < 0) return ErrnoStatus("stat " + path, errno);
  const uint64_t wanted = ZoneFileSize(zone);
  if (S_ISREG(info.st_mode) && info.st_size == 0 && !zone.restored) {
    if (::ftruncate(backing.file.get(), static_cast<off_t>(wanted)) < 0) {
      return ErrnoStatus("extend " + path + " to " + ByteSize(wanted).ToString(), errno);
    }
  }
  return backing;
}

// Address space for `size` bytes at an address that equals `gpa` modulo `alignment`.
Result<uint8_t*> ReserveAddresses(uint64_t size, uint64_t alignment, uint64_t gpa) {
  const uint64_t reserved = size + alignment;
  void* start = ::mmap(nullptr, reserved, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (start == MAP_FAILED) return ErrnoStatus("reserve " + ByteSize(reserved).ToHuman(), errno);
  auto* begin = static_cast<uint8_t*>(start);
  const uint64_t skip = (gpa - reinterpret_cast<uintptr_t>(begin)) % alignment;
  if (skip > 0) ::munmap(begin, skip);
  ::munmap(begin + skip + size, alignment - skip);
  return begin + skip;
}

Status BindToNode(uint8_t* begin, uint64_t size, uint32_t node) {
  constexpr size_t kBits = 8 * sizeof(unsigned long);
  std::vector<unsigned long> mask(node / kBits + 1);
  mask[node / kBits] = 1UL << node % kBits;
  // The kernel reads one bit less than it is told.
  const unsigned long bits = mask.size() * kBits + 1;
  mask.push_back(0);
  if (::syscall(SYS_mbind, begin, size, MPOL_BIND, mask.data(), bits, MPOL_MF_STRICT | MPOL_MF_MOVE) == 0) {
    return OkStatus();
  }
  int error = errno;
  const bool no_numa = ::access("/sys/devices/system/node/node0", F_OK) != 0;
  if (error == ENOSYS && node == 0 && no_numa) return OkStatus();  // a kernel of one node
  Status status = ErrnoStatus("bind to host NUMA node " + std::to_string(node), error);
  return std::move(status).WithField("host_numa_node").WithHint("the host must have this node, with memory");
}

// The file may have holes that its file system cannot fill when the guest touches them.
Status ReserveSpace(const MemoryRegion& part) {
  while (::fallocate(part.fd, 0, static_cast<off_t>(part.fd_offset), static_cast<off_t>(part.size)) < 0) {
    if (errno == EOPNOTSUPP) return OkStatus();
    if (errno != EINTR) {
      return ErrnoStatus("reserve " + ByteSize(part.size).ToString() + " in the file of zone " + part.zone,
                         errno);
    }
  }
  return OkStatus();
}

}  // namespace

Result<ZoneBacking> OpenZoneBacking(const MemoryZoneConfig& zone, uint64_t page_size) {
  if (zone.file.has_value()) return OpenFile(*zone.file, zone, page_size);
  ZoneBacking backing;
  backing.page_size = page_size;
  if (!zone.shared && !zone.hugepages) return backing;
  unsigned flags = MFD_CLOEXEC;
  if (zone.hugepages) {
    flags |= MFD_HUGETLB | static_cast<unsigned>(std::countr_zero(page_size)) << kHugePageSizeShift;
  }
  backing.file.reset(::memfd_create(("berth-" + zone.id).substr(0, 200).c_str(), flags));
  if (!backing.file.valid()) return ErrnoStatus("create a memory file", errno);
  backing.shared = true;
  if (::ftruncate(backing.file.get(), static_cast<off_t>(ZoneFileSize(zone))) < 0) {
    return ErrnoStatus("size a memory file of " + ByteSize(ZoneFileSize(zone)).ToString(), errno);
  }
  return backing;
}

Result<MemoryRegion> MapRegion(const MemoryZoneConfig& zone, const ZoneBacking& backing,
                               const RegionPlan& piece, uint64_t file_offset, bool reserve) {
  const uint64_t alignment = std::max(backing.page_size, kHugePage);
  // Huge pages want a multiple of their size; then the guest's address cannot matter.
  const uint64_t congruent = backing.page_size > kBasePage ? 0 : Raw(piece.base);
  TRY_ASSIGN(uint8_t* address, ReserveAddresses(piece.size, alignment, congruent));
  int flags = MAP_FIXED | (backing.shared ? MAP_SHARED : MAP_PRIVATE);
  if (!backing.file.valid()) flags |= MAP_ANONYMOUS;
  if (!reserve || !zone.reserve) flags |= MAP_NORESERVE;
  if (::mmap(address, piece.size, PROT_READ | PROT_WRITE, flags, backing.file.get(),
             static_cast<off_t>(backing.file.valid() ? file_offset : 0)) == MAP_FAILED) {
    int error = errno;
    ::munmap(address, piece.size);
    return ErrnoStatus("map " + ByteSize(piece.size).ToString(), error);
  }
  if (zone.host_numa_node.has_value()) {
    if (Status status = BindToNode(address, piece.size, *zone.host_numa_node); !status.ok()) {
      ::munmap(address, piece.size);
      return status;
    }
  }
  MemoryRegion region;
  region.base = piece.base;
  region.size = piece.size;
  region.host = address;
  region.fd = backing.file.get();
  region.fd_offset = file_offset;
  region.zone = zone.id;
  region.host_numa_node = zone.host_numa_node;
  region.shared = backing.shared;
  region.page_size = backing.page_size;
  region.prefault = zone.prefault || backing.page_size > kBasePage;
  region.reserve_space = backing.reserve_space;
  return region;
}

void AdviseRegion(const MemoryZoneConfig& zone, const MemoryRegion& region) {
  // Advice only: a kernel without the feature refuses it, and nothing is lost.
  ::madvise(region.host, region.size, MADV_DONTDUMP);
  if (zone.mergeable) ::madvise(region.host, region.size, MADV_MERGEABLE);
  if (region.fd < 0) {
    ::madvise(region.host, region.size, zone.thp && !zone.mergeable ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
  }
}

Status FillRegion(const MemoryZoneConfig& zone, const MemoryRegion& region) {
  AdviseRegion(zone, region);
  return PopulatePlugged(region);
}

Status PopulatePlugged(const MemoryRegion& part) {
  if (part.reserve_space) TRY(ReserveSpace(part));
  if (!part.prefault) return OkStatus();
  const CpuSet cpus = part.host_numa_node.has_value() ? CpusOfHostNode(*part.host_numa_node) : CpuSet();
  return Prefault({part.host, static_cast<size_t>(part.size)}, part.page_size, cpus);
}

Status DiscardPages(const MemoryRegion& part) {
  if (part.fd >= 0 && part.shared) {
    // Not by fallocate(2), of which a pager of a restored guest would not hear.
    if (::madvise(part.host, part.size, MADV_REMOVE) == 0) return OkStatus();
    return ErrnoStatus("give memory of zone " + part.zone + " back", errno);
  }
  if (::madvise(part.host, part.size, MADV_DONTNEED) == 0) return OkStatus();
  return ErrnoStatus("give memory of zone " + part.zone + " back", errno);
}

}  // namespace berth::vmm
