#include "vmm/dma/iommufd_backend.h"

#include <linux/vfio.h>

#include <algorithm>
#include <cerrno>
#include <utility>
#include <vector>

#include "common/log.h"
#include "vmm/dma/dma_text.h"
#include "vmm/dma/iommufd_abi.h"

namespace berth::vmm {
namespace {

class IommufdBackend final : public DmaBackend {
 public:
  IommufdBackend(int iommufd, uint32_t ioas, bool cut) : iommufd_(iommufd), ioas_(ioas), cut_(cut) {}

  std::string_view name() const override { return "iommufd"; }

  Result<DmaLimits> Limits() override {
    std::vector<abi::IommuIovaRange> ranges(16);
    abi::IommuIoasIovaRanges query{};
    for (int attempt = 0;; ++attempt) {
      query = {};
      query.size = sizeof query;
      query.ioas_id = ioas_;
      query.num_iovas = static_cast<uint32_t>(ranges.size());
      query.allowed_iovas = reinterpret_cast<uintptr_t>(ranges.data());
      if (::ioctl(iommufd_, abi::kIoasIovaRanges, &query) == 0) break;
      if (errno != EMSGSIZE || attempt == 4) return ErrnoStatus("IOMMU_IOAS_IOVA_RANGES", errno);
      ranges.resize(query.num_iovas);  // the kernel says how many there are
    }
    DmaLimits limits;
    for (uint32_t i = 0; i < query.num_iovas && i < ranges.size(); ++i) {
      limits.ranges.push_back({ranges[i].start, ranges[i].last});
    }
    limits.page_size = std::max<uint64_t>(4096, query.out_iova_alignment);
    limits.can_cut = cut_;
    limits.can_map_devices = false;  // it takes memory only, and BARs are none
    return limits;
  }

  // Maps it in a space of its own to which no device is attached. Nothing is pinned by that; runs are then
  // copied from there, which shares the kernel's table of the pages and takes it less than half of the memory
  // for a run.
  void Expect(std::span<const DmaRun> memory) override {
    if (std::equal(memory.begin(), memory.end(), expected_.begin(), expected_.end())) return;
    if (!expected_.empty()) Destroy(std::exchange(reservoir_, 0));
    expected_.clear();
    abi::IommuIoasAlloc allocate{};
    allocate.size = sizeof allocate;
    Status status = ::ioctl(iommufd_, abi::kIoasAlloc, &allocate) == 0
                        ? OkStatus()
                        : ErrnoStatus("IOMMU_IOAS_ALLOC", errno);
    for (const DmaRun& run : memory) {
      if (status.ok()) status = MapInto(allocate.out_ioas_id, run);
    }
    if (!status.ok()) {
      LOG(kWarning, "iommufd_without_reservoir", {{"reason", status}});
      if (allocate.out_ioas_id != 0) Destroy(allocate.out_ioas_id);
      return;
    }
    reservoir_ = allocate.out_ioas_id;
    expected_.assign(memory.begin(), memory.end());
  }

  Status Map(const DmaRun& run) override {
    for (const DmaRun& from : expected_) {
      if (run.host < from.host || run.host + run.size > from.host + from.size) continue;
      const int error = CopyFrom(from.iova + static_cast<uint64_t>(run.host - from.host), run);
      if (error == 0) return OkStatus();
      if (error != EINVAL && error != ENOENT) return MapError(run, error);
      // The kernel's documentation promises copies of whole mappings only.
      LOG(kWarning, "iommufd_copies_no_parts", {{"error", ErrnoStatus("IOMMU_IOAS_COPY", error)}});
      expected_.clear();
      Destroy(std::exchange(reservoir_, 0));
      break;
    }
    return MapInto(ioas_, run);
  }

  Status Unmap(uint64_t iova, uint64_t size) override {
    return cut_ ? CutUnmap(iova, size) : Whole(iova, size);
  }

 private:
  static uint32_t Flags(const DmaRun& run) {
    return abi::kMapFixedIova | (run.readable ? abi::kMapReadable : 0) |
           (run.writable ? abi::kMapWriteable : 0);
  }

