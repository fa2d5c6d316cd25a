#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "common/status.h"
#include "vmm/bus/bar_allocator.h"
#include "vmm/bus/bus.h"
#include "vmm/bus/device.h"
#include "vmm/bus/layout.h"
#include "vmm/bus/pci_function.h"

namespace berth::vmm {

// A PCI segment with one bus of 32 single-function slots. As a BusDevice it is the segment's ECAM window
// (1 MiB; insert at kPciConfigBase + number * kPciConfigSegmentSize). It keeps the MMIO bus in step with the
// BARs: a BAR is decoded while memory decoding is on and its address lies in one of the windows and collides
// with nothing; one that collides is decoded as soon as the other has left. Thread-safe.
class PciSegment : public BusDevice {
 public:
  // Ports that the segment decodes for I/O BARs.
  struct IoSpace {
    Bus* ports = nullptr;
    PciWindow window;
  };

  // The buses must outlive the segment. Without ports, I/O BARs are never decoded.
  PciSegment(uint16_t number, Bus& mmio, std::vector<PciWindow> windows, IoSpace io);
  PciSegment(uint16_t number, Bus& mmio, std::vector<PciWindow> windows)
      : PciSegment(number, mmio, std::move(windows), IoSpace()) {}

  uint16_t number() const { return number_; }

  // Puts a function, its BARs placed already, into `slot`, or into the first free one. Slot 0 of segment 0
  // is the host bridge's. Returns the slot. kAlreadyExists, kOutOfRange, kResourceExhausted.
  Result<uint32_t> Add(std::shared_ptr<PciFunction> function, std::string name,
                       std::optional<uint32_t> slot = std::nullopt);

  // Takes the function of a slot off the bus: its BARs are decoded no longer, its registers read as ones.
  // kNotFound for an empty slot.
  Result<std::shared_ptr<PciFunction>> Remove(uint32_t slot);

  // The function of a slot, or null.
  std::shared_ptr<PciFunction> function(uint32_t slot);
  // Writes the state of a slot's function down; loads it, and maps its BARs as it says. The function has one.
  void Save(uint32_t slot, StateWriter& out);
  void Load(uint32_t slot, StateReader& in);

  // ECAM: bits 20 and up bus (always 0 here), 15 to 19 slot, 12 to 14 function, 0 to 11 register.
  void Read(uint64_t offset, std::span<uint8_t> data) override;
  void Write(uint64_t offset, std::span<const uint8_t> data) override;

 private:
  struct Slot {
    std::shared_ptr<PciFunction> function;
    std::string name;
    std::array<std::optional<uint64_t>, PciConfigSpace::kBars> mapped;
  };

  PciFunction* FindFunction(uint64_t offset, size_t size);
  // Decoding of the BAR's kind is on, and its address is in a window.
  bool Decodable(const PciConfigSpace& config, const PciBar& bar) const;
  // Brings the mappings of one slot up to its registers. True when a place on the bus became free.
  bool SyncSlot(Slot& slot);
  bool SyncBar(Slot& slot, uint32_t index);
  Bus& BusOf(const PciBar& bar) const { return bar.kind == BarKind::kIo ? *io_.ports : mmio_; }
  void SyncAfterWrite(Slot& slot);

  const uint16_t number_;
  Bus& mmio_;
  const std::vector<PciWindow> windows_;
  const IoSpace io_;
  std::mutex mutex_;  // guards slots_ and what is in them
  std::array<Slot, layout::kPciSlotsPerSegment> slots_;
};

// Configuration mechanism #1 (ports 0xcf8 to 0xcff) of segment 0. Insert at kPciConfigAddressPort.
// Thread-safe.
class PciConfigPorts : public BusDevice {
 public:
  explicit PciConfigPorts(std::shared_ptr<PciSegment> segment) : segment_(std::move(segment)) {}
  void Read(uint64_t offset, std::span<uint8_t> data) override;
  void Write(uint64_t offset, std::span<const uint8_t> data) override;
  void Save(StateWriter& out);
  void Load(StateReader& in);

 private:
  // The ECAM offset that an access of the data port means; nullopt while the address is disabled.
  std::optional<uint64_t> Target(uint64_t offset, size_t size);

  std::shared_ptr<PciSegment> segment_;
  std::mutex mutex_;  // guards address_
  uint32_t address_ = 0;
};

// The function at 00:00.0 of segment 0: nothing but an identity.
std::shared_ptr<PciFunction> MakeHostBridge();

}  // namespace berth::vmm
