#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>

#include "common/status.h"
#include "vmm/bus/event_loop.h"
#include "vmm/viommu/domains.h"
#include "vmm/virtio/device.h"

namespace berth::vmm {

inline constexpr uint16_t kVirtioIommu = 23;

// Addresses that no mapping may touch: writes there are interrupts.
inline constexpr uint64_t kMsiFirst = 0xfee00000;
inline constexpr uint64_t kMsiLast = 0xfeefffff;

// The paravirtual IOMMU (virtio 1.2, 5.13), served on the event loop. Endpoints bypass it until the driver
// attaches them to a domain, and again after a reset.
class VirtioIommu final : public VirtioDevice {
 public:
  // Addresses above `last_address` cannot be mapped. The references outlive the device.
  VirtioIommu(IommuDomains& domains, uint64_t last_address, EventLoop& loop)
      : domains_(domains), last_address_(last_address), loop_(loop) {}
  ~VirtioIommu() override { Reset(); }

  uint16_t type() const override { return kVirtioIommu; }
  uint64_t features() const override;
  std::span<const uint16_t> queue_sizes() const override;
  void ReadConfig(uint64_t offset, std::span<uint8_t> data) override;
  void WriteConfig(uint64_t offset, std::span<const uint8_t> data) override;
  Status Activate(VirtioActivation activation) override;
  void Reset() override;

  // One request: what the driver has written, and room for the answer, of which the bytes that were written
  // are returned. Public for tests. kInvalidArgument: there is no room for a status.
  Result<uint32_t> Handle(const ByteList& request, const ByteList& answer);

 private:
  void Serve();
  uint8_t Dispatch(uint8_t type, const ByteList& request);
  uint8_t Map(const ByteList& request);
  Result<uint32_t> Probe(const ByteList& request, const ByteList& answer);

  IommuDomains& domains_;
  const uint64_t last_address_;
  EventLoop& loop_;
  std::optional<VirtioActivation> active_;
  DescriptorChain chain_;
};

}  // namespace berth::vmm
