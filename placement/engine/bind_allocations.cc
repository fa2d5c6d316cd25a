#include "placement/engine/bind_allocations.h"

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "placement/model/capacity.h"
#include "scheduler/fit/cell_fit.h"
#include "scheduler/fit/fit_host.h"

namespace berth::placement {
namespace {

constexpr uint64_t kMib = uint64_t{1} << 20;

// What is asked of one cell, or of the root.
struct Share {
  uint32_t floating = 0;
  uint32_t pinned = 0;
  uint64_t memory_bytes = 0;
  uint64_t secure_bytes = 0;
};

// One run of BindAllocations.
class Binding {
 public:
  Binding(const HostReport& host, const HostUsage& usage)
      : host_(host), fit_(scheduler::FromHost(host, usage)) {}

  Result<Claim> Run(const std::vector<ProjectedAllocation>& allocations) {
    for (const ProjectedAllocation& allocation : allocations) TRY(Sort(allocation));
    if (root_asked_ && !cells_.empty()) {
      return FailedPrecondition(
          "host " + host_.name +
          ": VCPU and MEMORY_MB come from the root provider or from NUMA cells, not from both");
    }
    claim_.spec.vcpus = root_.floating;
    claim_.spec.memory_bytes = root_.memory_bytes;
    for (const auto& [id, share] : cells_) TRY(BindCell(id, share));
    for (const ProjectedAllocation& allocation : devices_) TRY(BindDevices(allocation));
    return std::move(claim_);
  }

 private:
  // Which provider and class an allocation is of.
  Status Sort(const ProjectedAllocation& allocation) {
    const auto amount = static_cast<uint64_t>(allocation.amount);
    if (allocation.provider == host_.uuid && allocation.resource_class == "DISK_GB") {
      claim_.spec.disk_bytes = amount << 30;
      return OkStatus();
    }
    if (allocation.provider == host_.uuid) {
      root_asked_ = true;
      return Add(allocation, root_, /*cell=*/false);
    }
    for (const Cell& cell : host_.cells) {
      if (CellProviderUuid(host_.uuid, cell.id) == allocation.provider) {
        return Add(allocation, cells_[cell.id], /*cell=*/true);
      }
    }
    for (const Device& device : host_.devices) {
      if (DeviceProviderUuid(host_.uuid, ProviderAddress(device)) != allocation.provider) continue;
      devices_.push_back(allocation);
      return amount <= host_.devices.size() ? OkStatus() : NoDevices(allocation, 0);
    }
    return FailedPrecondition("provider " + allocation.provider.ToString() + " of host " + host_.name +
                              " is kept for what it held and gives nothing more");
  }

  Status Add(const ProjectedAllocation& allocation, Share& share, bool cell) const {
    const auto amount = static_cast<uint64_t>(allocation.amount);
    if (allocation.resource_class == "MEMORY_MB") {
      share.memory_bytes = amount * kMib;
    } else if (allocation.resource_class == "VCPU" && amount <= CpuSet::kMaxCpu) {
      share.floating = static_cast<uint32_t>(amount);
    } else if (cell && allocation.resource_class == "PCPU" && amount <= CpuSet::kMaxCpu) {
      share.pinned = static_cast<uint32_t>(amount);
    } else if (cell && allocation.resource_class == kSecureMemoryClass) {
      share.secure_bytes = amount * kMib;
    } else {
      return FailedPrecondition(std::to_string(amount) + " of " + allocation.resource_class +
                                " of provider " + allocation.provider.ToString() +
                                " cannot be bound to anything exact");
    }
    return OkStatus();
  }

