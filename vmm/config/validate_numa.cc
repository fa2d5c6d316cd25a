#include <algorithm>
#include <map>
#include <set>

#include "vmm/config/validate.h"
#include "vmm/config/validate_rules.h"

namespace berth::vmm {
namespace {

constexpr uint8_t kMinDistance = 11;
constexpr uint8_t kSelfDistance = 10;

class NumaCheck {
 public:
  NumaCheck(const VmConfig& config, ConfigErrors& errors) : config_(config), errors_(errors) {
    for (const NumaConfig& node : config.numa) known_ids_.insert(node.guest_numa_id);
  }

  void Run() {
    if (config_.numa.empty()) return;
    if (config_.numa.size() > kMaxGuestNodes) {
      errors_.push_back({"TooManyNumaNodes", "numa", "", std::to_string(config_.numa.size()),
                         "too many nodes", "up to " + std::to_string(kMaxGuestNodes), ""});
    }
    CheckIds();
    for (size_t i = 0; i < config_.numa.size(); ++i) {
      const NumaConfig& node = config_.numa[i];
      if (node.device_id) CheckDeviceNode(node, Label("numa", i));
      CheckDistances(node, Label("numa", i));
    }
    CheckVcpus();
    CheckZones();
    CheckSections();
    CheckSegments();
  }

 private:
  void CheckIds() {
    std::map<uint32_t, size_t> first;
    for (size_t i = 0; i < config_.numa.size(); ++i) {
      uint32_t id = config_.numa[i].guest_numa_id;
      auto [known, fresh] = first.try_emplace(id, i);
      if (fresh) continue;
      errors_.push_back({"DuplicateNumaNode", Label("numa", i), "guest_numa_id", std::to_string(id),
                         "defined already by " + Label("numa", known->second), "", ""});
    }
  }

  void CheckDistances(const NumaConfig& node, const std::string& label) {
    for (auto [destination, distance] : node.distances) {
      std::string given = std::to_string(destination) + "@" + std::to_string(distance);
      if (!known_ids_.contains(destination)) {
        errors_.push_back({"UnknownNumaNode", label, "distances", given,
                           "distance to a node that does not exist", "", "define the node by --numa"});
      } else if (destination == node.guest_numa_id && distance != kSelfDistance) {
        errors_.push_back(
            {"InvalidDistance", label, "distances", given, "a node's distance to itself", "10", ""});
      } else if (destination != node.guest_numa_id && distance < kMinDistance) {
        // Linux drops the whole SLIT for an entry of 10 or less off the diagonal. 255 means "not to be
        // reached".
        errors_.push_back(
            {"InvalidDistance", label, "distances", given, "distance out of range", "11 to 255", ""});
      }
    }
  }

  // A node that is a device (a generic initiator of the SRAT).
  void CheckDeviceNode(const NumaConfig& node, const std::string& label) {
    if (!node.cpus.empty() || !node.memory_zones.empty() || !node.sgx_epc_sections.empty()) {
      errors_.push_back({"InvalidNumaDevice", label, "device_id", *node.device_id,
                         "a node that is a device has neither CPUs nor memory", "",
                         "leave out cpus and memory_zones, or device_id"});
    }
    const std::vector<std::string> ids = PciDeviceIds(config_);
    if (std::find(ids.begin(), ids.end(), *node.device_id) == ids.end()) {
      errors_.push_back({"UnknownDevice", label, "device_id", *node.device_id, "a device that does not exist",
                         "", "name a device by its id"});
    } else if (!device_nodes_.insert(*node.device_id).second) {
      errors_.push_back({"DeviceReused", label, "device_id", *node.device_id,
                         "belongs to an earlier node already", "", "name each device in one node"});
    }
  }

  void CheckSections() {
    std::set<std::string> known;
    for (const SgxEpcConfig& section : config_.sgx_epc) known.insert(section.id);
    std::map<std::string, size_t> owner;
    for (size_t i = 0; i < config_.numa.size(); ++i) {
      for (const std::string& id : config_.numa[i].sgx_epc_sections) {
        auto [previous, fresh] = owner.try_emplace(id, i);
        if (!known.contains(id)) {
          errors_.push_back({"UnknownSgxEpcSection", Label("numa", i), "sgx_epc_sections", id,
                             "a section that does not exist", "", "define it by --sgx-epc id=" + id});
        } else if (!fresh) {
          errors_.push_back({"SgxEpcSectionReused", Label("numa", i), "sgx_epc_sections", id,
                             "belongs to " + Label("numa", previous->second) + " already", "",
                             "name each section in one node"});
        }
      }
    }
  }

