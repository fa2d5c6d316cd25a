#pragma once

#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "common/status.h"
#include "vmm/api/vm_control.h"
#include "vmm/config/vm_config.h"
#include "vmm/convert/converter.h"
#include "vmm/convert/dma_listener.h"
#include "vmm/convert/guest_requests.h"
#include "vmm/cvm/launch.h"
#include "vmm/cvm/td_calls.h"
#include "vmm/kvm/kvm.h"
#include "vmm/kvm/memory_slots.h"
#include "vmm/machine/ram_map.h"
#include "vmm/memory/guest_memory.h"
#include "vmm/memory/private_memory.h"
#include "vmm/vcpu/exit_dispatch.h"

namespace berth::vmm {

// How the next board of a confidential VM comes up: its launch, and the images that the launch reads.
struct ConfidentialBoot {
  ConfidentialKind kind = ConfidentialKind::kNone;
  std::string image;   // firmware or IGVM file
  std::string kernel;  // for the firmware
  std::unique_ptr<Launch> launch;

  // Reads what the configuration names. nullptr for an ordinary guest. Errors name the option.
  static Result<std::unique_ptr<ConfidentialBoot>> Read(const VmConfig& config);
};

// A confidential guest on a board: both sides of its memory, and what it asks of them. `vm`, `memory` and
// `boot` outlive it. Requests come from vCPUs' threads.
class ConfidentialGuest final : public ConfidentialRequests, public RamMap::Sides {
 public:
  // `apic_ids`: of all vCPUs that there may be, by their numbers.
  static Result<std::unique_ptr<ConfidentialGuest>> Create(KvmVm& vm, const GuestMemory& memory,
                                                           ConfidentialBoot& boot, const VmConfig& config,
                                                           std::vector<uint32_t> apic_ids);
  ~ConfidentialGuest() override;
  ConfidentialGuest(const ConfidentialGuest&) = delete;
  ConfidentialGuest& operator=(const ConfidentialGuest&) = delete;

  const PrivateMemory& files() const { return *files_; }
  PrivateMemory::Place Find(Gpa gpa) const override { return files_->Find(gpa); }
  // Memory of a hot-plug area comes on the side on which the launch's memory is, and goes from either.
  Status Plug(Gpa base, uint64_t size) override;
  Status Unplug(Gpa base, uint64_t size) override { return converter_->Unplug(Raw(base), size); }
  // Gives the guest the memory that the launch wants beside RAM, and tells the kernel on which side all pages
  // are. When RAM has its slots, before any vCPU.
  Status Start(MemorySlots& slots);

  // See Converter. After Start, on any thread but a vCPU's.
  Status AddListener(SharedMemoryListener& listener) { return converter_->AddListener(listener); }
  void RemoveListener(SharedMemoryListener& listener) { converter_->RemoveListener(listener); }
  // All memory that can be shared, where its shared side is mapped here.
  std::vector<HostRange> SharedSide() const;
  // How large the guest's kernel makes the buffer through which it reaches its devices.
  uint64_t bounce_bytes() const { return bounce_bytes_; }

  Result<uint64_t> MapGpaRange(uint32_t vcpu, uint64_t gpa, uint64_t pages, uint64_t attributes,
                               const VcpuRest& rest) override;
  Status MemoryFault(uint32_t vcpu, const MemoryFaultExit& fault) override;
  void TdVmCall(uint32_t vcpu, const TdxExit& call) override;

  Launch& launch() { return *boot_.launch; }
  const ConfidentialBoot& boot() const { return boot_; }
  ConfidentialFacts Facts() const;
  const Converter& converter() const { return *converter_; }
  Converter& converter() { return *converter_; }

 private:
  class Planes;
  class Attributes;

  ConfidentialGuest(const GuestMemory& memory, ConfidentialBoot& boot);
  Status MapExtra();

  const GuestMemory& memory_;
  ConfidentialBoot& boot_;
  std::vector<uint32_t> apic_ids_;
  uint64_t bounce_bytes_ = 0;
  std::set<std::string> prefault_;   // zones whose private side gets its pages before the guest starts
  std::vector<MemoryRegion> extra_;  // mapped here
  std::unique_ptr<PrivateMemory> files_;
  std::unique_ptr<GuestPages> pages_;
  std::unique_ptr<Planes> planes_;
  std::unique_ptr<Attributes> attributes_;
  std::unique_ptr<Converter> converter_;
  std::unique_ptr<GuestRequests> requests_;
  std::unique_ptr<TdCalls> td_calls_;
};

}  // namespace berth::vmm
