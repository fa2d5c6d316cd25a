#pragma once

#include <array>
#include <bitset>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "common/status.h"
#include "vmm/bus/pci_config.h"
#include "vmm/vfio/vfio_device.h"

namespace berth::vmm {

// Where an assigned device has its message-signalled interrupts.
struct MsiLayout {
  uint8_t capability = 0;  // offset
  bool wide = false;       // 64-bit address
  bool maskable = false;   // a mask bit for each vector
  uint16_t vectors = 1;    // a power of two, at most 32

  uint32_t data_offset() const { return capability + (wide ? 12u : 8u); }
  uint32_t mask_offset() const { return capability + (wide ? 16u : 12u); }
  uint32_t size() const { return (wide ? 14u : 10u) + (maskable ? 10u : 0u); }
};

struct MsixLayout {
  uint8_t capability = 0;
  uint16_t vectors = 0;
  uint8_t table_bar = 0;
  uint32_t table_offset = 0;
  uint8_t pba_bar = 0;
  uint32_t pba_offset = 0;
};

// The configuration space that the guest sees of an assigned device: the device's own registers at their own
// places, except for what would undo the assignment. BARs, decoding, interrupt line, power state and the MSI
// and MSI-X registers are ours; capabilities that reach beyond the guest (SR-IOV, ATS, resizable BARs, ...)
// are taken out of the lists; everything else is read from and written to the device, where the kernel
// watches over it. Thread-compatible: the segment's lock is held.
class AssignedConfig {
 public:
  static constexpr uint32_t kSize = 4096;

  // `device` must outlive it. `lines`: the machine can tell when the guest has served an interrupt line; else
  // the device shows none. kFailedPrecondition: not an ordinary function, nonsense in its registers, or no
  // other interrupts than the line that cannot be had.
  static Result<std::unique_ptr<AssignedConfig>> Create(VfioDevice& device, bool lines = true);

  // BARs and command register.
  PciConfigSpace& header() { return header_; }
  const PciConfigSpace& header() const { return header_; }
  const std::optional<MsiLayout>& msi() const { return msi_; }
  const std::optional<MsixLayout>& msix() const { return msix_; }
  bool has_intx() const { return shadow_[kInterruptPin] != 0; }

  void Read(uint32_t offset, std::span<uint8_t> data) const;
  void Write(uint32_t offset, std::span<const uint8_t> data);

  // Registers that are ours, as the guest has written them.
  uint16_t Own16(uint32_t offset) const;
  uint32_t Own32(uint32_t offset) const;

  // After a reset: registers as at power-on, decoding on in the device, where the guest's view of it stays
  // off.
  Status Restart();

 private:
  static constexpr uint32_t kInterruptPin = 0x3d;

  explicit AssignedConfig(VfioDevice& device);
  Status AddBars();
  Status AddCapabilities();
  bool Usable(uint8_t id) const;
  void AddCapability(uint8_t id, uint32_t offset);
  void AddExtendedCapabilities();
  void FixExpressCapability(uint32_t offset);
  // These bytes are ours from now on; the guest may write the bits of `mask`.
  void Own(uint32_t offset, std::span<const uint8_t> value, std::span<const uint8_t> mask = {});
  void Own16(uint32_t offset, uint16_t value, uint16_t mask = 0);
  void Own32(uint32_t offset, uint32_t value, uint32_t mask = 0);
  uint16_t Device16(uint32_t offset) const;
  uint32_t Device32(uint32_t offset) const;
  void WriteCommand();
  static bool InHeader(uint32_t offset);

  VfioDevice& device_;
  PciConfigSpace header_;
  uint16_t decoding_ = 0;  // I/O and memory bits of the command register that the device has BARs for
  std::array<uint8_t, kSize> initial_{};  // the device's registers when it was opened
  std::array<uint8_t, kSize> shadow_{};
  std::array<uint8_t, kSize> writable_{};
  std::array<uint8_t, kSize> power_on_{};  // shadow_ as it was made
  std::bitset<kSize> own_;
  uint32_t size_ = 256;
  std::optional<MsiLayout> msi_;
  std::optional<MsixLayout> msix_;
};

}  // namespace berth::vmm
