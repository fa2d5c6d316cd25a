#include "vmm/snapshot/memory_image.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>

#include "common/unique_fd.h"
#include "vmm/config/resolved_machine.h"

namespace berth::vmm {
namespace {

constexpr uint64_t kPage = 4096;
constexpr uint64_t kBlock = 64 << 10;  // what is written, or left out, at once
constexpr uint32_t kRunsMax = 1 << 20;
constexpr uint64_t kRunBytes = 8 + 8 + 1 + 8;
constexpr uint64_t kPagePresent = uint64_t{1} << 63, kPageSwapped = uint64_t{1} << 62;

bool IsZero(const uint8_t* data, uint64_t size) {
  return data[0] == 0 && std::memcmp(data, data + 1, size - 1) == 0;
}

Status WriteAll(int file, const uint8_t* data, uint64_t size, uint64_t offset) {
  while (size > 0) {
    const ssize_t written = ::pwrite(file, data, size, static_cast<off_t>(offset));
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return ErrnoStatus("write guest memory", written < 0 ? errno : EIO);
    data += written;
    size -= static_cast<uint64_t>(written);
    offset += static_cast<uint64_t>(written);
  }
  return OkStatus();
}

Status ReadAll(int file, uint8_t* data, uint64_t size, uint64_t offset) {
  while (size > 0) {
    const ssize_t count = ::pread(file, data, size, static_cast<off_t>(offset));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return ErrnoStatus("read guest memory", errno);
    if (count == 0) return DataLoss("the memory file has become shorter");
    data += count;
    size -= static_cast<uint64_t>(count);
    offset += static_cast<uint64_t>(count);
  }
  return OkStatus();
}

// Calls use(offset, length) for the parts of a run that may have been touched.
class TouchedPages {
 public:
  // Without the map of this process's pages everything counts as touched.
  TouchedPages() : map_(::open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC)) {}

  Status ForEach(const MemoryRegion& run, const std::function<Status(uint64_t, uint64_t)>& use) const {
    if (run.fd >= 0 && run.shared) {
      return ForEachExtent(run.fd, run.fd_offset, run.size, [&](uint64_t offset, uint64_t length) {
        return use(offset - run.fd_offset, length);
      });
    }
    // A private mapping of a file shows the file's content where it has not been touched.
    if (run.fd >= 0 || !map_.valid()) return use(0, run.size);
    return Anonymous(run, use);
  }

 private:
  Status Anonymous(const MemoryRegion& run, const std::function<Status(uint64_t, uint64_t)>& use) const {
    std::vector<uint64_t> entries(kBlock / sizeof(uint64_t));
    const uint64_t first = reinterpret_cast<uintptr_t>(run.host) / kPage;
    uint64_t begin = 0, end = 0;  // of what has not been used yet, in pages
    for (uint64_t page = 0; page < run.size / kPage;) {
      const uint64_t count = std::min<uint64_t>(entries.size(), run.size / kPage - page);
      const auto bytes = static_cast<ssize_t>(count * sizeof(uint64_t));
      const off_t at = static_cast<off_t>((first + page) * sizeof(uint64_t));
      if (::pread(map_.get(), entries.data(), static_cast<size_t>(bytes), at) != bytes) {
        return use(begin * kPage, run.size - begin * kPage);
      }
      for (uint64_t i = 0; i < count; ++i) {
        if ((entries[i] & (kPagePresent | kPageSwapped)) == 0) continue;
        if (page + i != end) {
          if (end > begin) TRY(use(begin * kPage, (end - begin) * kPage));
          begin = page + i;
        }
        end = page + i + 1;
      }
      page += count;
    }
    return end > begin ? use(begin * kPage, (end - begin) * kPage) : OkStatus();
  }

  UniqueFd map_;
};

// In one with a name, where it outlives the guest. A memfd and a file in a directory have none.
bool IsInAFile(const MemoryRegion& run) {
  struct stat info{};
  return run.fd >= 0 && run.shared && ::fstat(run.fd, &info) == 0 && info.st_nlink > 0;
}

}  // namespace

bool StaysInItsFile(const MemoryZoneConfig& zone) {
  if (!zone.file.has_value() || !zone.shared) return false;
  struct stat info{};
  return ::stat(zone.file->c_str(), &info) != 0 || !S_ISDIR(info.st_mode);
}

std::vector<SavedRun> PlanMemoryImage(const std::vector<MemoryRegion>& runs,
                                      const std::function<bool(const std::string&)>& stays) {
  std::vector<SavedRun> plan;
  uint64_t offset = 0;
  for (const MemoryRegion& run : runs) {
    SavedRun& saved = plan.emplace_back(SavedRun{Raw(run.base), run.size, std::nullopt});
    if (stays(run.zone) && IsInAFile(run)) continue;  // one that was removed ends with the guest
    saved.offset = offset;
    offset += run.size;
  }
  return plan;
}

Status WriteMemoryImage(int file, const std::vector<MemoryRegion>& runs, const std::vector<SavedRun>& plan) {
  CHECK(runs.size() == plan.size());
  const TouchedPages touched;
  uint64_t end = 0;
  for (const SavedRun& saved : plan) {
    if (saved.offset) end = std::max(end, *saved.offset + saved.size);
  }
  if (::ftruncate(file, static_cast<off_t>(end)) != 0) return ErrnoStatus("size the memory file", errno);
  for (size_t i = 0; i < runs.size(); ++i) {
    if (!plan[i].offset) continue;
    const auto copy = [&, &run = runs[i], &saved = plan[i]](uint64_t offset, uint64_t length) -> Status {
      for (uint64_t done = 0; done < length;) {
        const uint64_t count = std::min(kBlock, length - done);
        const uint8_t* data = run.host + offset + done;
        if (!IsZero(data, count)) TRY(WriteAll(file, data, count, *saved.offset + offset + done));
        done += count;
      }
      return OkStatus();
    };
    TRY(touched.ForEach(runs[i], copy));
  }
  if (::fsync(file) != 0) return ErrnoStatus("write the memory file to disk", errno);
  return OkStatus();
}