  static Status MapError(const DmaRun& run, int error) {
    Status status = ErrnoStatus("IOMMU_IOAS_MAP " + RangeText(run.iova, run.size), error);
    if (error == ENOMEM) {
      return std::move(status).WithHint("guest memory is locked: RLIMIT_MEMLOCK must allow all of it");
    }
    return status;
  }

  // What was copied from there stays.
  void Destroy(uint32_t ioas) {
    abi::IommuDestroy destroy{};
    destroy.size = sizeof destroy;
    destroy.id = ioas;
    if (::ioctl(iommufd_, abi::kDestroy, &destroy) < 0) {
      LOG(kWarning, "iommufd_space_not_destroyed", {{"error", ErrnoStatus("IOMMU_DESTROY", errno)}});
    }
  }

  // 0 or the error's number.
  int CopyFrom(uint64_t source, const DmaRun& run) {
    abi::IommuIoasCopy copy{};
    copy.size = sizeof copy;
    copy.flags = Flags(run);
    copy.dst_ioas_id = ioas_;
    copy.src_ioas_id = reservoir_;
    copy.length = run.size;
    copy.dst_iova = run.iova;
    copy.src_iova = source;
    return ::ioctl(iommufd_, abi::kIoasCopy, &copy) == 0 ? 0 : errno;
  }

  Status MapInto(uint32_t ioas, const DmaRun& run) {
    abi::IommuIoasMap map{};
    map.size = sizeof map;
    map.flags = Flags(run);
    map.ioas_id = ioas;
    map.user_va = reinterpret_cast<uintptr_t>(run.host);
    map.length = run.size;
    map.iova = run.iova;
    return ::ioctl(iommufd_, abi::kIoasMap, &map) == 0 ? OkStatus() : MapError(run, errno);
  }

  Status Whole(uint64_t iova, uint64_t size) {
    abi::IommuIoasUnmap unmap{};
    unmap.size = sizeof unmap;
    unmap.ioas_id = ioas_;
    unmap.iova = iova;
    unmap.length = size;
    if (::ioctl(iommufd_, abi::kIoasUnmap, &unmap) == 0) return OkStatus();
    return ErrnoStatus("IOMMU_IOAS_UNMAP " + RangeText(iova, size), errno);
  }

  // The compatibility call, on a space that was made for it (see MakeIommufdSpace).
  Status CutUnmap(uint64_t iova, uint64_t size) {
    vfio_iommu_type1_dma_unmap unmap{};
    unmap.argsz = sizeof unmap;
    unmap.iova = iova;
    unmap.size = size;
    if (::ioctl(iommufd_, VFIO_IOMMU_UNMAP_DMA, &unmap) == 0) return OkStatus();
    return ErrnoStatus("VFIO_IOMMU_UNMAP_DMA " + RangeText(iova, size), errno);
  }

  const int iommufd_;
  const uint32_t ioas_;
  const bool cut_;
  uint32_t reservoir_ = 0;
  std::vector<DmaRun> expected_;  // mapped there, at the same addresses
};

}  // namespace

Result<IommufdSpace> MakeIommufdSpace(int iommufd, bool cut) {
  abi::IommuIoasAlloc allocate{};
  allocate.size = sizeof allocate;
  if (::ioctl(iommufd, abi::kIoasAlloc, &allocate) < 0) return ErrnoStatus("IOMMU_IOAS_ALLOC", errno);
  if (cut) {
    // Choosing type1 in its first version, before anything is mapped, makes the kernel map by small pages and
    // cut mappings at the ends of an unmap.
    abi::IommuVfioIoas compatible{};
    compatible.size = sizeof compatible;
    compatible.ioas_id = allocate.out_ioas_id;
    compatible.op = abi::kVfioIoasSet;
    if (::ioctl(iommufd, abi::kVfioIoas, &compatible) < 0) return ErrnoStatus("IOMMU_VFIO_IOAS", errno);
    if (::ioctl(iommufd, VFIO_SET_IOMMU, VFIO_TYPE1_IOMMU) < 0) return ErrnoStatus("VFIO_SET_IOMMU", errno);
  }
  IommufdSpace space;
  space.backend = std::make_unique<IommufdBackend>(iommufd, allocate.out_ioas_id, cut);
  space.ioas_id = allocate.out_ioas_id;
  return space;
}

}  // namespace berth::vmm
