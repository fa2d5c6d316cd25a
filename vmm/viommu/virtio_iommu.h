#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <optional>
#include <span>
#include <utility>

#include "common/status.h"
#include "vmm/bus/event_loop.h"
#include "vmm/viommu/domains.h"
#include "vmm/viommu/virtio_endpoint.h"
#include "vmm/virtio/device.h"

namespace berth::vmm {

// Addresses that no mapping may touch: writes there are interrupts.
inline constexpr uint64_t kMsiFirst = 0xfee00000;
inline constexpr uint64_t kMsiLast = 0xfeefffff;

// The paravirtual IOMMU (virtio 1.2, 5.13), served on the event loop. Endpoints bypass it until the driver
// attaches them to a domain, and again after a reset.
class VirtioIommu final : public VirtioDevice {
 public:
  // Addresses above `last_address` cannot be mapped. `on_fault` is told of the first faults after each start
  // of the driver, on the threads of the devices. The references outlive the device.
  VirtioIommu(IommuDomains& domains, uint64_t last_address, EventLoop& loop,
              VirtioEndpoint::FaultHandler on_fault = {})
      : domains_(domains), last_address_(last_address), loop_(loop), on_fault_(std::move(on_fault)) {}
  ~VirtioIommu() override {
    if (active_) Reset();
  }

  uint16_t type() const override { return kVirtioIommu; }
  uint64_t features() const override;
  std::span<const uint16_t> queue_sizes() const override;
  void ReadConfig(uint64_t offset, std::span<uint8_t> data) override;
  void WriteConfig(uint64_t offset, std::span<const uint8_t> data) override;
  Status Activate(VirtioActivation activation) override;
  void Reset() override;
  // The domains are saved by their owner, and loaded before the devices whose rings they lead to.
  Result<VirtioActivation> Suspend() override;
  void Save(StateWriter& out) override;
  void Load(StateReader& in) override;
  CounterList Counters() const override;

  // Tells the driver, once it has a buffer for that; when it has none for many faults, later ones are only
  // counted. From any thread.
  void Report(const IommuFault& fault);

  // One request: what the driver has written, and room for the answer, of which the bytes that were written
  // are returned. Public for tests. kInvalidArgument: there is no room for a status.
  Result<uint32_t> Handle(const ByteList& request, const ByteList& answer);

 private:
  void Unwatch();
  void Fail(const Status& reason);
  void Serve();
  void DeliverFaults();
  uint8_t Dispatch(uint8_t type, const ByteList& request);
  uint8_t Map(const ByteList& request);
  Result<uint32_t> Probe(const ByteList& request, const ByteList& answer);

  IommuDomains& domains_;
  const uint64_t last_address_;
  EventLoop& loop_;
  const VirtioEndpoint::FaultHandler on_fault_;
  std::optional<VirtioActivation> active_;
  DescriptorChain chain_;
  DescriptorChain event_chain_;
  std::atomic<uint64_t> requests_ = 0;

  mutable std::mutex fault_mutex_;  // guards what follows
  std::deque<IommuFault> faults_;   // that wait for a buffer
  int fault_kick_ = -1;             // the event queue's, while the driver uses it
  bool loaded_ = false;             // its driver uses it, and it is to be activated
  uint32_t told_ = 0;
  uint64_t fault_count_ = 0;
  uint64_t dropped_ = 0;
};

}  // namespace berth::vmm
