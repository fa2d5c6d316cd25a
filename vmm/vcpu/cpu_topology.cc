#include "vmm/vcpu/cpu_topology.h"

#include <algorithm>
#include <bit>
#include <string>

namespace berth::vmm {
namespace {

constexpr uint32_t kBroadcastApicId = 255;

}  // namespace

std::vector<uint32_t> CpuTopology::apic_ids() const {
  std::vector<uint32_t> ids;
  ids.reserve(vcpus.size());
  for (const Vcpu& vcpu : vcpus) ids.push_back(vcpu.apic_id);
  return ids;
}

Result<CpuTopology> BuildCpuTopology(const CpusConfig& cpus, const std::vector<NumaConfig>& numa) {
  CpuTopology topology;
  const uint32_t count = std::max(cpus.boot, cpus.max);
  topology.vcpus.resize(count);
  std::vector<uint32_t> used(std::max<size_t>(numa.size(), 1), 0);
  for (uint32_t i = 0; i < count; i++) {
    auto node =
        std::find_if(numa.begin(), numa.end(), [i](const NumaConfig& n) { return n.cpus.Contains(i); });
    uint32_t socket = node == numa.end() ? 0 : static_cast<uint32_t>(node - numa.begin());
    topology.vcpus[i].socket = socket;
    topology.vcpus[i].core = used[socket]++;
  }
  topology.cores_per_socket = *std::max_element(used.begin(), used.end());
  topology.core_bits = static_cast<uint32_t>(std::bit_width(topology.cores_per_socket - 1));
  for (CpuTopology::Vcpu& vcpu : topology.vcpus) {
    vcpu.apic_id = (vcpu.socket << topology.core_bits) | vcpu.core;
    if (vcpu.apic_id >= kBroadcastApicId) {
      return OutOfRange("APIC id " + std::to_string(vcpu.apic_id) + " is above 254: too many vCPUs (" +
                            std::to_string(count) + ") or NUMA nodes of very different size",
                        "cpus.max");
    }
  }
  return topology;
}

}  // namespace berth::vmm
