#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>

#include "common/status.h"
#include "vmm/bus/event_loop.h"
#include "vmm/memory/memory_plugger.h"
#include "vmm/virtio/device.h"

namespace berth::vmm {

// Memory device (virtio 1.2, 5.15): the guest plugs and unplugs blocks of one hot-plug area until it has as
// much as is requested. Unplugged memory is inaccessible, which a driver must know. Served on the event loop.
class VirtioMem : public VirtioDevice {
 public:
  // `domain`: proximity domain of the memory. `area`, `plugger` and `loop` outlive the device.
  static std::shared_ptr<VirtioMem> Create(const MemoryRegion& area, std::optional<uint16_t> domain,
                                           MemoryPlugger& plugger, EventLoop& loop);
  ~VirtioMem() override { Reset(); }

  // How much the guest shall have, a multiple of the block size up to the area's. Thread-safe.
  Status Request(uint64_t bytes);
  uint64_t requested() const;
  uint64_t plugged() const { return area_.plug->plugged(); }
  const std::string& zone() const { return area_.zone; }

  uint16_t type() const override { return kVirtioMemory; }
  uint64_t features() const override;
  std::span<const uint16_t> queue_sizes() const override;
  void ReadConfig(uint64_t offset, std::span<uint8_t> data) override;
  void WriteConfig(uint64_t, std::span<const uint8_t>) override {}
  Status Activate(VirtioActivation activation) override;
  void Reset() override;
  Result<VirtioActivation> Suspend() override;
  // The blocks that are plugged are the area's to keep.
  void Save(StateWriter& out) override;
  void Load(StateReader& in) override;

 private:
  VirtioMem(const MemoryRegion& area, std::optional<uint16_t> domain, MemoryPlugger& plugger,
            EventLoop& loop);
  void Serve();
  Result<uint32_t> Handle(const DescriptorChain& chain);
  struct Answer {
    uint16_t type = 0;
    uint16_t state = 0;
  };
  Answer Execute(uint16_t type, uint64_t address, uint16_t blocks);
  Answer PlugOrUnplug(bool plug, uint64_t offset, uint64_t length);
  Answer UnplugAll();

  const MemoryRegion area_;
  const std::optional<uint16_t> domain_;
  MemoryPlugger& plugger_;
  EventLoop& loop_;
  mutable std::mutex mutex_;  // guards what follows
  uint64_t requested_ = 0;
  VirtioInterrupt* interrupt_ = nullptr;  // while active
  // What follows belongs to the transport's lock and the loop's thread.
  std::optional<VirtioActivation> active_;
  DescriptorChain chain_;
};

}  // namespace berth::vmm
