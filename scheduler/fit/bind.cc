#include "scheduler/fit/bind.h"

namespace berth::scheduler {

void BindAssignment(const RequestSpec& spec, const Assignment& assignment, placement::Claim& claim) {
  claim.spec.vcpus = spec.vcpus;
  claim.spec.memory_bytes = spec.memory_bytes;
  claim.spec.disk_bytes = spec.disk_bytes;
  claim.spec.viommu = ViommuModelName(spec.viommu);
  claim.cells.clear();
  for (const CellAssignment& cell : assignment.cells) {
    const GuestCell& guest = spec.cells[cell.guest];
    placement::CellBinding binding;
    binding.guest_cell = cell.guest;
    binding.host_cell = cell.host;
    binding.vcpus = guest.vcpus;
    binding.pinning = cell.pinning;
    binding.reserved = cell.reserved;
    binding.memory_bytes = guest.memory_bytes;
    binding.page_size_bytes = cell.page_size_bytes;
    binding.secure = spec.encrypted();
    binding.swiotlb_bytes = cell.guest == 0 ? spec.swiotlb_bytes : 0;
    claim.cells.push_back(std::move(binding));
  }
  claim.devices.clear();
  for (const DeviceAssignment& device : assignment.devices) {
    claim.devices.push_back(
        {device.request, device.address, spec.pci[device.request].name, device.numa_node, {}});
  }
}

}  // namespace berth::scheduler
