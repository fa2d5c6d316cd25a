#include "placement/model/keep_claimed.h"

#include <algorithm>

#include "placement/model/capacity.h"

namespace berth::placement {
namespace {

constexpr uint32_t kUnknownDistance = 255;  // SLIT: unreachable

std::string Text(uint64_t value) {
  return std::to_string(value);
}

// One run of KeepClaimed.
class Keeper {
 public:
  Keeper(const HostReport& reported, const HostReport& previous, const HostUsage& usage,
         std::vector<std::string>& warnings)
      : host_(reported), previous_(previous), usage_(usage), warnings_(warnings) {}

  HostReport Run() {
    for (const auto& [id, used] : usage_.cells) KeepCell(id, used);
    for (const auto& [address, consumer] : usage_.devices) KeepDevice(address, consumer);
    DropOrphans();
    WarnOfOvercommitment();
    return std::move(host_);
  }

 private:
  void Warn(std::string text) { warnings_.push_back(std::move(text)); }

  uint32_t PreviousDistance(NumaNode from, NumaNode to) const {
    const Cell* cell = FindCell(previous_, from);
    if (cell == nullptr) return kUnknownDistance;
    for (size_t i = 0; i < cell->distances.size() && i < previous_.cells.size(); ++i) {
      if (previous_.cells[i].id == to) return cell->distances[i];
    }
    return kUnknownDistance;
  }

  Cell& CellFor(NumaNode id, const CellUsage& used) {
    auto at = std::lower_bound(host_.cells.begin(), host_.cells.end(), id,
                               [](const Cell& cell, NumaNode node) { return cell.id < node; });
    if (at != host_.cells.end() && at->id == id) return *at;
    Warn("cell " + Text(id) + " is in use but not reported: kept with what claims hold");
    Cell cell;
    cell.id = id;
    if (const Cell* before = FindCell(previous_, id)) cell.socket = before->socket;
    cell.memory_bytes = used.memory_bytes;
    auto index = at - host_.cells.begin();
    bool known = false;
    for (Cell& other : host_.cells) {
      if (other.distances.empty()) continue;
      known = true;
      other.distances.insert(other.distances.begin() + index, PreviousDistance(other.id, id));
    }
    at = host_.cells.insert(at, std::move(cell));
    if (known) {
      for (const Cell& other : host_.cells) at->distances.push_back(PreviousDistance(id, other.id));
    }
    return *at;
  }

  void KeepCpus(Cell& cell, const CpuSet& pinned) {
    CpuSet lost = pinned - cell.dedicated_cpus;
    if (lost.empty()) return;
    Warn("CPUs " + lost.ToString() + " of cell " + Text(cell.id) +
         " are pinned but no longer reported as dedicated: kept");
    for (Cell& other : host_.cells) {
      if (other.id == cell.id) continue;
      other.shared_cpus -= lost;
      other.dedicated_cpus -= lost;
      std::vector<CpuSet>& cores = other.siblings.Own();
      for (CpuSet& core : cores) core -= lost;
      std::erase_if(cores, [](const CpuSet& core) { return core.empty(); });
    }
    cell.dedicated_cpus |= lost;
    for (const CpuSet& core : cell.siblings) lost -= core;
    for (uint32_t cpu : lost.ToVector()) cell.siblings.push_back({cpu});
  }

  void KeepPages(Cell& cell, const CellUsage& used) {
    for (const auto& [size, count] : used.used_pages) {
      auto pool = std::lower_bound(cell.pages.begin(), cell.pages.end(), size,
                                   [](const PagePool& p, uint64_t bytes) { return p.size_bytes < bytes; });
      if (pool == cell.pages.end() || pool->size_bytes != size) {
        pool = cell.pages.insert(pool, {.size_bytes = size, .total = 0, .reserved = 0});
      }
      if (pool->total >= count && pool->total - count >= pool->reserved) continue;
      Warn("cell " + Text(cell.id) + ": " + Text(count) + " pages of " + Text(size) +
           " bytes are in use, reported are " + Text(pool->total) + " with " + Text(pool->reserved) +
           " reserved: kept");
      // What claims hold comes first, then as much of the reserve as there is.
      pool->reserved = pool->total > count ? pool->total - count : 0;
      pool->total = count + pool->reserved;
    }
  }

  void KeepCell(NumaNode id, const CellUsage& used) {
    Cell& cell = CellFor(id, used);
    KeepCpus(cell, used.pinned_cpus);
    KeepPages(cell, used);
    if (cell.secure_memory_bytes < used.secure_memory_bytes) {
      Warn("cell " + Text(id) + ": " + Text(used.secure_memory_bytes) +
           " bytes of secure memory are in use, reported are " + Text(cell.secure_memory_bytes) + ": kept");
      cell.secure_memory_bytes = used.secure_memory_bytes;
    }
  }

