#include "tests/compute-agent/inventory/hwloc_view.h"

#include <hwloc.h>

#include <array>
#include <cstdio>
#include <cstdlib>

namespace berth::agent {

std::optional<HwlocView> ReadWithHwloc(const std::filesystem::path& root) {
  ::setenv("HWLOC_FSROOT", root.c_str(), 1);
  ::setenv("HWLOC_COMPONENTS", "linux,stop", 1);
  ::setenv("HWLOC_HIDE_ERRORS", "2", 1);
  hwloc_topology_t topology = nullptr;
  if (hwloc_topology_init(&topology) != 0) return std::nullopt;
  // All I/O objects, bridges too; and CPUs outside of the reader's own cpuset.
  hwloc_topology_set_io_types_filter(topology, HWLOC_TYPE_FILTER_KEEP_ALL);
  hwloc_topology_set_flags(topology, HWLOC_TOPOLOGY_FLAG_INCLUDE_DISALLOWED);
  if (hwloc_topology_load(topology) != 0) {
    hwloc_topology_destroy(topology);
    return std::nullopt;
  }
  HwlocView view;
  hwloc_obj_t object = nullptr;
  while ((object = hwloc_get_next_obj_by_type(topology, HWLOC_OBJ_NUMANODE, object)) != nullptr) {
    view.memory_of_node[object->os_index] = object->attr->numanode.local_memory;
  }
  while ((object = hwloc_get_next_obj_by_type(topology, HWLOC_OBJ_PU, object)) != nullptr) {
    view.cpus.insert(object->os_index);
  }
  auto add = [&](const hwloc_obj_attr_u::hwloc_pcidev_attr_s& pci) {
    std::array<char, 32> address;
    std::array<char, 32> ids;
    std::snprintf(address.data(), address.size(), "%04x:%02x:%02x.%01x", static_cast<unsigned>(pci.domain),
                  pci.bus, pci.dev, pci.func);
    std::snprintf(ids.data(), ids.size(), "%04x:%04x:%04x", pci.vendor_id, pci.device_id, pci.class_id);
    view.pci[address.data()] = ids.data();
  };
  while ((object = hwloc_get_next_obj_by_type(topology, HWLOC_OBJ_PCI_DEVICE, object)) != nullptr) {
    add(object->attr->pcidev);
  }
  // A PCI-to-PCI bridge is a PCI device too; a host bridge object is none.
  while ((object = hwloc_get_next_obj_by_type(topology, HWLOC_OBJ_BRIDGE, object)) != nullptr) {
    if (object->attr->bridge.upstream_type == HWLOC_OBJ_BRIDGE_PCI) add(object->attr->bridge.upstream.pci);
  }
  hwloc_topology_destroy(topology);
  return view;
}

}  // namespace berth::agent
