#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "common/pci_address.h"
#include "common/status.h"
#include "vmm/config/config_error.h"
#include "vmm/config/vm_config.h"

namespace berth::vmm {

// Limits of this version.
inline constexpr uint32_t kMaxVcpus = 254;      // APIC ids of 8 bits; 255 is the broadcast id
inline constexpr uint32_t kMaxGuestNodes = 64;  // guests of Debian know 1024, a SLIT of 64 is 4 KiB
inline constexpr uint32_t kMaxApertureWeight = 1 << 16;
inline constexpr size_t kMaxCmdline = 65535;  // the area at 0x20000 is 64 KiB
// The zone that --memory alone makes; --numa memory_zones may name it.
inline constexpr char kDefaultZoneId[] = "mem0";

// Every rule that needs no look at the host. An empty list means that the configuration can be carried out as
// far as that. Codes are those of Cloud Hypervisor where it has the rule.
ConfigErrors ValidateConfig(const VmConfig& config);

// The same for a configuration that could not be read without errors: leaves out what only follows from them.
void AppendValidation(const VmConfig& config, ConfigErrors& errors);

// The function that a device's path names.
Result<PciAddress> HostAddress(const DeviceConfig& device);

// vCPUs that the guest could ever have.
uint32_t MaxVcpus(const CpusConfig& cpus);

// The zones that RAM is made of: those given, else the one that --memory describes.
std::vector<MemoryZoneConfig> EffectiveZones(const VmConfig& config);

// Receive and transmit queues of a network device together: as given, or a pair for each descriptor.
uint32_t NetQueues(const NetConfig& net);

// Every name that a device on a PCI bus has: disks, networks and those that exist once ("rng0", ...).
std::vector<std::string> PciDeviceIds(const VmConfig& config);

// Takes a disk, network device, device of the host or vsock device out; a NUMA node that is made of it is no
// device's any more. False when there is none with this id.
bool DropDevice(VmConfig& config, const std::string& id);

// Distance from one node to another: given, else the way back, else 20; 10 to itself.
uint8_t EffectiveDistance(const std::vector<NumaConfig>& nodes, const NumaConfig& from, uint32_t to);

}  // namespace berth::vmm
