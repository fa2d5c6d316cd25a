#include "vmm/vfio/fake_vfio.h"

#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>

namespace berth::vmm {
namespace {

constexpr uint64_t kPage = 4096;

void Put16(uint8_t* at, uint16_t value) {
  std::memcpy(at, &value, sizeof value);
}

void Put32(uint8_t* at, uint32_t value) {
  std::memcpy(at, &value, sizeof value);
}

bool Exclusive(uint32_t irq_index) {
  return irq_index <= VFIO_PCI_MSIX_IRQ_INDEX;
}

}  // namespace

FakeVfioDevice::FakeVfioDevice(Options options) : options_(std::move(options)) {
  file_ = ::eventfd(0, EFD_CLOEXEC);  // something that can be named
  info_.can_reset = options_.can_reset;
  for (const Bar& bar : options_.bars) {
    VfioRegion& region = info_.regions[bar.index];
    region = {bar.size, true, true, bar.mappable};
    if (region.mappable.empty() && !bar.io && bar.size >= kPage) region.mappable = {{0, bar.size}};
    void* memory =
        ::mmap(nullptr, std::max(bar.size, kPage), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(memory != MAP_FAILED);
    bars_[bar.index] = static_cast<uint8_t*>(memory);
  }
  info_.regions[VFIO_PCI_CONFIG_REGION_INDEX] = {config_.size(), true, true, {}};
  if (options_.intx) info_.irqs[VFIO_PCI_INTX_IRQ_INDEX] = {1, false};
  info_.irqs[VFIO_PCI_MSI_IRQ_INDEX] = {options_.msi_vectors, false};
  info_.irqs[VFIO_PCI_MSIX_IRQ_INDEX] = {options_.msix_vectors, options_.msix_resizable};
  info_.irqs[VFIO_PCI_ERR_IRQ_INDEX] = {1, false};
  info_.irqs[VFIO_PCI_REQ_IRQ_INDEX] = {1, false};
  BuildConfig();
}

FakeVfioDevice::~FakeVfioDevice() {
  for (const auto& [index, fds] : triggers_) {
    for (int fd : fds) {
      if (fd >= 0) ::close(fd);
    }
  }
  for (const auto& [index, memory] : bars_) {
    ::munmap(memory, std::max(info_.regions[index].size, kPage));
  }
  ::close(file_);
}

uint32_t FakeVfioDevice::AddCapability(uint8_t id, std::vector<uint8_t> body) {
  const uint32_t offset = next_capability_;
  config_[last_pointer_] = static_cast<uint8_t>(offset);
  config_[offset] = id;
  std::copy(body.begin(), body.end(), config_.begin() + offset + 2);
  last_pointer_ = offset + 1;
  next_capability_ = static_cast<uint32_t>((offset + 2 + body.size() + 3) & ~size_t{3});
  return offset;
}

void FakeVfioDevice::BuildConfig() {
  Put16(&config_[0x00], 0x8086);
  Put16(&config_[0x02], 0x10ca);
  Put16(&config_[0x06], 0x0010);
  Put32(&config_[0x08], 0x02000001);
  config_[0x0e] = 0x80;  // one of several functions
  config_[0x3d] = options_.intx ? 2 : 0;
  for (const Bar& bar : options_.bars) {
    Put32(&config_[0x10 + 4 * bar.index], bar.io ? 1 : bar.wide ? 4 : 0);
  }
  AddCapability(0x01, {0x03, 0xfe, 0x00, 0x00, 0x00, 0x00});  // power management, wakes from everywhere
  AddCapability(0x06, {0x00, 0x00});                          // CompactPCI hot swap: to be hidden
  if (options_.msi_vectors > 0) {
    const auto exponent = static_cast<uint16_t>(std::countr_zero(std::bit_floor(options_.msi_vectors)));
    std::vector<uint8_t> body(22, 0);
    Put16(body.data(), static_cast<uint16_t>(0x80 | (options_.msi_maskable ? 0x100 : 0) | exponent << 1));
    AddCapability(0x05, body);
  }
  if (options_.msix_vectors > 0) {
    std::vector<uint8_t> body(10, 0);
    Put16(body.data(), static_cast<uint16_t>(options_.msix_vectors - 1));
    Put32(body.data() + 2, options_.msix_bar);
    Put32(body.data() + 6, options_.msix_pba_offset | options_.msix_bar);
    AddCapability(0x11, body);
  }
  std::vector<uint8_t> express(0x3a, 0);
  Put16(express.data(), 0x0002);             // version 2, endpoint
  Put32(express.data() + 2, 0x10008000);     // function level reset
  Put32(express.data() + 0x0a, 0x00000411);  // link capabilities
  AddCapability(0x10, express);
  if (!options_.sriov) return;
  Put32(&config_[0x100], 0x14010001);  // AER, next at 0x140
  Put32(&config_[0x140], 0x18010010);  // SR-IOV, next at 0x180
  Put32(&config_[0x144], 0xdeadbeef);
  Put32(&config_[0x180], 0x00010003);  // serial number
  Put32(&config_[0x184], 0x12345678);
}

Status FakeVfioDevice::Injected(VfioCall call, const char* what) {
  auto it = failures_.find(call);
  if (it == failures_.end()) return OkStatus();
  if (it->second.first > 0) {
    --it->second.first;
    return OkStatus();
  }
  const int error = it->second.second;
  failures_.erase(it);
  return ErrnoStatus(what, error);
}

Status FakeVfioDevice::ReadRegion(uint32_t region, uint64_t offset, std::span<uint8_t> data) {
  std::lock_guard lock(mutex_);
  TRY(Injected(VfioCall::kRead, "read a region"));
  const uint64_t size = info_.regions[region].size;
  if (offset > size || data.size() > size - offset) return ErrnoStatus("read a region", EINVAL);
  const uint8_t* from = region == VFIO_PCI_CONFIG_REGION_INDEX ? config_.data() : bars_.at(region);
  std::memcpy(data.data(), from + offset, data.size());
  return OkStatus();
}

Status FakeVfioDevice::WriteRegion(uint32_t region, uint64_t offset, std::span<const uint8_t> data) {
  std::lock_guard lock(mutex_);
  TRY(Injected(VfioCall::kWrite, "write a region"));
  const uint64_t size = info_.regions[region].size;
  if (offset > size || data.size() > size - offset) return ErrnoStatus("write a region", EINVAL);
  if (region == VFIO_PCI_CONFIG_REGION_INDEX) {
    for (size_t i = 0; i < data.size(); ++i) writes_[static_cast<uint32_t>(offset + i)] = data[i];
    // Only the command register and the cache line size can be written.
    for (size_t i = 0; i < data.size(); ++i) {
      const uint64_t at = offset + i;
      if (at == 0x04 || at == 0x05 || at == 0x0c) config_[at] = data[i];
    }
    return OkStatus();
  }
  std::memcpy(bars_.at(region) + offset, data.data(), data.size());
  return OkStatus();
}

Result<uint8_t*> FakeVfioDevice::MapRegion(uint32_t region, const VfioArea& area) {
  std::lock_guard lock(mutex_);
  TRY(Injected(VfioCall::kMap, "map a region"));
  const auto& areas = info_.regions[region].mappable;
  const bool inside = std::any_of(areas.begin(), areas.end(), [&](const VfioArea& whole) {
    return area.offset >= whole.offset && area.end() <= whole.end();
  });
  if (!inside || area.offset % kPage != 0 || area.size % kPage != 0)
    return ErrnoStatus("map a region", EINVAL);
  return bars_.at(region) + area.offset;
}

Status FakeVfioDevice::SetTriggers(uint32_t irq_index, uint32_t start, std::span<const int> event_fds) {
  std::lock_guard lock(mutex_);
  TRY(Injected(VfioCall::kSetTriggers, "VFIO_DEVICE_SET_IRQS"));
  const VfioIrqs& irqs = info_.irqs[irq_index];
  const uint64_t end = uint64_t{start} + event_fds.size();
  if (event_fds.empty() || end > irqs.count) return ErrnoStatus("VFIO_DEVICE_SET_IRQS", EINVAL);
  for (const auto& [other, fds] : triggers_) {
    if (other != irq_index && Exclusive(other) && Exclusive(irq_index)) {
      return ErrnoStatus("VFIO_DEVICE_SET_IRQS", EINVAL);
    }
  }
  auto known = triggers_.find(irq_index);
  if (known != triggers_.end() && end > known->second.size() && !irqs.resizable) {
    return ErrnoStatus("VFIO_DEVICE_SET_IRQS", EINVAL);
  }
  std::vector<int>& fds = triggers_[irq_index];
  fds.resize(std::max<size_t>(fds.size(), end), -1);
  for (size_t i = 0; i < event_fds.size(); ++i) {
    int& fd = fds[start + i];
    if (fd >= 0) ::close(fd);
    fd = event_fds[i] < 0 ? -1 : ::fcntl(event_fds[i], F_DUPFD_CLOEXEC, 0);
  }
  if (irq_index == VFIO_PCI_INTX_IRQ_INDEX) intx_masked_ = false;
  return OkStatus();
}

Status FakeVfioDevice::DisableIrqs(uint32_t irq_index) {
  std::lock_guard lock(mutex_);
  TRY(Injected(VfioCall::kDisableIrqs, "VFIO_DEVICE_SET_IRQS"));
  auto known = triggers_.find(irq_index);
  if (known == triggers_.end()) return OkStatus();
  for (int fd : known->second) {
    if (fd >= 0) ::close(fd);
  }
  triggers_.erase(known);
  return OkStatus();
}

Status FakeVfioDevice::UnmaskIntx() {
  std::lock_guard lock(mutex_);
  TRY(Injected(VfioCall::kUnmaskIntx, "VFIO_DEVICE_SET_IRQS"));
  if (!triggers_.contains(VFIO_PCI_INTX_IRQ_INDEX)) return ErrnoStatus("VFIO_DEVICE_SET_IRQS", EINVAL);
  intx_masked_ = false;
  return OkStatus();
}

Status FakeVfioDevice::Reset() {
  std::lock_guard lock(mutex_);
  TRY(Injected(VfioCall::kReset, "VFIO_DEVICE_RESET"));
  if (!options_.can_reset) return FailedPrecondition(options_.address + " cannot be reset by itself");
  ++resets_;
  Put16(&config_[0x04], 0);
  for (const auto& [index, memory] : bars_) std::memset(memory, 0, info_.regions[index].size);
  return OkStatus();
}

bool FakeVfioDevice::Fire(uint32_t irq_index, uint32_t vector) {
  std::lock_guard lock(mutex_);
  auto known = triggers_.find(irq_index);
  if (known == triggers_.end() || vector >= known->second.size() || known->second[vector] < 0) return false;
  if (irq_index == VFIO_PCI_INTX_IRQ_INDEX && std::exchange(intx_masked_, true)) return false;
  const uint64_t one = 1;
  return ::write(known->second[vector], &one, sizeof one) == sizeof one;
}

void FakeVfioDevice::FailCall(VfioCall call, int error_number, uint32_t after) {
  std::lock_guard lock(mutex_);
  failures_[call] = {after, error_number};
}

uint16_t FakeVfioDevice::command() {
  std::lock_guard lock(mutex_);
  return static_cast<uint16_t>(config_[4] | config_[5] << 8);
}

uint32_t FakeVfioDevice::resets() {
  std::lock_guard lock(mutex_);
  return resets_;
}

bool FakeVfioDevice::intx_masked() {
  std::lock_guard lock(mutex_);
  return intx_masked_;
}

std::map<uint32_t, size_t> FakeVfioDevice::irqs() {
  std::lock_guard lock(mutex_);
  std::map<uint32_t, size_t> counts;
  for (const auto& [index, fds] : triggers_) counts[index] = fds.size();
  return counts;
}

std::map<uint32_t, uint8_t> FakeVfioDevice::config_writes() {
  std::lock_guard lock(mutex_);
  return writes_;
}

FakeVfioDevice& FakeVfioHost::Add(FakeVfioDevice::Options options) {
  auto device = std::make_shared<FakeVfioDevice>(std::move(options));
  devices_[device->address()] = device;
  return *device;
}

Result<std::shared_ptr<VfioDevice>> FakeVfioHost::Open(const std::string& address) {
  auto known = devices_.find(address);
  if (known == devices_.end()) return NotFound("there is no PCI device " + address);
  if (engine_ == nullptr) engine_ = std::make_unique<DmaEngine>(iommu_.MakeBackend());
  open_.push_back(known->second);
  return std::shared_ptr<VfioDevice>(known->second);
}

void FakeVfioHost::Release(const std::shared_ptr<VfioDevice>& device) {
  std::erase(open_, device);
}

Status FakeVfioHost::ResetDevices() {
  for (const auto& device : open_) TRY(device->Reset());
  return OkStatus();
}

}  // namespace berth::vmm