  Device* Find(const PciAddress& address) { return const_cast<Device*>(FindDevice(host_, address)); }

  void Put(const Device& device) {
    auto at = std::lower_bound(host_.devices.begin(), host_.devices.end(), device.address,
                               [](const Device& d, const PciAddress& a) { return d.address < a; });
    if (at != host_.devices.end() && at->address == device.address) {
      *at = device;
    } else {
      host_.devices.insert(at, device);
    }
  }

  void KeepDevice(const PciAddress& address, const Uuid& consumer) {
    std::string name = "device " + address.ToString() + " is held by instance " + consumer.ToString();
    const Device* before = FindDevice(previous_, address);
    if (before == nullptr) return;  // it was there when it was claimed, and has been kept since
    const Device* now = Find(address);
    // A VF can only stay one together with its PF; other changes of type are the machine's own matter.
    bool lost_vf = now != nullptr && before->type == DeviceType::kVf &&
                   (now->type != DeviceType::kVf || now->parent != before->parent);
    if (now == nullptr || lost_vf) {
      Warn(name +
           (now == nullptr ? " but not reported: kept" : " but reported as something else: kept as it was"));
      Put(*before);
      KeepParent(*before);
      return;
    }
    if (now->type != before->type) {
      Warn(name + " and was " + DeviceTypeName(before->type) + ", is now " + DeviceTypeName(now->type));
    }
    if (before->assignable && !now->assignable) Warn(name + " but no longer assignable: the claim stays");
  }

  void KeepParent(const Device& vf) {
    if (vf.type != DeviceType::kVf) return;
    const Device* parent = Find(*vf.parent);
    if (parent != nullptr && parent->type == DeviceType::kPf) return;
    const Device* before = FindDevice(previous_, *vf.parent);
    if (before == nullptr) return;
    Device kept = *before;
    kept.assignable = false;
    Put(kept);
  }

  // A held VF that took the place of a PF leaves that PF's VFs without a parent: what of them is held stays
  // as it was, the others cannot be given out.
  void DropOrphans() {
    std::vector<Device> orphans;
    for (const Device& device : host_.devices) {
      if (device.type != DeviceType::kVf) continue;
      const Device* parent = Find(*device.parent);
      if (parent == nullptr || parent->type != DeviceType::kPf) orphans.push_back(device);
    }
    for (const Device& orphan : orphans) {
      const Device* before = FindDevice(previous_, orphan.address);
      if (usage_.devices.contains(orphan.address) && before != nullptr) {
        Warn("device " + orphan.address.ToString() + " is kept as it was: the address of its PF " +
             orphan.parent->ToString() + " is kept for a claim");
        Put(*before);
        continue;
      }
      Warn("device " + orphan.address.ToString() + " is left out: the address of its PF " +
           orphan.parent->ToString() + " is kept for a claim");
      std::erase_if(host_.devices, [&](const Device& device) { return device.address == orphan.address; });
    }
  }

  void WarnOfOvercommitment() {
    for (const Cell& cell : host_.cells) {
      const CellUsage& used = UsageOfCell(usage_, cell.id);
      uint64_t memory = WithRatio(BaseMemory(cell), host_.ram_allocation_ratio);
      if (uint64_t held = BaseMemoryUsed(cell, used); held > memory) {
        Warn("cell " + Text(cell.id) + ": " + Text(held) + " bytes of base-page memory are in use, " +
             Text(memory) + " may be");
      }
      uint64_t vcpus = WithRatio(RemainingSharedCpus(cell, used).Count(), host_.cpu_allocation_ratio);
      if (used.shared_vcpus > vcpus) {
        Warn("cell " + Text(cell.id) + ": " + Text(used.shared_vcpus) + " vCPUs float on shared CPUs, " +
             Text(vcpus) + " may");
      }
    }
    if (SharedVcpusUsed(usage_) > SharedVcpuCapacity(host_, usage_)) {
      Warn(Text(SharedVcpusUsed(usage_)) + " vCPUs float on the host's shared CPUs, " +
           Text(SharedVcpuCapacity(host_, usage_)) + " may");
    }
    if (BaseMemoryUsed(host_, usage_) > BaseMemoryCapacity(host_)) {
      Warn(Text(BaseMemoryUsed(host_, usage_)) + " bytes of the host's base-page memory are in use, " +
           Text(BaseMemoryCapacity(host_)) + " may be");
    }
  }

  HostReport host_;
  const HostReport& previous_;
  const HostUsage& usage_;
  std::vector<std::string>& warnings_;
};

}  // namespace

HostReport KeepClaimed(const HostReport& reported, const HostReport& previous, const HostUsage& usage,
                       std::vector<std::string>& warnings) {
  if (usage == HostUsage{}) return reported;
  return Keeper(reported, previous, usage, warnings).Run();
}

}  // namespace berth::placement
