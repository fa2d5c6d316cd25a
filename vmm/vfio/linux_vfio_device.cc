#include "vmm/vfio/linux_vfio_device.h"

#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstdio>
#include <cstring>

namespace berth::vmm {
namespace {

constexpr uint64_t kPage = 4096;

template <class T>
bool GetAt(const std::vector<uint8_t>& bytes, uint64_t offset, T& value) {
  if (offset > bytes.size() || bytes.size() - offset < sizeof value) return false;
  std::memcpy(&value, bytes.data() + offset, sizeof value);
  return true;
}

// The pieces of a region that may be mapped, as its sparse capability says, else all of it.
std::vector<VfioArea> MappableAreas(const std::vector<uint8_t>& info, const vfio_region_info& header) {
  vfio_info_cap_header capability{};
  uint32_t next = (header.flags & VFIO_REGION_INFO_FLAG_CAPS) ? header.cap_offset : 0;
  for (int i = 0; next != 0 && i < 64 && GetAt(info, next, capability); ++i) {
    if (capability.id == VFIO_REGION_INFO_CAP_SPARSE_MMAP) {
      std::vector<VfioArea> areas;
      vfio_region_info_cap_sparse_mmap sparse{};
      if (!GetAt(info, next, sparse)) break;
      for (uint32_t a = 0; a < sparse.nr_areas; ++a) {
        vfio_region_sparse_mmap_area area{};
        if (!GetAt(info, next + sizeof sparse + uint64_t{a} * sizeof area, area)) break;
        if (area.size != 0) areas.push_back({area.offset, area.size});
      }
      std::sort(areas.begin(), areas.end(),
                [](const VfioArea& a, const VfioArea& b) { return a.offset < b.offset; });
      return areas;
    }
    next = capability.next;
  }
  return {{0, header.size}};
}

// Address space in which large pages of the device can be mapped as such.
Result<uint8_t*> ReserveAligned(uint64_t size) {
  const uint64_t alignment = std::clamp<uint64_t>(std::bit_floor(size), kPage, uint64_t{1} << 30);
  void* start =
      ::mmap(nullptr, size + alignment, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (start == MAP_FAILED) return ErrnoStatus("reserve address space for a BAR", errno);
  auto* begin = static_cast<uint8_t*>(start);
  const uint64_t skip = (alignment - reinterpret_cast<uintptr_t>(begin) % alignment) % alignment;
  if (skip > 0) ::munmap(begin, skip);
  ::munmap(begin + skip + size, alignment - skip);
  return begin + skip;
}

}  // namespace

Result<std::shared_ptr<LinuxVfioDevice>> LinuxVfioDevice::Create(UniqueFd fd, std::string address,
                                                                 std::shared_ptr<const UniqueFd> group) {
  std::shared_ptr<LinuxVfioDevice> device(
      new LinuxVfioDevice(std::move(fd), std::move(address), std::move(group)));
  vfio_device_info info{};
  info.argsz = sizeof info;
  if (::ioctl(device->fd_.get(), VFIO_DEVICE_GET_INFO, &info) < 0) {
    return ErrnoStatus("VFIO_DEVICE_GET_INFO", errno);
  }
  if (!(info.flags & VFIO_DEVICE_FLAGS_PCI) || info.num_regions < VfioDeviceInfo::kRegions) {
    return FailedPrecondition(device->address_ + " is no PCI device");
  }
  device->info_.can_reset = (info.flags & VFIO_DEVICE_FLAGS_RESET) != 0;
  for (uint32_t i = 0; i < VfioDeviceInfo::kRegions; ++i) TRY(device->QueryRegion(i));
  for (uint32_t i = 0; i < std::min<uint32_t>(info.num_irqs, VfioDeviceInfo::kIrqIndexes); ++i) {
    TRY(device->QueryIrqs(i));
  }
  return device;
}

LinuxVfioDevice::~LinuxVfioDevice() {
  for (const auto& [key, mapping] : mappings_) ::munmap(mapping.first, mapping.second);
}

Status LinuxVfioDevice::QueryRegion(uint32_t index) {
  vfio_region_info header{};
  header.argsz = sizeof header;
  header.index = index;
  if (::ioctl(fd_.get(), VFIO_DEVICE_GET_REGION_INFO, &header) < 0) {
    if (errno == EINVAL) return OkStatus();  // not every device has all of them
    return ErrnoStatus("VFIO_DEVICE_GET_REGION_INFO " + std::to_string(index), errno);
  }
  std::vector<uint8_t> info(std::max<size_t>(header.argsz, sizeof header));
  header.argsz = static_cast<uint32_t>(info.size());
  std::memcpy(info.data(), &header, sizeof header);
  if (::ioctl(fd_.get(), VFIO_DEVICE_GET_REGION_INFO, info.data()) < 0) {
    return ErrnoStatus("VFIO_DEVICE_GET_REGION_INFO " + std::to_string(index), errno);
  }
  CHECK(GetAt(info, 0, header));
  VfioRegion& region = info_.regions[index];
  region.size = header.size;
  region.readable = (header.flags & VFIO_REGION_INFO_FLAG_READ) != 0;
  region.writable = (header.flags & VFIO_REGION_INFO_FLAG_WRITE) != 0;
  if (header.flags & VFIO_REGION_INFO_FLAG_MMAP) region.mappable = MappableAreas(info, header);
  file_offsets_[index] = header.offset;
  return OkStatus();
}

Status LinuxVfioDevice::QueryIrqs(uint32_t index) {
  vfio_irq_info info{};
  info.argsz = sizeof info;
  info.index = index;
  if (::ioctl(fd_.get(), VFIO_DEVICE_GET_IRQ_INFO, &info) < 0) {
    if (errno == EINVAL) return OkStatus();  // an older kernel, or a device without error reports
    return ErrnoStatus("VFIO_DEVICE_GET_IRQ_INFO " + std::to_string(index), errno);
  }
  if (!(info.flags & VFIO_IRQ_INFO_EVENTFD)) return OkStatus();
  info_.irqs[index] = {info.count, !(info.flags & VFIO_IRQ_INFO_NORESIZE)};
  return OkStatus();
}

Status LinuxVfioDevice::ReadRegion(uint32_t region, uint64_t offset, std::span<uint8_t> data) {
  CHECK(region < VfioDeviceInfo::kRegions);
  const ssize_t done =
      ::pread(fd_.get(), data.data(), data.size(), static_cast<off_t>(file_offsets_[region] + offset));
  if (done == static_cast<ssize_t>(data.size())) return OkStatus();
  return ErrnoStatus(address_ + ": read region " + std::to_string(region), done < 0 ? errno : EIO);
}

Status LinuxVfioDevice::WriteRegion(uint32_t region, uint64_t offset, std::span<const uint8_t> data) {
  CHECK(region < VfioDeviceInfo::kRegions);
  const ssize_t done =
      ::pwrite(fd_.get(), data.data(), data.size(), static_cast<off_t>(file_offsets_[region] + offset));
  if (done == static_cast<ssize_t>(data.size())) return OkStatus();
  return ErrnoStatus(address_ + ": write region " + std::to_string(region), done < 0 ? errno : EIO);
}

Result<uint8_t*> LinuxVfioDevice::MapRegion(uint32_t region, const VfioArea& area) {
  CHECK(region < VfioDeviceInfo::kRegions && area.offset % kPage == 0 && area.size % kPage == 0);
  std::lock_guard lock(mutex_);
  const std::pair<uint32_t, uint64_t> key{region, area.offset};
  if (auto known = mappings_.find(key); known != mappings_.end() && known->second.second == area.size) {
    return known->second.first;
  }
  TRY_ASSIGN(uint8_t* place, ReserveAligned(area.size));
  if (::mmap(place, area.size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd_.get(),
             static_cast<off_t>(file_offsets_[region] + area.offset)) == MAP_FAILED) {
    const int error = errno;
    ::munmap(place, area.size);
    return ErrnoStatus(address_ + ": map region " + std::to_string(region), error);
  }
  mappings_[key] = {place, area.size};
  return place;
}

Status LinuxVfioDevice::SetIrqs(uint32_t index, uint32_t flags, uint32_t start, uint32_t count,
                                std::span<const int> event_fds) {
  std::vector<uint8_t> buffer(sizeof(vfio_irq_set) + event_fds.size_bytes());
  vfio_irq_set set{};
  set.argsz = static_cast<uint32_t>(buffer.size());
  set.flags = flags;
  set.index = index;
  set.start = start;
  set.count = count;
  std::memcpy(buffer.data(), &set, sizeof set);
  if (!event_fds.empty()) std::memcpy(buffer.data() + sizeof set, event_fds.data(), event_fds.size_bytes());
  if (::ioctl(fd_.get(), VFIO_DEVICE_SET_IRQS, buffer.data()) == 0) return OkStatus();
  return ErrnoStatus(address_ + ": VFIO_DEVICE_SET_IRQS " + std::to_string(index), errno);
}

Status LinuxVfioDevice::SetTriggers(uint32_t irq_index, uint32_t start, std::span<const int> event_fds) {
  return SetIrqs(irq_index, VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER, start,
                 static_cast<uint32_t>(event_fds.size()), event_fds);
}

Status LinuxVfioDevice::DisableIrqs(uint32_t irq_index) {
  return SetIrqs(irq_index, VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_TRIGGER, 0, 0, {});
}

Status LinuxVfioDevice::UnmaskIntx() {
  return SetIrqs(VFIO_PCI_INTX_IRQ_INDEX, VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_UNMASK, 0, 1, {});
}

Status LinuxVfioDevice::Reset() {
  if (!info_.can_reset) return FailedPrecondition(address_ + " cannot be reset by itself");
  if (::ioctl(fd_.get(), VFIO_DEVICE_RESET) < 0) return ErrnoStatus(address_ + ": VFIO_DEVICE_RESET", errno);
  return OkStatus();
}

Result<std::vector<LinuxVfioDevice::BusNeighbour>> LinuxVfioDevice::BusNeighbours() {
  vfio_pci_hot_reset_info header{};
  header.argsz = sizeof header;
  if (::ioctl(fd_.get(), VFIO_DEVICE_GET_PCI_HOT_RESET_INFO, &header) < 0 && errno != ENOSPC) {
    return ErrnoStatus(address_ + ": VFIO_DEVICE_GET_PCI_HOT_RESET_INFO", errno);
  }
  std::vector<uint8_t> info(sizeof header + uint64_t{header.count} * sizeof(vfio_pci_dependent_device));
  header.argsz = static_cast<uint32_t>(info.size());
  std::memcpy(info.data(), &header, sizeof header);
  if (::ioctl(fd_.get(), VFIO_DEVICE_GET_PCI_HOT_RESET_INFO, info.data()) < 0) {
    return ErrnoStatus(address_ + ": VFIO_DEVICE_GET_PCI_HOT_RESET_INFO", errno);
  }
  CHECK(GetAt(info, 0, header));
  std::vector<BusNeighbour> neighbours;
  for (uint32_t i = 0; i < header.count; ++i) {
    vfio_pci_dependent_device dependent{};
    if (!GetAt(info, sizeof header + uint64_t{i} * sizeof dependent, dependent)) break;
    char text[24];
    std::snprintf(text, sizeof text, "%04x:%02x:%02x.%x", dependent.segment, dependent.bus,
                  dependent.devfn >> 3, dependent.devfn & 7);
    neighbours.push_back({text, dependent.group_id});
  }
  return neighbours;
}

Status LinuxVfioDevice::ResetBus(const std::vector<int>& groups) {
  std::vector<uint8_t> buffer(sizeof(vfio_pci_hot_reset) + groups.size() * sizeof(int));
  vfio_pci_hot_reset reset{};
  reset.argsz = static_cast<uint32_t>(buffer.size());
  reset.count = static_cast<uint32_t>(groups.size());
  std::memcpy(buffer.data(), &reset, sizeof reset);
  if (!groups.empty()) std::memcpy(buffer.data() + sizeof reset, groups.data(), groups.size() * sizeof(int));
  if (::ioctl(fd_.get(), VFIO_DEVICE_PCI_HOT_RESET, buffer.data()) == 0) return OkStatus();
  return ErrnoStatus(address_ + ": VFIO_DEVICE_PCI_HOT_RESET", errno);
}

}  // namespace berth::vmm
