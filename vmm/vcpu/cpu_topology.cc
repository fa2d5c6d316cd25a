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

namespace {

uint32_t BitsFor(uint32_t count) {
  return static_cast<uint32_t>(std::bit_width(count - 1));
}

void GroupAsGiven(const CpuTopologyConfig& given, CpuTopology& topology) {
  topology.threads_per_core = given.threads_per_core;
  topology.cores_per_die = given.cores_per_die;
  topology.dies_per_socket = given.dies_per_package;
  topology.thread_bits = BitsFor(given.threads_per_core);
  topology.core_bits = BitsFor(given.cores_per_die);
  topology.die_bits = BitsFor(given.dies_per_package);
  for (uint32_t i = 0; i < topology.vcpus.size(); i++) {
    CpuTopology::Vcpu& vcpu = topology.vcpus[i];
    uint32_t rest = i / given.threads_per_core;
    vcpu.thread = i % given.threads_per_core;
    vcpu.core = rest % given.cores_per_die;
    rest /= given.cores_per_die;
    vcpu.core |= rest % given.dies_per_package << topology.core_bits;
    vcpu.socket = rest / given.dies_per_package;
  }
}

void GroupByNode(const std::vector<NumaConfig>& numa, CpuTopology& topology) {
  std::vector<uint32_t> used(std::max<size_t>(numa.size(), 1), 0);
  for (uint32_t i = 0; i < topology.vcpus.size(); i++) {
    auto node =
        std::find_if(numa.begin(), numa.end(), [i](const NumaConfig& n) { return n.cpus.Contains(i); });
    uint32_t socket = node == numa.end() ? 0 : static_cast<uint32_t>(node - numa.begin());
    topology.vcpus[i].socket = socket;
    topology.vcpus[i].core = used[socket]++;
  }
  topology.cores_per_die = *std::max_element(used.begin(), used.end());
  topology.core_bits = BitsFor(topology.cores_per_die);
}

}  // namespace

Result<CpuTopology> BuildCpuTopology(const CpusConfig& cpus, const std::vector<NumaConfig>& numa) {
  CpuTopology topology;
  const uint32_t count = std::max(cpus.boot, cpus.max);
  topology.vcpus.resize(count);
  if (cpus.topology.has_value()) {
    GroupAsGiven(*cpus.topology, topology);
  } else {
    GroupByNode(numa, topology);
  }
  for (CpuTopology::Vcpu& vcpu : topology.vcpus) {
    vcpu.apic_id =
        (vcpu.socket << topology.socket_bits()) | (vcpu.core << topology.thread_bits) | vcpu.thread;
    if (vcpu.apic_id >= kBroadcastApicId) {
      return OutOfRange("APIC id " + std::to_string(vcpu.apic_id) + " is above 254: too many vCPUs (" +
                            std::to_string(count) + ") or NUMA nodes of very different size",
                        "cpus.max");
    }
  }
  return topology;
}

}  // namespace berth::vmm
