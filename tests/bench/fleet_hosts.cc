#include "tests/bench/fleet_hosts.h"

#include <string>
#include <utility>

namespace berth::bench {
namespace {

void AddNics(placement::HostReport& host) {
  for (uint32_t card = 0; card < 8; ++card) {
    placement::Device nic;
    nic.vendor_id = "15b3";
    nic.product_id = "1018";
    nic.type = placement::DeviceType::kVf;
    nic.parent = PciAddress{0, static_cast<uint8_t>(0x10 + card), 0, 0};
    nic.numa_node = card / 4;
    nic.assignable = true;
    nic.remote_managed = false;
    nic.physical_network = "physnet0";
    nic.resource_class = "CUSTOM_PCI_15B3_1018";
    for (uint8_t vf = 0; vf < 8; ++vf) {
      nic.address = {0, static_cast<uint8_t>(0x10 + card), 2, vf};
      host.devices.push_back(nic);
    }
  }
}

}  // namespace

void AddGpus(placement::HostReport& host) {
  for (uint32_t card = 0; card < 8; ++card) {
    placement::Device gpu;
    gpu.address = {0, static_cast<uint8_t>(0x80 + card), 0, 0};
    gpu.vendor_id = "10de";
    gpu.product_id = "2330";
    gpu.numa_node = card / 4;
    gpu.assignable = true;
    gpu.resource_class = "CUSTOM_PCI_10DE_2330";
    host.devices.push_back(std::move(gpu));
  }
}

placement::HostReport MakeFleetHost(uint32_t number, bool nics) {
  placement::HostReport host;
  host.name = "host" + std::to_string(number);
  host.uuid = Uuid::FromName(Uuid{}, host.name);
  host.can_run_guests = true;
  host.cpu_allocation_ratio = 4;
  for (uint32_t node = 0; node < 2; ++node) {
    placement::Cell cell;
    cell.id = node;
    cell.socket = node;
    uint32_t first = node * 48;
    cell.shared_cpus = CpuSet::Range(first, first + 15);
    cell.dedicated_cpus = CpuSet::Range(first + 16, first + 47);
    for (uint32_t cpu = first; cpu < first + 48; cpu += 2) cell.siblings.push_back(CpuSet{cpu, cpu + 1});
    cell.memory_bytes = 192 * kGib;
    cell.pages = {{4096, 96 * kGib / 4096, 0}, {2 << 20, 96 * kGib / (2 << 20), 0}};
    host.cells.push_back(std::move(cell));
  }
  if (number % 5 != 0) return host;
  if (nics) AddNics(host);
  AddGpus(host);
  return host;
}

}  // namespace berth::bench
