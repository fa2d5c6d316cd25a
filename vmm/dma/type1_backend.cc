#include "vmm/dma/type1_backend.h"

#include <linux/vfio.h>
#include <sys/ioctl.h>

#include <bit>
#include <cerrno>
#include <cstring>
#include <string>
#include <utility>

#include "vmm/dma/dma_text.h"

namespace berth::vmm {
namespace {

class Type1Backend final : public DmaBackend {
 public:
  explicit Type1Backend(UniqueFd container) : container_(std::move(container)) {}

  std::string_view name() const override { return "type1"; }

  Result<DmaLimits> Limits() override {
    vfio_iommu_type1_info header{};
    header.argsz = sizeof header;
    if (::ioctl(container_.get(), VFIO_IOMMU_GET_INFO, &header) < 0) {
      return ErrnoStatus("VFIO_IOMMU_GET_INFO", errno);
    }
    // The second call brings the capabilities too, whose length the first one told.
    std::vector<uint8_t> info(std::max<size_t>(header.argsz, sizeof header));
    header.argsz = static_cast<uint32_t>(info.size());
    std::memcpy(info.data(), &header, sizeof header);
    if (::ioctl(container_.get(), VFIO_IOMMU_GET_INFO, info.data()) < 0) {
      return ErrnoStatus("VFIO_IOMMU_GET_INFO", errno);
    }
    return Parse(info);
  }

  Status Map(const DmaRun& run) override {
    vfio_iommu_type1_dma_map map{};
    map.argsz = sizeof map;
    map.flags = (run.readable ? VFIO_DMA_MAP_FLAG_READ : 0) | (run.writable ? VFIO_DMA_MAP_FLAG_WRITE : 0);
    map.vaddr = reinterpret_cast<uintptr_t>(run.host);
    map.iova = run.iova;
    map.size = run.size;
    if (::ioctl(container_.get(), VFIO_IOMMU_MAP_DMA, &map) == 0) return OkStatus();
    const int error = errno;
    Status status = ErrnoStatus("VFIO_IOMMU_MAP_DMA " + RangeText(run.iova, run.size), error);
    if (error == ENOMEM) {
      return std::move(status).WithHint("guest memory is locked: RLIMIT_MEMLOCK must allow all of it");
    }
    if (error == ENOSPC) return std::move(status).WithHint("raise vfio_iommu_type1.dma_entry_limit");
    return status;
  }

  Status Unmap(uint64_t iova, uint64_t size) override {
    vfio_iommu_type1_dma_unmap unmap{};
    unmap.argsz = sizeof unmap;
    unmap.iova = iova;
    unmap.size = size;
    if (::ioctl(container_.get(), VFIO_IOMMU_UNMAP_DMA, &unmap) < 0) {
      return ErrnoStatus("VFIO_IOMMU_UNMAP_DMA " + RangeText(iova, size), errno);
    }
    if (unmap.size != size) {  // the kernel says how much there was
      return Internal("VFIO_IOMMU_UNMAP_DMA " + RangeText(iova, size) + ": only " +
                      std::to_string(unmap.size) + " bytes were mapped");
    }
    return OkStatus();
  }

 private:
  template <class T>
  static bool Get(const std::vector<uint8_t>& info, uint64_t offset, T& value) {
    if (offset > info.size() || info.size() - offset < sizeof value) return false;
    std::memcpy(&value, info.data() + offset, sizeof value);
    return true;
  }

  static Result<DmaLimits> Parse(const std::vector<uint8_t>& info) {
    DmaLimits limits;
    limits.ranges = {IovaRange{}};
    vfio_iommu_type1_info header{};
    CHECK(Get(info, 0, header));
    if ((header.flags & VFIO_IOMMU_INFO_PGSIZES) && header.iova_pgsizes != 0) {
      limits.page_size = std::max<uint64_t>(4096, uint64_t{1} << std::countr_zero(header.iova_pgsizes));
    }
    if (!(header.flags & VFIO_IOMMU_INFO_CAPS)) return limits;
    vfio_info_cap_header capability{};
    uint32_t next = header.cap_offset;
    for (int i = 0; next != 0 && i < 64 && Get(info, next, capability); ++i) {
      if (capability.id == VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE) ParseRanges(info, next, limits);
      vfio_iommu_type1_info_dma_avail available{};
      if (capability.id == VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL && Get(info, next, available)) {
        limits.entries_left = available.avail;
      }
      next = capability.next;
    }
    return limits;
  }

  static void ParseRanges(const std::vector<uint8_t>& info, uint32_t offset, DmaLimits& limits) {
    vfio_iommu_type1_info_cap_iova_range header{};
    if (!Get(info, offset, header)) return;
    limits.ranges.clear();
    for (uint32_t i = 0; i < header.nr_iovas; ++i) {
      vfio_iova_range range{};
      if (!Get(info, offset + sizeof header + uint64_t{i} * sizeof range, range)) break;
      limits.ranges.push_back({range.start, range.end});
    }
  }

  const UniqueFd container_;
};

}  // namespace

std::unique_ptr<DmaBackend> MakeType1Backend(UniqueFd container) {
  return std::make_unique<Type1Backend>(std::move(container));
}

}  // namespace berth::vmm
