#include "vmm/vfio/config_space.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <string>
#include <vector>

#include "common/log.h"

namespace berth::vmm {
namespace {

constexpr uint32_t kConfig = VFIO_PCI_CONFIG_REGION_INDEX;
constexpr uint32_t kRom = 0x30;
constexpr uint32_t kCapabilityPointer = 0x34;
constexpr uint32_t kInterruptLine = 0x3c;
constexpr uint32_t kHeaderType = 0x0e;
constexpr uint32_t kFirstCapability = 0x40;
constexpr uint32_t kConventional = 256;

constexpr uint16_t kCommandIo = 1 << 0;
constexpr uint16_t kCommandMemory = 1 << 1;
constexpr uint16_t kCommandPassed = 0x0544;  // bus mastering, parity, system errors, INTx disable

constexpr uint8_t kPowerManagement = 0x01;
constexpr uint8_t kMsi = 0x05;
constexpr uint8_t kExpress = 0x10;
constexpr uint8_t kMsix = 0x11;

// Capabilities that a guest may see. What is not here could change something outside of the function (bus
// numbers, hot-plug slots, HyperTransport) or has no use for it.
constexpr uint8_t kKeptCapabilities[] = {kPowerManagement,
                                         0x03 /* vital product data */,
                                         kMsi,
                                         0x07 /* PCI-X */,
                                         0x09 /* vendor */,
                                         0x0d /* subsystem */,
                                         kExpress,
                                         kMsix,
                                         0x12 /* SATA */,
                                         0x13 /* advanced features */};
// Extended ones: error reporting, virtual channels, serial number, power budget, vendor, latency tolerance,
// designated vendor. Not: SR-IOV, ARI, ATS, PRI, PASID, ACS, multicast, resizable BARs, DPC and so on.
constexpr uint16_t kKeptExtended[] = {0x0001, 0x0002, 0x0003, 0x0004, 0x000b, 0x0018, 0x0023};

template <class List, class Id>
bool Contains(const List& list, Id id) {
  return std::find(std::begin(list), std::end(list), id) != std::end(list);
}

PciIdentity IdentityOf(const std::array<uint8_t, AssignedConfig::kSize>& bytes) {
  PciIdentity identity;
  identity.vendor = static_cast<uint16_t>(bytes[0] | bytes[1] << 8);
  identity.device = static_cast<uint16_t>(bytes[2] | bytes[3] << 8);
  identity.revision = bytes[8];
  identity.class_code = bytes[9] | uint32_t{bytes[10]} << 8 | uint32_t{bytes[11]} << 16;
  return identity;
}

}  // namespace

AssignedConfig::AssignedConfig(VfioDevice& device) : device_(device), header_(PciIdentity()) {}

Result<std::unique_ptr<AssignedConfig>> AssignedConfig::Create(VfioDevice& device, bool lines) {
  const uint64_t size = device.info().regions[kConfig].size;
  if (size < kConventional) {
    return FailedPrecondition(device.address() + " has a configuration space of " + std::to_string(size) +
                              " bytes");
  }
  std::unique_ptr<AssignedConfig> config(new AssignedConfig(device));
  config->size_ = static_cast<uint32_t>(std::min<uint64_t>(size, kSize));
  for (uint32_t offset = 0; offset < config->size_; offset += 4) {
    TRY(device.ReadRegion(kConfig, offset, std::span(config->initial_).subspan(offset, 4)));
  }
  if ((config->initial_[kHeaderType] & 0x7f) != 0) {
    return FailedPrecondition(device.address() + " is a bridge (header type " +
                              std::to_string(config->initial_[kHeaderType] & 0x7f) + ")");
  }
  config->header_ = PciConfigSpace(IdentityOf(config->initial_));
  TRY(config->AddBars());
  config->Own(kHeaderType, std::array<uint8_t, 1>{0});  // one function, whatever it has for neighbours
  config->Own32(kRom, 0);
  config->Own(kInterruptLine, std::array<uint8_t, 1>{0}, std::array<uint8_t, 1>{0xff});
  // The one function of a slot has INTA.
  const bool intx = device.info().irqs[VFIO_PCI_INTX_IRQ_INDEX].count > 0 && config->initial_[kInterruptPin];
  config->Own(kInterruptPin, std::array<uint8_t, 1>{static_cast<uint8_t>(intx && lines ? 1 : 0)});
  TRY(config->AddCapabilities());
  if (intx && !lines && !config->msi_ && !config->msix_) {
    return FailedPrecondition(
        device.address() +
        " has neither MSI nor MSI-X, and KVM does not tell when this guest has served an "
        "interrupt line");
  }
  config->AddExtendedCapabilities();
  config->power_on_ = config->shadow_;
  return config;
}

Status AssignedConfig::AddBars() {
  for (uint32_t index = 0; index < PciConfigSpace::kBars; ++index) {
    const uint64_t size = device_.info().regions[index].size;
    if (size == 0) continue;
    const uint32_t low = Device32(PciConfigSpace::kBar0 + 4 * index);
    const bool io = (low & 1) != 0;
    const bool wide = !io && (low & 6) == 4;
    const BarKind kind = io ? BarKind::kIo : wide ? BarKind::kMemory64 : BarKind::kMemory32;
    const uint64_t limit = io ? 256 : wide ? uint64_t{1} << 52 : uint64_t{1} << 31;
    const bool fits = index + (wide ? 1u : 0u) < PciConfigSpace::kBars;
    if (!std::has_single_bit(size) || size < (io ? 4u : 16u) || size > limit || !fits) {
      return FailedPrecondition(device_.address() + " has a BAR " + std::to_string(index) + " of " +
                                std::to_string(size) + " bytes, which cannot be");
    }
    header_.AddBar(index, kind, size, !io && (low & 8) != 0);
    decoding_ |= io ? kCommandIo : kCommandMemory;
    if (wide) ++index;
  }
  return OkStatus();
}

// Interrupts that the host cannot give are not shown.
bool AssignedConfig::Usable(uint8_t id) const {
  if (id == kMsi) return device_.info().irqs[VFIO_PCI_MSI_IRQ_INDEX].count > 0;
  if (id == kMsix) return device_.info().irqs[VFIO_PCI_MSIX_IRQ_INDEX].count > 0;
  return true;
}

Status AssignedConfig::AddCapabilities() {
  uint32_t last = kCapabilityPointer;  // whose next pointer is written last
  Own(kCapabilityPointer, std::array<uint8_t, 1>{0});
  std::bitset<kConventional> seen;
  uint32_t offset = initial_[kCapabilityPointer] & 0xfcu;
  while (offset >= kFirstCapability && !seen[offset]) {
    seen.set(offset);
    const uint8_t id = initial_[offset];
    if (Contains(kKeptCapabilities, id) && Usable(id)) {
      shadow_[last] = static_cast<uint8_t>(offset);
      Own(offset, std::array<uint8_t, 2>{id, 0});
      last = offset + 1;
      AddCapability(id, offset);
    }
    offset = initial_[offset + 1] & 0xfcu;
  }
  return OkStatus();
}

void AssignedConfig::AddCapability(uint8_t id, uint32_t offset) {
  // A capability that does not fit is the device's nonsense; it stays what it is, without use.
  const auto fits = [offset](uint32_t size) { return offset + size <= kConventional; };
  if (id == kPowerManagement && fits(8)) {
    // The power state is the guest's toy: a device in D3 would take its memory away from running vCPUs. It
    // keeps its state (bit 3), and cannot wake the host.
    Own16(offset + 2, Device16(offset + 2) & 0x07ff);
    Own16(offset + 4, 1 << 3, 0x3);
  }
  if (id == kMsi && fits(10)) {
    const uint16_t control = Device16(offset + 2);
    MsiLayout layout;
    layout.capability = static_cast<uint8_t>(offset);
    layout.wide = (control & 1 << 7) != 0;
    layout.maskable = (control & 1 << 8) != 0;
    const uint32_t capable = std::min<uint32_t>(control >> 1 & 7, 5);
    layout.vectors = static_cast<uint16_t>(
        std::min<uint32_t>(1u << capable, std::bit_floor(device_.info().irqs[VFIO_PCI_MSI_IRQ_INDEX].count)));
    if (!fits(layout.size())) return;
    const auto exponent = static_cast<uint16_t>(std::countr_zero(layout.vectors));
    Own16(offset + 2, static_cast<uint16_t>((control & 0x0180) | exponent << 1), 0x0071);
    Own32(offset + 4, 0, 0xfffffffc);
    if (layout.wide) Own32(offset + 8, 0, 0xffffffff);
    Own16(layout.data_offset(), 0, 0xffff);
    if (layout.maskable) {
      Own32(layout.mask_offset(), 0, 0xffffffff >> (32 - layout.vectors));
      Own32(layout.mask_offset() + 4, 0);
    }
    msi_ = layout;
  }
  if (id == kMsix && fits(12)) {
    MsixLayout layout;
    layout.capability = static_cast<uint8_t>(offset);
    layout.vectors = static_cast<uint16_t>((Device16(offset + 2) & 0x7ff) + 1);
    layout.vectors = static_cast<uint16_t>(
        std::min<uint32_t>(layout.vectors, device_.info().irqs[VFIO_PCI_MSIX_IRQ_INDEX].count));
    const uint32_t table = Device32(offset + 4), pba = Device32(offset + 8);
    layout.table_bar = table & 7;
    layout.table_offset = table & ~7u;
    layout.pba_bar = pba & 7;
    layout.pba_offset = pba & ~7u;
    Own16(offset + 2, static_cast<uint16_t>(layout.vectors - 1), 0xc000);
    Own32(offset + 4, table);
    Own32(offset + 8, pba);
    msix_ = layout;
  }
  if (id == kExpress && fits(0x3c)) FixExpressCapability(offset);
}

// There is no link in the guest: the function sits on the root bus. An endpoint becomes a root complex
// integrated one (PCI Express 5.0, 7.5.3.2), which has no link registers.
void AssignedConfig::FixExpressCapability(uint32_t offset) {
  constexpr uint16_t kIntegrated = 9;
  const uint16_t flags = Device16(offset + 2);
  const uint16_t type = flags >> 4 & 0xf;
  if (type != 0 && type != 1) return;
  Own16(offset + 2, static_cast<uint16_t>((flags & 0x000f) | kIntegrated << 4));
  for (uint32_t link : {0x0cu, 0x10u}) Own32(offset + link, 0);
  if ((flags & 0xf) >= 2) {
    for (uint32_t link : {0x2cu, 0x30u}) Own32(offset + link, 0);
  }
}

void AssignedConfig::AddExtendedCapabilities() {
  if (size_ <= kConventional) return;
  // The first one stays in its place: when it is hidden, as one without a number that only points on.
  std::vector<uint32_t> kept = {kConventional};
  std::bitset<kSize> seen;
  for (uint32_t offset = kConventional; offset >= kConventional && offset + 4 <= size_ && !seen[offset];) {
    seen.set(offset);
    const uint32_t header = Device32(offset);
    if (header == 0 || header == 0xffffffff) break;
    if (Contains(kKeptExtended, static_cast<uint16_t>(header & 0xffff)) && offset != kConventional) {
      kept.push_back(offset);
    }
    offset = header >> 20 & 0xffc;
  }
  for (size_t i = 0; i < kept.size(); ++i) {
    const uint32_t header = Device32(kept[i]);
    const bool known =
        header != 0xffffffff && Contains(kKeptExtended, static_cast<uint16_t>(header & 0xffff));
    const uint32_t next = i + 1 < kept.size() ? kept[i + 1] : 0;
    Own32(kept[i], (known ? header & 0x000fffff : 0) | next << 20);
  }
  // What is hidden cannot be reached either: everything outside of a kept capability reads as zero. A
  // capability's length is not known in general, so it reaches to the next one of the device.
  std::bitset<kSize> visible;
  for (uint32_t offset : kept) {
    if ((shadow_[offset] | shadow_[offset + 1]) == 0) continue;
    uint32_t end = size_;
    for (uint32_t other = offset + 4; other < size_; other += 4) {
      if (seen[other]) {
        end = other;
        break;
      }
    }
    for (uint32_t at = offset; at < end; ++at) visible.set(at);
  }
  for (uint32_t at = kConventional + 4; at < size_; ++at) {
    if (!visible[at] && !own_[at]) own_.set(at);
  }
}

void AssignedConfig::Own(uint32_t offset, std::span<const uint8_t> value, std::span<const uint8_t> mask) {
  for (size_t i = 0; i < value.size(); ++i) {
    own_.set(offset + i);
    shadow_[offset + i] = value[i];
    writable_[offset + i] = i < mask.size() ? mask[i] : 0;
  }
}

void AssignedConfig::Own16(uint32_t offset, uint16_t value, uint16_t mask) {
  Own(offset, {reinterpret_cast<const uint8_t*>(&value), 2}, {reinterpret_cast<const uint8_t*>(&mask), 2});
}

void AssignedConfig::Own32(uint32_t offset, uint32_t value, uint32_t mask) {
  Own(offset, {reinterpret_cast<const uint8_t*>(&value), 4}, {reinterpret_cast<const uint8_t*>(&mask), 4});
}

uint16_t AssignedConfig::Device16(uint32_t offset) const {
  return static_cast<uint16_t>(initial_[offset] | initial_[offset + 1] << 8);
}

uint32_t AssignedConfig::Device32(uint32_t offset) const {
  return Device16(offset) | uint32_t{Device16(offset + 2)} << 16;
}

uint16_t AssignedConfig::Own16(uint32_t offset) const {
  return static_cast<uint16_t>(shadow_[offset] | shadow_[offset + 1] << 8);
}

uint32_t AssignedConfig::Own32(uint32_t offset) const {
  return Own16(offset) | uint32_t{Own16(offset + 2)} << 16;
}

// Command register and BARs live in header_.
bool AssignedConfig::InHeader(uint32_t offset) {
  constexpr uint32_t kBarsEnd = PciConfigSpace::kBar0 + 4 * PciConfigSpace::kBars;
  return (offset >= PciConfigSpace::kCommand && offset < PciConfigSpace::kCommand + 2) ||
         (offset >= PciConfigSpace::kBar0 && offset < kBarsEnd);
}

void AssignedConfig::Read(uint32_t offset, std::span<uint8_t> data) const {
  std::fill(data.begin(), data.end(), uint8_t{0});
  if (offset >= size_ || data.size() > size_ - offset) return;
  bool from_device = false;
  for (size_t i = 0; i < data.size(); ++i)
    from_device |= !own_[offset + i] && !InHeader(offset + static_cast<uint32_t>(i));
  if (from_device && !device_.ReadRegion(kConfig, offset, data).ok()) {
    std::fill(data.begin(), data.end(), uint8_t{0xff});  // as a device that is gone reads
  }
  for (size_t i = 0; i < data.size(); ++i) {
    const uint32_t at = offset + static_cast<uint32_t>(i);
    if (InHeader(at)) {
      header_.Read(at, data.subspan(i, 1));
    } else if (own_[at]) {
      data[i] = shadow_[at];
    }
  }
}

void AssignedConfig::Write(uint32_t offset, std::span<const uint8_t> data) {
  if (offset >= size_ || data.size() > size_ - offset) return;
  bool command = false;
  std::vector<std::pair<uint32_t, std::span<const uint8_t>>> passed;  // runs of the device's bytes
  for (size_t i = 0; i < data.size(); ++i) {
    const uint32_t at = offset + static_cast<uint32_t>(i);
    if (InHeader(at)) {
      header_.Write(at, data.subspan(i, 1));
      command |= at < PciConfigSpace::kBar0;
    } else if (own_[at]) {
      shadow_[at] = static_cast<uint8_t>((shadow_[at] & ~writable_[at]) | (data[i] & writable_[at]));
    } else if (!passed.empty() && passed.back().first + passed.back().second.size() == at) {
      passed.back().second = {passed.back().second.data(), passed.back().second.size() + 1};
    } else {
      passed.emplace_back(at, data.subspan(i, 1));
    }
  }
  if (command) WriteCommand();
  for (const auto& [at, bytes] : passed) {
    // What the kernel refuses has no effect, as on a real device that has no such register.
    if (Status status = device_.WriteRegion(kConfig, at, bytes); !status.ok()) {
      LOG(kDebug, "vfio_config_write_failed", {{"device", device_.address()}, {"error", status}});
    }
  }
}

// Decoding stays on in the device whatever the guest does: the kernel would take the memory of a device that
// does not decode away from a vCPU that reaches it at the moment. The guest's own bits decide what is mapped.
void AssignedConfig::WriteCommand() {
  const uint16_t value =
      static_cast<uint16_t>((header_.Read16(PciConfigSpace::kCommand) & kCommandPassed) | decoding_);
  Status status = device_.WriteRegion(kConfig, PciConfigSpace::kCommand,
                                      {reinterpret_cast<const uint8_t*>(&value), sizeof value});
  if (!status.ok()) {
    LOG(kWarning, "vfio_command_write_failed", {{"device", device_.address()}, {"error", status}});
  }
}

Status AssignedConfig::Restart() {
  shadow_ = power_on_;
  header_.Set16(PciConfigSpace::kCommand, 0);
  return device_.WriteRegion(kConfig, PciConfigSpace::kCommand,
                             {reinterpret_cast<const uint8_t*>(&decoding_), sizeof decoding_});
}

}  // namespace berth::vmm