  void CheckSegments() {
    const uint32_t count = config_.platform.num_pci_segments;
    uint32_t first = UINT32_MAX;  // the node of segment 0
    for (const NumaConfig& node : config_.numa) {
      if (!node.device_id) first = std::min(first, node.guest_numa_id);
    }
    CpuSet assigned;
    for (size_t i = 0; i < config_.numa.size(); ++i) {
      const CpuSet& segments = config_.numa[i].pci_segments;
      const CpuSet outside = count == 0 ? segments : segments - CpuSet::Range(0, count - 1);
      if (!outside.empty()) {
        errors_.push_back({"InvalidPciSegment", Label("numa", i), "pci_segments", outside.ToString(),
                           "PCI segments that the machine does not have",
                           count <= 1 ? "0" : "0 to " + std::to_string(count - 1),
                           "raise --platform num_pci_segments"});
      }
      if (segments.Intersects(assigned)) {
        errors_.push_back({"PciSegmentReused", Label("numa", i), "pci_segments",
                           (segments & assigned).ToString(), "belong to an earlier node already", "",
                           "name each segment in one node"});
      }
      if (segments.Contains(0) && config_.numa[i].guest_numa_id != first) {
        errors_.push_back({"DefaultPciSegmentInvalidNode", Label("numa", i), "pci_segments", "0",
                           "segment 0 is tied to node " + std::to_string(first), "",
                           "use another segment, or give this node's CPUs and memory to that node"});
      }
      assigned |= segments;
    }
  }

  void CheckVcpus() {
    uint32_t max = MaxVcpus(config_.cpus);
    CpuSet assigned;
    for (size_t i = 0; i < config_.numa.size(); ++i) {
      const CpuSet& cpus = config_.numa[i].cpus;
      CpuSet outside = max == 0 ? cpus : cpus - CpuSet::Range(0, max - 1);
      if (!outside.empty()) {
        errors_.push_back({"InvalidVcpu", Label("numa", i), "cpus", outside.ToString(),
                           "vCPUs that the guest does not have",
                           max == 0 ? "" : "0 to " + std::to_string(max - 1), "raise --cpus max"});
      }
      if (cpus.Intersects(assigned)) {
        errors_.push_back({"VcpuReused", Label("numa", i), "cpus", (cpus & assigned).ToString(),
                           "vCPUs that belong to an earlier node already", "", "name each vCPU in one node"});
      }
      assigned |= cpus;
    }
    // Without any cpus= all belong to the first node (CpusOfNode).
    CpuSet missing = max == 0 || assigned.empty() ? CpuSet() : CpuSet::Range(0, max - 1) - assigned;
    if (!missing.empty()) {
      errors_.push_back({"VcpuUnassigned", "numa", "cpus", missing.ToString(), "vCPUs that belong to no node",
                         "", "name each vCPU in one node"});
    }
  }

  void CheckZones() {
    std::map<std::string, size_t> owner;
    std::set<std::string> known;
    for (const MemoryZoneConfig& zone : EffectiveZones(config_)) known.insert(zone.id);
    for (size_t i = 0; i < config_.numa.size(); ++i) {
      for (const std::string& id : config_.numa[i].memory_zones) {
        auto [previous, fresh] = owner.try_emplace(id, i);
        if (!known.contains(id)) {
          errors_.push_back({"UnknownMemoryZone", Label("numa", i), "memory_zones", id,
                             "a zone that does not exist", "", "define it by --memory-zone id=" + id});
        } else if (!fresh) {
          errors_.push_back({"MemoryZoneReused", Label("numa", i), "memory_zones", id,
                             "belongs to " + Label("numa", previous->second) + " already", "",
                             "name each zone in one node"});
        }
      }
    }
    for (size_t i = 0; i < config_.memory_zones.size(); ++i) {
      const std::string& id = config_.memory_zones[i].id;
      if (owner.contains(id)) continue;
      errors_.push_back({"MemoryZoneUnassigned", Label("memory-zone", i), "id", id,
                         "a zone that belongs to no node", "", "name it in memory_zones of one --numa"});
    }
  }

  const VmConfig& config_;
  ConfigErrors& errors_;
  std::set<uint32_t> known_ids_;
  std::set<std::string> device_nodes_;
};

}  // namespace

void CheckNuma(const VmConfig& config, ConfigErrors& errors) {
  NumaCheck(config, errors).Run();
}

}  // namespace berth::vmm
