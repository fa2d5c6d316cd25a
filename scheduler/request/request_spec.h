#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/cpu_set.h"

// What one instance asks of a host, as plain values. Rules R1 to R10 of the scheduling semantics
// (docs/scheduling.md) are named beside the fields that carry them.
namespace berth::scheduler {

enum class CpuPolicy { kShared, kDedicated, kMixed };
enum class ThreadPolicy { kAny, kPrefer, kRequire, kIsolate };
// kShare: the emulator floats on the guest's own or the shared CPUs; kIsolate: one more dedicated CPU beside
// guest cell 0.
enum class EmulatorPolicy { kShare, kIsolate };
// Seed 002, "PCI-NUMA affinity policies".
enum class AffinityPolicy { kLegacy, kRequired, kSocket, kPreferred };

const char* CpuPolicyName(CpuPolicy policy);
const char* ThreadPolicyName(ThreadPolicy policy);
const char* AffinityPolicyName(AffinityPolicy policy);
std::optional<AffinityPolicy> ParseAffinityPolicy(std::string_view name);

// Which huge pages the guest asks for (hw:mem_page_size). The size is chosen per host cell (R5).
struct PageRequest {
  enum class Kind { kNotAsked, kSmall, kLarge, kAny, kExact };
  Kind kind = Kind::kNotAsked;
  uint64_t size_bytes = 0;  // of kExact

  friend bool operator==(const PageRequest&, const PageRequest&) = default;
};

// One guest NUMA cell.
struct GuestCell {
  CpuSet vcpus;   // guest CPU numbers
  CpuSet pinned;  // those of them that take a dedicated host CPU each
  uint64_t memory_bytes = 0;

  friend bool operator==(const GuestCell&, const GuestCell&) = default;
};

// Device types that a request can name. vDPA exists for ports only.
enum class DeviceKind { kPci, kPf, kVf, kVdpa };
const char* DeviceKindName(DeviceKind kind);  // "type-PCI", "type-PF", "type-VF", "vdpa"
std::optional<DeviceKind> ParseDeviceKind(std::string_view name);

// The network that a port's device must be tagged with: a name, or none (which a missing tag matches).
struct NetworkMatch {
  std::optional<std::string> name;

  friend bool operator==(const NetworkMatch&, const NetworkMatch&) = default;
};

// One alternative of a PCI request: what a device must be (R6). Empty fields ask nothing.
struct DeviceMatch {
  std::string vendor_id;   // four lower-case hexadecimal digits
  std::string product_id;  // likewise
  std::optional<DeviceKind> kind;
  std::optional<NetworkMatch> network;
  std::optional<bool> trusted;
  std::optional<bool> remote_managed;         // empty: not remote-managed, or not tagged at all
  std::string resource_class;                 // normalised
  std::vector<std::string> traits;            // normalised, sorted: the device must have all of them
  std::vector<std::string> forbidden_traits;  // likewise: it must have none of them
  bool off_networks = false;                  // only devices without physical_network (R10)

  friend bool operator==(const DeviceMatch&, const DeviceMatch&) = default;
};

// `count` distinct devices, each matching one of the alternatives.
struct PciRequest {
  std::string name;        // alias name, "resources" with the group's suffix, or port id
  bool from_port = false;  // group_policy concerns aliases and resource groups only
  uint32_t count = 1;
  AffinityPolicy policy = AffinityPolicy::kLegacy;  // R8
  std::vector<DeviceMatch> alternatives;

  friend bool operator==(const PciRequest&, const PciRequest&) = default;
};

// Memory encryption of a confidential guest (hw:mem_encryption_model). kAny: encrypted, by whatever the host
// has.
enum class Encryption { kNone, kAny, kAmdSev, kAmdSevEs, kAmdSevSnp, kIntelTdx, kArmCca, kSwProtected };
const char* EncryptionName(Encryption model);  // "amd-sev-snp"; "" of kNone and kAny
std::optional<Encryption> ParseEncryption(std::string_view name);

// All devices of some PCI requests share one named domain of this kind: "switch" is satisfied by devices that
// all list, say, "switch:3".
struct DomainGroup {
  std::string kind;
  uint64_t requests = 0;  // bit r: request r of RequestSpec::pci

  friend bool operator==(const DomainGroup&, const DomainGroup&) = default;
};

// hw:viommu_model (seed 002, "Virtual IOMMU support"): which virtual IOMMU the guest gets. No influence on
// where it fits.
enum class ViommuModel { kNone, kVirtio, kIntel, kSmmuv3, kAuto };
const char* ViommuModelName(ViommuModel model);  // "virtio"; "" of kNone

// Whether the whole host must, or must not, have SMT (trait:HW_CPU_HYPERTHREADING).
enum class SmtTrait { kAny, kRequired, kForbidden };

// What the request asks of the host as a whole, beyond what the solver counts. The filters judge it
// (scheduler/filters).
struct HostRules {
  using Values = std::vector<std::pair<std::string, std::string>>;  // sorted by name, unique

  std::vector<std::string> traits;            // normalised, sorted: the host must have all of them
  std::vector<std::string> forbidden_traits;  // likewise: it must have none of them
  std::string availability_zone;              // empty: any
  std::string project;                        // of the tenant; empty: not told
  std::string flavor;                         // its name
  Values aggregate_specs;                     // of "aggregate_instance_extra_specs:NAME"
  Values image;                               // properties of the image as given

  friend bool operator==(const HostRules&, const HostRules&) = default;
};

// The canonical request: two requests that are equal fit the same hosts in the same way.
struct RequestSpec {
  uint32_t vcpus = 0;
  uint64_t memory_bytes = 0;
  uint64_t disk_bytes = 0;
  // Guest NUMA topology (R1); empty: none, CPU and memory count against the host's totals and NUMA policies
  // are without effect.
  std::vector<GuestCell> cells;
  CpuPolicy cpu_policy = CpuPolicy::kShared;
  ThreadPolicy thread_policy = ThreadPolicy::kAny;
  EmulatorPolicy emulator_policy = EmulatorPolicy::kShare;
  PageRequest pages;
  SmtTrait smt = SmtTrait::kAny;
  // Alias items from left to right, then resource groups by suffix, then the ports that need a device.
  std::vector<PciRequest> pci;
  bool isolate_groups =
      false;  // group_policy=isolate: devices of alias requests come from different parents (R10)

  std::vector<DomainGroup> domains;  // by kind, then requests
  // R11: encrypted guests take secure memory, and their bounce buffer from the ordinary memory of guest cell
  // 0's host cell.
  Encryption encryption = Encryption::kNone;
  uint64_t swiotlb_bytes = 0;
  ViommuModel viommu = ViommuModel::kNone;
  // Networks of all ports: where host cells are tied to one of them, the guest uses such a cell.
  std::vector<std::string> physical_networks;  // sorted, unique
  bool tunneled = false;
  HostRules host;

  bool encrypted() const { return encryption != Encryption::kNone; }

  friend bool operator==(const RequestSpec&, const RequestSpec&) = default;
};

}  // namespace berth::scheduler
