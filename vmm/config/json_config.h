#pragma once

#include <string>
#include <string_view>

#include "vmm/config/config_error.h"
#include "vmm/config/option_values.h"
#include "vmm/config/vm_config.h"

// VmConfig as JSON, in the layout of Cloud Hypervisor's vm.create as far as this version goes:
//   {"payload": {kernel, initramfs, cmdline}, "cpus": {boot_vcpus, max_vcpus, affinity: [{vcpu, host_cpus}]},
//    "memory": {size, ..., zones: [...]}, "numa": [{guest_numa_id, cpus, distances: [{destination,
//    distance}], memory_zones}], "disks": [...], "net": [...], "rng": {src} or null for none, "serial":
//    {mode: Off|Null|Tty|File|Socket, file, socket}, "console": {mode: Off}}
// Sizes are bytes; keys are those of the option table.
namespace berth::vmm {

// The largest text that is read, and the deepest nesting.
inline constexpr size_t kMaxJsonConfig = 1 << 20;
inline constexpr int kMaxJsonDepth = 16;

std::string ConfigToJson(const VmConfig& config);

// Reads and validates. Keys that are unknown or stand twice, values of the wrong type or out of range and the
// errors of ValidateConfig are reported together; a null is "not given".
ConfigResult<VmConfig> ConfigFromJson(std::string_view text);
// The same of a snapshot's configuration: its network devices may have descriptors, whose numbers mean
// nothing any more, but for how many there are.
ConfigResult<VmConfig> ConfigFromSnapshot(std::string_view text);

// The configuration with one device more: `option` is "disk", "net", "device" or "vsock", `text` the device
// as an object of vm.create. The whole is validated; the device is the last of its list, with an id.
ConfigResult<VmConfig> ConfigWithDevice(const VmConfig& config, std::string_view option,
                                        std::string_view text, const std::vector<int>& fds = {});
// The id of the device that ConfigWithDevice has added.
const std::string& LastDeviceId(const VmConfig& with, std::string_view option);

// One occurrence of an option as the object of vm.create that means the same.
std::string OptionToJson(const OptionValues& values);

}  // namespace berth::vmm
