#include "vmm/bus/pci_root.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace berth::vmm {
namespace {

constexpr uint32_t kRegisters = 4096;
constexpr uint32_t kFunctionsPerSlot = 8;

class HostBridge : public PciFunction, private Stateful {
 public:
  PciConfigSpace& config() override { return config_; }
  void ReadConfig(uint32_t offset, std::span<uint8_t> data) override { config_.Read(offset, data); }
  void WriteConfig(uint32_t offset, std::span<const uint8_t> data) override { config_.Write(offset, data); }
  std::shared_ptr<BusDevice> BarDevice(uint32_t) override { return nullptr; }
  void BarMoved(uint32_t, std::optional<uint64_t>) override {}
  Stateful* stateful() override { return this; }

  Status Suspend() override { return OkStatus(); }
  void Resume() override {}
  void Save(StateWriter& out) override { config_.Save(out); }
  void Load(StateReader& in) override { config_.Load(in); }

 private:
  PciConfigSpace config_{PciIdentity{.vendor = 0x1b36,  // the generic PCI Express host bridge
                                     .device = 0x0008,
                                     .subsystem_vendor = 0x1af4,
                                     .subsystem = 0x1100,
                                     .class_code = 0x060000,
                                     .revision = 0}};
};

}  // namespace

std::shared_ptr<PciFunction> MakeHostBridge() {
  return std::make_shared<HostBridge>();
}

PciSegment::PciSegment(uint16_t number, Bus& mmio, std::vector<PciWindow> windows, IoSpace io)
    : number_(number), mmio_(mmio), windows_(std::move(windows)), io_(io) {}

Result<uint32_t> PciSegment::Add(std::shared_ptr<PciFunction> function, std::string name,
                                 std::optional<uint32_t> slot) {
  std::lock_guard lock(mutex_);
  if (slot && *slot >= slots_.size()) {
    return OutOfRange("PCI slot " + std::to_string(*slot) + " of " + name + " must be in [0, 31]");
  }
  if (slot && slots_[*slot].function) {
    return AlreadyExists("PCI slot " + std::to_string(*slot) + " for " + name + " is taken by " +
                         slots_[*slot].name);
  }
  if (!slot) {
    auto free = std::find_if(slots_.begin() + (number_ == 0 ? 1 : 0), slots_.end(),
                             [](const Slot& s) { return s.function == nullptr; });
    if (free == slots_.end()) {
      return ResourceExhausted("no free PCI slot in segment " + std::to_string(number_) + " for " + name);
    }
    slot = static_cast<uint32_t>(free - slots_.begin());
  }
  slots_[*slot] = Slot{std::move(function), std::move(name), {}};
  SyncAfterWrite(slots_[*slot]);
  return *slot;
}

Result<std::shared_ptr<PciFunction>> PciSegment::Remove(uint32_t number) {
  std::lock_guard lock(mutex_);
  if (number >= slots_.size() || !slots_[number].function) {
    return NotFound("PCI slot " + std::to_string(number) + " of segment " + std::to_string(number_) +
                    " is empty");
  }
  Slot gone = std::move(slots_[number]);
  slots_[number] = {};
  for (uint32_t index = 0; index < gone.mapped.size(); ++index) {
    if (!gone.mapped[index]) continue;
    CHECK(BusOf(*gone.function->config().bar(index)).Remove(*gone.mapped[index]).ok());
    gone.function->BarMoved(index, std::nullopt);
  }
  for (Slot& other : slots_) {
    if (other.function) SyncSlot(other);  // may have waited for the place
  }
  return std::move(gone.function);
}

std::shared_ptr<PciFunction> PciSegment::function(uint32_t slot) {
  std::lock_guard lock(mutex_);
  return slot < slots_.size() ? slots_[slot].function : nullptr;
}

void PciSegment::Save(uint32_t slot, StateWriter& out) {
  std::lock_guard lock(mutex_);
  slots_.at(slot).function->stateful()->Save(out);
}

void PciSegment::Load(uint32_t slot, StateReader& in) {
  std::lock_guard lock(mutex_);
  slots_.at(slot).function->stateful()->Load(in);
  if (in.ok()) SyncAfterWrite(slots_[slot]);
}

PciFunction* PciSegment::FindFunction(uint64_t offset, size_t size) {
  const uint64_t index = offset / kRegisters;
  if (index % kFunctionsPerSlot != 0 || index / kFunctionsPerSlot >= slots_.size()) return nullptr;
  if (offset % kRegisters + size > kRegisters) return nullptr;
  return slots_[index / kFunctionsPerSlot].function.get();
}

