#include "vmm/dma/iommufd_backend.h"

#include <linux/vfio.h>

#include <cerrno>
#include <utility>
#include <vector>

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

  Status Map(const DmaRun& run) override {
    abi::IommuIoasMap map{};
    map.size = sizeof map;
    map.flags =
        abi::kMapFixedIova | (run.readable ? abi::kMapReadable : 0) | (run.writable ? abi::kMapWriteable : 0);
    map.ioas_id = ioas_;
    map.user_va = reinterpret_cast<uintptr_t>(run.host);
    map.length = run.size;
    map.iova = run.iova;
    if (::ioctl(iommufd_, abi::kIoasMap, &map) == 0) return OkStatus();
    const int error = errno;
    Status status = ErrnoStatus("IOMMU_IOAS_MAP " + RangeText(run.iova, run.size), error);
    if (error == ENOMEM) {
      return std::move(status).WithHint("guest memory is locked: RLIMIT_MEMLOCK must allow all of it");
    }
    return status;
  }

  Status Unmap(uint64_t iova, uint64_t size) override {
    return cut_ ? CutUnmap(iova, size) : Whole(iova, size);
  }

 private:
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