  Status BindCell(NumaNode id, const Share& share) {
    const std::string at = "NUMA cell " + std::to_string(id) + " of host " + host_.name;
    scheduler::RequestSpec spec;
    scheduler::GuestCell guest;
    const uint32_t first = claim_.spec.vcpus;
    const uint32_t count = share.pinned + share.floating;
    if (count > CpuSet::kMaxCpu - first) return FailedPrecondition(at + ": too many CPUs");
    if (count > 0) guest.vcpus = CpuSet::Range(first, first + count - 1);
    if (share.pinned > 0) guest.pinned = CpuSet::Range(first, first + share.pinned - 1);
    guest.memory_bytes = share.memory_bytes;
    spec.vcpus = count;
    spec.memory_bytes = share.memory_bytes;
    spec.cpu_policy = share.pinned == 0     ? scheduler::CpuPolicy::kShared
                      : share.floating == 0 ? scheduler::CpuPolicy::kDedicated
                                            : scheduler::CpuPolicy::kMixed;
    spec.cells.push_back(std::move(guest));

    const size_t index = CellIndex(id);
    const scheduler::FitCell& cell = fit_.cells[index];
    CellBinding binding;
    binding.guest_cell = static_cast<uint32_t>(claim_.cells.size());
    binding.host_cell = id;
    binding.vcpus = spec.cells[0].vcpus;
    // Ordinary memory beside secure memory is the guest's bounce buffer.
    binding.secure = share.secure_bytes > 0;
    binding.memory_bytes = binding.secure ? share.secure_bytes : share.memory_bytes;
    binding.swiotlb_bytes = binding.secure ? share.memory_bytes : 0;
    if (share.pinned > 0) {
      auto pins = scheduler::ChoosePins(cell, spec, 0);
      if (!pins) {
        return FailedPrecondition(at + ": PCPU: have " + std::to_string(cell.free_dedicated.Count()) +
                                  ", need " + std::to_string(share.pinned));
      }
      binding.pinning = std::move(pins->pinning);
      binding.reserved = std::move(pins->reserved);
    }
    if (!binding.secure) binding.page_size_bytes = PageSize(spec, index);
    claim_.spec.vcpus += count;
    claim_.spec.memory_bytes += binding.memory_bytes;
    claim_.cells.push_back(std::move(binding));
    return OkStatus();
  }

  // Base pages where they serve, else any pages. 0: base pages, named by nobody.
  uint64_t PageSize(scheduler::RequestSpec& spec, size_t cell) const {
    if (scheduler::CheckCell(fit_, spec, 0, cell).fits()) return 0;
    spec.pages.kind = scheduler::PageRequest::Kind::kAny;
    scheduler::CellCheck check = scheduler::CheckCell(fit_, spec, 0, cell);
    return check.fits() ? check.page_size_bytes : 0;
  }

  size_t CellIndex(NumaNode id) const {
    auto at =
        std::find_if(fit_.cells.begin(), fit_.cells.end(), [id](const auto& cell) { return cell.id == id; });
    CHECK(at != fit_.cells.end());
    return static_cast<size_t>(at - fit_.cells.begin());
  }

  Status NoDevices(const ProjectedAllocation& allocation, uint64_t have) const {
    return FailedPrecondition(allocation.resource_class + " of provider " + allocation.provider.ToString() +
                              " of host " + host_.name + ": have " + std::to_string(have) + ", need " +
                              std::to_string(allocation.amount));
  }

  Status BindDevices(const ProjectedAllocation& allocation) {
    int64_t left = allocation.amount;
    // The solver's list has free and assignable devices only, ascending by address.
    for (const scheduler::FitDevice& free : fit_.devices) {
      if (left == 0) break;
      const Device* device = FindDevice(host_, free.address);
      if (device == nullptr || device->resource_class != allocation.resource_class ||
          DeviceProviderUuid(host_.uuid, ProviderAddress(*device)) != allocation.provider) {
        continue;
      }
      claim_.devices.push_back({request_, device->address, allocation.resource_class, device->numa_node, {}});
      --left;
    }
    ++request_;
    if (left == 0) return OkStatus();
    return NoDevices(allocation, static_cast<uint64_t>(allocation.amount - left));
  }

  const HostReport& host_;
  scheduler::FitHost fit_;
  bool root_asked_ = false;
  Share root_;
  std::map<NumaNode, Share> cells_;
  std::vector<ProjectedAllocation> devices_;
  uint32_t request_ = 0;
  Claim claim_;
};

}  // namespace

Result<Claim> BindAllocations(const HostReport& host, const HostUsage& usage,
                              const std::vector<ProjectedAllocation>& allocations) {
  return Binding(host, usage).Run(allocations);
}

}  // namespace berth::placement