void PciSegment::Read(uint64_t offset, std::span<uint8_t> data) {
  std::lock_guard lock(mutex_);
  if (PciFunction* function = FindFunction(offset, data.size())) {
    return function->ReadConfig(static_cast<uint32_t>(offset % kRegisters), data);
  }
  std::fill(data.begin(), data.end(), uint8_t{0xff});
}

void PciSegment::Write(uint64_t offset, std::span<const uint8_t> data) {
  std::lock_guard lock(mutex_);
  PciFunction* function = FindFunction(offset, data.size());
  if (!function) return;
  function->WriteConfig(static_cast<uint32_t>(offset % kRegisters), data);
  SyncAfterWrite(slots_[offset / kRegisters / kFunctionsPerSlot]);
}

void PciSegment::SyncAfterWrite(Slot& slot) {
  if (!SyncSlot(slot)) return;
  // What became free may be what a colliding BAR waits for. Taking it frees nothing, so one pass is enough.
  for (Slot& other : slots_) {
    if (other.function && &other != &slot) SyncSlot(other);
  }
}

bool PciSegment::SyncSlot(Slot& slot) {
  bool freed = false;
  for (uint32_t index = 0; index < PciConfigSpace::kBars; ++index) {
    if (SyncBar(slot, index)) freed = true;
  }
  return freed;
}

bool PciSegment::Decodable(const PciConfigSpace& config, const PciBar& bar) const {
  if (bar.kind == BarKind::kIo) {
    return io_.ports != nullptr && config.io_enabled() && io_.window.Contains(bar.address, bar.size);
  }
  if (!config.memory_enabled()) return false;
  return std::any_of(windows_.begin(), windows_.end(),
                     [&bar](const PciWindow& window) { return window.Contains(bar.address, bar.size); });
}

bool PciSegment::SyncBar(Slot& slot, uint32_t index) {
  const PciConfigSpace& config = slot.function->config();
  const auto bar = config.bar(index);
  if (!bar) return false;
  std::optional<uint64_t>& mapped = slot.mapped[index];
  std::optional<uint64_t> wanted;
  if (Decodable(config, *bar)) wanted = bar->address;
  if (mapped == wanted) return false;

  Bus& bus = BusOf(*bar);
  const bool freed = mapped.has_value();
  const std::optional<uint64_t> before = mapped;
  if (mapped && wanted && bus.Move(*mapped, *wanted).ok()) {
    mapped = wanted;
  } else {
    if (mapped) CHECK(bus.Remove(*mapped).ok());
    mapped.reset();
    if (wanted && bus.Insert(*wanted, bar->size, slot.function->BarDevice(index), slot.name).ok()) {
      mapped = wanted;
    }
  }
  if (mapped != before) slot.function->BarMoved(index, mapped);
  return freed;
}

std::optional<uint64_t> PciConfigPorts::Target(uint64_t offset, size_t size) {
  std::lock_guard lock(mutex_);
  constexpr uint32_t kEnable = 1u << 31;
  if (!(address_ & kEnable) || offset < 4 || size > 4) return std::nullopt;
  const uint64_t bus = address_ >> 16 & 0xff;
  const uint64_t slot_and_function = address_ >> 8 & 0xff;
  return bus << 20 | slot_and_function << 12 | ((address_ & 0xfc) + (offset - 4));
}

void PciConfigPorts::Save(StateWriter& out) {
  std::lock_guard lock(mutex_);
  out.Put(address_);
}

void PciConfigPorts::Load(StateReader& in) {
  std::lock_guard lock(mutex_);
  in.Get(address_);
}

void PciConfigPorts::Read(uint64_t offset, std::span<uint8_t> data) {
  std::fill(data.begin(), data.end(), uint8_t{0xff});
  if (offset == 0 && data.size() == 4) {
    std::lock_guard lock(mutex_);
    std::memcpy(data.data(), &address_, 4);
  } else if (auto target = Target(offset, data.size())) {
    segment_->Read(*target, data);
  }
}

void PciConfigPorts::Write(uint64_t offset, std::span<const uint8_t> data) {
  if (offset == 0 && data.size() == 4) {
    std::lock_guard lock(mutex_);
    std::memcpy(&address_, data.data(), 4);
  } else if (auto target = Target(offset, data.size())) {
    segment_->Write(*target, data);
  }
}

}  // namespace berth::vmm
