#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "common/status.h"
#include "vmm/kvm/kvm.h"

namespace berth::vmm {

struct LaunchRange {
  uint64_t base = 0;  // guest-physical, whole pages
  uint64_t size = 0;

  friend bool operator==(const LaunchRange&, const LaunchRange&) = default;
};

// What the guest finds when it starts, beside the firmware.
struct LaunchContent {
  std::vector<LaunchRange> ram;
  std::span<const uint8_t> kernel;  // none: the firmware finds an operating system itself
  std::string cmdline;
  std::vector<std::vector<uint8_t>> acpi_tables;
};

// What a guest's owner compares with the attestation report: computed here from what was launched, to be
// compared with what the hardware reports. It proves nothing by itself.
struct LaunchMeasurement {
  std::string name;             // "mrtd", "launch_digest"
  std::vector<uint8_t> digest;  // SHA-384

  friend bool operator==(const LaunchMeasurement&, const LaunchMeasurement&) = default;
};

// How a confidential VM comes up on one platform: the commands between KVM_CREATE_VM and the first KVM_RUN.
// The calls come in the order in which they are declared, each once (InitVcpu once for each vCPU), from one
// thread; after an error the VM is thrown away. Errors name the command, what the kernel or the firmware
// answered, and what that means.
class Launch {
 public:
  virtual ~Launch() = default;
  virtual VmType vm_type() const = 0;
  // Whether all of the guest's memory is private when it starts. Otherwise it is shared, and the guest
  // converts what it wants to keep to itself.
  virtual bool starts_private() const = 0;
  // Whether processor or firmware decide with which registers a vCPU starts: then the VMM sets none.
  virtual bool owns_registers() const = 0;
  // Memory that the guest has beside its RAM, private: the firmware's.
  virtual std::vector<LaunchRange> extra_memory() const { return {}; }

  // Before the first vCPU. `cpuid`: of the boot processor.
  virtual Status InitVm(KvmVm& vm, std::span<const kvm_cpuid_entry2> cpuid) = 0;
  // When its CPUID is set.
  virtual Status InitVcpu(KvmVcpu& vcpu, uint32_t id) = 0;
  // When all memory is there, with its attributes. `boot`: vCPU 0.
  virtual Status Load(KvmVm& vm, KvmVcpu& boot, const LaunchContent& content) = 0;
  virtual Status Finish(KvmVm& vm) = 0;
  // Known when it is finished, on platforms that measure.
  virtual std::optional<LaunchMeasurement> measurement() const { return std::nullopt; }
};

}  // namespace berth::vmm
