#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "common/status.h"
#include "vmm/memory/guest_memory.h"
#include "vmm/viommu/domains.h"
#include "vmm/virtio/address_translator.h"

namespace berth::vmm {

// An access that the virtual IOMMU did not let through.
struct IommuFault {
  enum class Reason {
    kDomain,
    kMapping
  };  // the endpoint has none and may not bypass; not mapped, or not for this
  uint32_t endpoint = 0;
  uint64_t address = 0;
  bool write = false;
  Reason reason = Reason::kMapping;

  friend bool operator==(const IommuFault&, const IommuFault&) = default;
};

// An emulated virtio device behind the virtual IOMMU: asks the domains for each address that its driver gives
// it. What the guest unmaps is not translated any more; an access that is under way then still ends in memory
// of this guest. Thread-safe. The references outlive it.
class VirtioEndpoint final : public IommuEndpoint, public AddressTranslator {
 public:
  using FaultHandler = std::function<void(const IommuFault&)>;  // called on the device's threads
  VirtioEndpoint(const IommuDomains& domains, const GuestMemory& memory, FaultHandler on_fault)
      : domains_(domains), memory_(memory), on_fault_(std::move(on_fault)) {}

  // Which endpoint it is, once the device has its slot. Before that nothing is translated.
  void SetId(uint32_t id) { id_ = id; }

  // IommuEndpoint
  Status Enter(const IommuMappings&) override { return Changed(); }
  Status Bypass() override { return Changed(); }
  void Block() override { static_cast<void>(Changed()); }
  Status Map(const IommuMapping&) override { return OkStatus(); }  // takes nothing away
  Status Unmap(const IommuMapping&) override { return Changed(); }

  // AddressTranslator
  Status Translate(uint64_t address, uint64_t size, bool write,
                   std::vector<std::span<uint8_t>>& pieces) override;
  uint64_t generation() const override { return generation_.load(); }

 private:
  static constexpr uint64_t kNoId = UINT64_MAX;
  Status Changed() {
    generation_.fetch_add(1);
    return OkStatus();
  }

  const IommuDomains& domains_;
  const GuestMemory& memory_;
  const FaultHandler on_fault_;
  std::atomic<uint64_t> id_ = kNoId;
  std::atomic<uint64_t> generation_ = 0;
};

}  // namespace berth::vmm
