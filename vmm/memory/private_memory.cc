#include "vmm/memory/private_memory.h"

#include <fcntl.h>
#include <linux/falloc.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <string>
#include <utility>

#include "common/byte_size.h"

namespace berth::vmm {

Result<std::unique_ptr<PrivateMemory>> PrivateMemory::Create(std::vector<MemoryRegion> regions,
                                                             const MakeFile& make) {
  std::unique_ptr<PrivateMemory> self(new PrivateMemory());
  self->regions_ = std::move(regions);
  std::sort(self->regions_.begin(), self->regions_.end(),
            [](const MemoryRegion& a, const MemoryRegion& b) { return Raw(a.base) < Raw(b.base); });
  for (const MemoryRegion& region : self->regions_) {
    Result<UniqueFd> file = make(region.size);
    if (!file.has_value()) {
      return std::move(file).error().WithContext("private memory of zone " + region.zone);
    }
    self->files_.push_back(*std::move(file));
    if (!region.host_numa_node || self->workers_.contains(*region.host_numa_node)) continue;
    TRY_ASSIGN(auto worker, NodeWorker::Create(*region.host_numa_node));
    self->workers_.emplace(*region.host_numa_node, std::move(worker));
  }
  return self;
}

const MemoryRegion* PrivateMemory::RegionOf(Gpa gpa, uint64_t size) const {
  for (const MemoryRegion& region : regions_) {
    if (Raw(gpa) < Raw(region.base) || Raw(gpa) - Raw(region.base) >= region.size) continue;
    return size <= region.size - (Raw(gpa) - Raw(region.base)) ? &region : nullptr;
  }
  return nullptr;
}

PrivateMemory::Place PrivateMemory::Find(Gpa gpa) const {
  const MemoryRegion* region = RegionOf(gpa, 0);
  if (region == nullptr) return {};
  return {files_[static_cast<size_t>(region - regions_.data())].get(), Raw(gpa) - Raw(region->base)};
}

Status PrivateMemory::Populate(Gpa gpa, uint64_t size) {
  const MemoryRegion* region = RegionOf(gpa, size);
  if (region == nullptr) return InvalidArgument("no private memory there");
  const Place place = Find(gpa);
  auto allocate = [&]() -> Status {
    int result;
    do {
      result = ::fallocate(place.file, FALLOC_FL_KEEP_SIZE, static_cast<off_t>(place.offset),
                           static_cast<off_t>(size));
    } while (result < 0 && errno == EINTR);
    if (result == 0) return OkStatus();
    return ErrnoStatus("private memory of " + ByteSize(size).ToHuman() + " in zone " + region->zone, errno);
  };
  if (!region->host_numa_node) return allocate();
  return workers_.at(*region->host_numa_node)->Run(allocate);
}

Status PrivateMemory::Discard(Gpa gpa, uint64_t size) {
  if (RegionOf(gpa, size) == nullptr) return InvalidArgument("no private memory there");
  const Place place = Find(gpa);
  if (::fallocate(place.file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(place.offset),
                  static_cast<off_t>(size)) == 0) {
    return OkStatus();
  }
  return ErrnoStatus("give private memory back", errno);
}

std::map<int64_t, uint64_t> PrivateMemory::AllocatedBytes() const {
  std::map<int64_t, uint64_t> bytes;
  for (size_t i = 0; i < regions_.size(); ++i) {
    struct stat info;
    if (::fstat(files_[i].get(), &info) < 0) continue;
    const auto& node = regions_[i].host_numa_node;
    bytes[node ? int64_t{*node} : -1] += static_cast<uint64_t>(info.st_blocks) * 512;
  }
  return bytes;
}

}  // namespace berth::vmm
