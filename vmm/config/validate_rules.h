#pragma once

#include "vmm/config/config_error.h"
#include "vmm/config/vm_config.h"

// The groups of rules behind ValidateConfig. Each appends what it finds.
namespace berth::vmm {

void CheckBoot(const VmConfig& config, ConfigErrors& errors);
void CheckCpus(const CpusConfig& cpus, ConfigErrors& errors);
void CheckMemory(const VmConfig& config, ConfigErrors& errors);
void CheckNuma(const VmConfig& config, ConfigErrors& errors);
void CheckPlatform(const VmConfig& config, ConfigErrors& errors);
// One device's segment; `label` is the option that names it.
void CheckPciSegment(const VmConfig& config, uint32_t segment, const std::string& label,
                     ConfigErrors& errors);
void CheckDevices(const VmConfig& config, ConfigErrors& errors);
// What a confidential guest needs, and what it cannot have.
void CheckConfidential(const VmConfig& config, ConfigErrors& errors);
// Zones and devices share one name space.
void CheckIdentifiers(const VmConfig& config, ConfigErrors& errors);
void CheckLandlock(const LandlockConfig& landlock, ConfigErrors& errors);

// "numa[2]"
inline std::string Label(const char* option, size_t index) {
  return std::string(option) + "[" + std::to_string(index) + "]";
}

}  // namespace berth::vmm
