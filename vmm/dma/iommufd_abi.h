#pragma once

#include <sys/ioctl.h>

#include <cstdint>

// What the VMM uses of Linux 6.2's iommufd and of VFIO's device files (Linux 6.6). Written down here because
// the distribution's kernel headers are older. For the callers of these ioctls only.
namespace berth::vmm::abi {

inline constexpr unsigned kIommufdType = ';';

struct IommuIoasAlloc {
  uint32_t size;
  uint32_t flags;
  uint32_t out_ioas_id;
};
struct IommuIoasMap {
  uint32_t size;
  uint32_t flags;
  uint32_t ioas_id;
  uint32_t reserved;
  uint64_t user_va;
  uint64_t length;
  uint64_t iova;
};
struct IommuIoasUnmap {
  uint32_t size;
  uint32_t ioas_id;
  uint64_t iova;
  uint64_t length;
};
struct IommuIovaRange {
  uint64_t start;
  uint64_t last;
};
struct IommuIoasIovaRanges {
  uint32_t size;
  uint32_t ioas_id;
  uint32_t num_iovas;
  uint32_t reserved;
  uint64_t allowed_iovas;
  uint64_t out_iova_alignment;
};
struct IommuVfioIoas {
  uint32_t size;
  uint32_t ioas_id;
  uint16_t op;
  uint16_t reserved;
};
struct VfioDeviceBindIommufd {
  uint32_t argsz;
  uint32_t flags;
  int32_t iommufd;
  uint32_t out_devid;
};
struct VfioDeviceAttachIommufdPt {
  uint32_t argsz;
  uint32_t flags;
  uint32_t pt_id;
};
// include/uapi/linux/iommufd.h, struct iommu_ioas_copy.
struct IommuIoasCopy {
  uint32_t size;
  uint32_t flags;  // as of IommuIoasMap
  uint32_t dst_ioas_id;
  uint32_t src_ioas_id;
  uint64_t length;
  uint64_t dst_iova;
  uint64_t src_iova;
};
static_assert(sizeof(IommuIoasCopy) == 40);
struct IommuDestroy {
  uint32_t size;
  uint32_t id;
};
static_assert(sizeof(IommuDestroy) == 8);
static_assert(sizeof(IommuIoasAlloc) == 12 && sizeof(IommuIoasMap) == 40 && sizeof(IommuIoasUnmap) == 24);
static_assert(sizeof(IommuIoasIovaRanges) == 32 && sizeof(IommuVfioIoas) == 12);
static_assert(sizeof(VfioDeviceBindIommufd) == 16 && sizeof(VfioDeviceAttachIommufdPt) == 12);

inline constexpr uint32_t kMapFixedIova = 1 << 0;
inline constexpr uint32_t kMapWriteable = 1 << 1;
inline constexpr uint32_t kMapReadable = 1 << 2;
inline constexpr uint16_t kVfioIoasSet = 1;

inline constexpr unsigned long kIoasAlloc = _IO(kIommufdType, 0x81);
inline constexpr unsigned long kDestroy = _IO(kIommufdType, 0x80);
inline constexpr unsigned long kIoasCopy = _IO(kIommufdType, 0x83);
inline constexpr unsigned long kIoasIovaRanges = _IO(kIommufdType, 0x84);
inline constexpr unsigned long kIoasMap = _IO(kIommufdType, 0x85);
inline constexpr unsigned long kIoasUnmap = _IO(kIommufdType, 0x86);
inline constexpr unsigned long kVfioIoas = _IO(kIommufdType, 0x88);
inline constexpr unsigned long kVfioDeviceBindIommufd = _IO(kIommufdType, 0x76);
inline constexpr unsigned long kVfioDeviceAttachIommufdPt = _IO(kIommufdType, 0x77);

}  // namespace berth::vmm::abi