void SaveRuns(const std::vector<SavedRun>& plan, StateWriter& out) {
  out.Put(static_cast<uint32_t>(plan.size()));
  for (const SavedRun& run : plan) {
    out.Put(run.base);
    out.Put(run.size);
    out.Put(run.offset.has_value());
    out.Put(run.offset.value_or(0));
  }
}

std::vector<SavedRun> LoadRuns(uint64_t file_size, StateReader& in) {
  std::vector<SavedRun> plan(in.GetCount(kRunsMax, kRunBytes));
  uint64_t ram_end = 0, file_end = 0;
  for (SavedRun& run : plan) {
    in.Get(run.base);
    in.Get(run.size);
    const bool in_file = in.Get<bool>();
    const uint64_t offset = in.Get<uint64_t>();
    if (in_file) run.offset = offset;
    if (!in.ok()) return {};
    const bool pages = run.size > 0 && run.base % kPage == 0 && run.size % kPage == 0 && offset % kPage == 0;
    const bool fits = run.base >= ram_end && run.size <= UINT64_MAX - run.base;
    const bool inside =
        !in_file || (offset >= file_end && offset <= file_size && run.size <= file_size - offset);
    if (!pages || !fits || !inside) {
      in.Fail(InvalidArgument("a run of memory that is misplaced, or not in the memory file of " +
                              std::to_string(file_size) + " bytes"));
      return {};
    }
    ram_end = run.end();
    if (in_file) file_end = offset + run.size;
  }
  return plan;
}

void MarkRestoredZones(const std::vector<uint8_t>& state, uint64_t memory_size, VmConfig& config) {
  StateReader in(state);
  StateReader memory = in.GetPart(kMemoryPart, kMemoryVersion);
  const std::vector<SavedRun> plan = LoadRuns(memory_size, memory);
  const bool unknown = !memory.ok();
  for (const ResolvedRegion& region : ResolveMachine(config).regions) {
    const bool in_file = unknown || std::any_of(plan.begin(), plan.end(), [&](const SavedRun& run) {
                           return !run.offset && region.base >= run.base && region.base < run.end();
                         });
    for (MemoryZoneConfig& zone : config.memory_zones) {
      if (in_file && zone.id == region.zone) zone.restored = zone.shared;
    }
  }
}

Result<std::vector<ImagePiece>> MatchImage(const std::vector<MemoryRegion>& runs,
                                           const std::vector<SavedRun>& plan) {
  const Status differs =
      InvalidArgument("the memory of the configuration is not that of the snapshot", "memory",
                      "sizes and zones must be as they were; host nodes, page sizes and files may change");
  if (runs.size() != plan.size()) return differs;
  std::vector<ImagePiece> pieces;
  for (size_t i = 0; i < runs.size(); ++i) {
    if (Raw(runs[i].base) != plan[i].base || runs[i].size != plan[i].size) return differs;
    if (!plan[i].offset) {
      if (IsInAFile(runs[i])) continue;
      return InvalidArgument(
          "memory zone " + runs[i].zone + " was left in its file by the snapshot, which has no copy",
          "memory", "the zone must have this file, with shared=on, as it had");
    }
    // A file with a name has what was written to it before.
    const bool fresh = runs[i].fd < 0 || (runs[i].shared && !IsInAFile(runs[i]));
    // What has room in a file is there already, and would never be asked for.
    const bool can_wait = fresh && !runs[i].reserve_space;
    pieces.push_back({runs[i].host, runs[i].size, *plan[i].offset, fresh, runs[i].page_size, can_wait});
  }
  return pieces;
}

Status ForEachExtent(int file, uint64_t offset, uint64_t size,
                     const std::function<Status(uint64_t, uint64_t)>& use) {
  const uint64_t end = offset + size;
  while (offset < end) {
    const off_t data = ::lseek(file, static_cast<off_t>(offset), SEEK_DATA);
    if (data < 0 && errno == ENXIO) return OkStatus();  // holes up to the end
    if (data < 0) return use(offset, end - offset);     // a file system that cannot tell
    if (static_cast<uint64_t>(data) >= end) return OkStatus();
    const off_t hole = ::lseek(file, data, SEEK_HOLE);
    const uint64_t stop = hole < 0 ? end : std::min(end, static_cast<uint64_t>(hole));
    TRY(use(static_cast<uint64_t>(data), stop - static_cast<uint64_t>(data)));
    offset = stop;
  }
  return OkStatus();
}

Status ReadMemoryImage(int file, const std::vector<ImagePiece>& pieces) {
  for (const ImagePiece& piece : pieces) {
    if (!piece.reads_zero) {
      TRY(ReadAll(file, piece.host, piece.size, piece.offset));
      continue;
    }
    TRY(ForEachExtent(file, piece.offset, piece.size, [&](uint64_t offset, uint64_t length) {
      return ReadAll(file, piece.host + (offset - piece.offset), length, offset);
    }));
  }
  return OkStatus();
}

}  // namespace berth::vmm
