#include "compute-agent/instances/vmm_options.h"

#include <algorithm>
#include <optional>

#include "common/byte_size.h"

namespace berth::agent {
namespace {

using placement::Cell;
using placement::CellBinding;
using placement::Claim;
using placement::HostReport;

const Cell* FindCell(const HostReport& host, placement::NumaNode id) {
  for (const Cell& cell : host.cells) {
    if (cell.id == id) return &cell;
  }
  return nullptr;
}

CpuSet Floating(const CpuSet& shared, const CpuSet& exclusive) {
  CpuSet left = shared - exclusive;
  return left.empty() ? shared : left;
}

std::string Affinity(const std::map<uint32_t, CpuSet>& affinity) {
  std::string text;
  for (const auto& [vcpu, cpus] : affinity) {
    text += (text.empty() ? "" : ",") + std::to_string(vcpu) + "@[" + cpus.ToString() + "]";
  }
  return text;
}

std::string MemoryZone(const CellBinding& cell, uint64_t base_page) {
  std::string zone = "--memory-zone=id=mem" + std::to_string(cell.guest_cell) +
                     ",size=" + std::to_string(cell.memory_bytes) +
                     ",host_numa_node=" + std::to_string(cell.host_cell);
  if (cell.page_size_bytes > base_page) {
    zone += ",hugepages=on,hugepage_size=" + ByteSize(cell.page_size_bytes).ToString() + ",shared=on";
  }
  return zone + ",prefault=on";
}

// ",distances=[1@20,...]" from the cell to the claim's other cells; empty when the host does not tell them.
std::string Distances(const Claim& claim, const HostReport& host, const CellBinding& from) {
  const Cell* cell = FindCell(host, from.host_cell);
  std::string text;
  for (const CellBinding& to : claim.cells) {
    if (to.guest_cell == from.guest_cell) continue;
    const Cell* other = FindCell(host, to.host_cell);
    size_t index = static_cast<size_t>(other - host.cells.data());
    if (index >= cell->distances.size()) return {};
    // ACPI keeps 10 for the node itself and 255 for "not reachable".
    uint32_t distance = std::clamp<uint32_t>(cell->distances[index], 11, 254);
    text += (text.empty() ? "" : ",") + std::to_string(to.guest_cell) + "@" + std::to_string(distance);
  }
  return text.empty() ? "" : ",distances=[" + text + "]";
}

std::string GuestNode(const Claim& claim, const HostReport& host, const CellBinding& cell,
                      const std::map<uint32_t, uint32_t>& segments) {
  std::string node = "--numa=guest_numa_id=" + std::to_string(cell.guest_cell);
  if (!cell.vcpus.empty()) node += ",cpus=[" + cell.vcpus.ToString() + "]";
  node += ",memory_zones=[mem" + std::to_string(cell.guest_cell) + "]";
  const auto segment = segments.find(cell.guest_cell);
  if (segments.size() > 1 && segment != segments.end()) {
    node += ",pci_segments=[" + std::to_string(segment->second) + "]";
  }
  return node + Distances(claim, host, cell);
}

// The guest cell whose host cell is the device's, else the one that is nearest to it. Empty: no guest cells,
// or nobody knows where the device is.
std::optional<uint32_t> GuestCellOf(const placement::DeviceBinding& device, const Claim& claim,
                                    const HostReport& host) {
  if (!device.numa_node.has_value() || claim.cells.empty()) return std::nullopt;
  const auto index = std::find_if(host.cells.begin(), host.cells.end(),
                                  [&](const Cell& cell) { return cell.id == *device.numa_node; });
  std::optional<uint32_t> nearest;
  uint32_t best = 0;
  for (const CellBinding& binding : claim.cells) {
    if (binding.host_cell == *device.numa_node) return binding.guest_cell;
    const Cell* cell = FindCell(host, binding.host_cell);
    const size_t at = static_cast<size_t>(index - host.cells.begin());
    const uint32_t distance = at < cell->distances.size() ? cell->distances[at] : UINT32_MAX;
    if (!nearest.has_value() || distance < best) {
      nearest = binding.guest_cell;
      best = distance;
    }
  }
  return nearest;
}

// A PCI segment for each guest cell that has devices, because a segment is what a guest knows the node of.
// Segment 0 belongs to the first cell.
std::map<uint32_t, uint32_t> SegmentsOfCells(const Claim& claim, const HostReport& host) {
  std::map<uint32_t, uint32_t> segments;
  if (claim.cells.empty()) return segments;
  uint32_t first = UINT32_MAX;
  for (const CellBinding& cell : claim.cells) first = std::min(first, cell.guest_cell);
  segments[first] = 0;
  for (const placement::DeviceBinding& device : claim.devices) {
    const std::optional<uint32_t> cell = GuestCellOf(device, claim, host);
    if (cell.has_value()) segments.try_emplace(*cell, static_cast<uint32_t>(segments.size()));
  }
  return segments;
}

// The guest's virtual IOMMU in the VMM's words; empty: none. As under Nova, devices of the host are behind
// it; emulated ones are not. An Intel IOMMU of the VMM has what Nova asks for (interrupt remapping, with
// 32-bit numbers where KVM has them, caching mode, device TLBs, 48 bits of addresses where the host has
// them).
Result<std::string> IommuModelOf(const std::string& model) {
  if (model.empty() || model == "intel") return model;
  if (model == "virtio" || model == "auto") return std::string("virtio");
  const std::string why = model == "smmuv3" ? "an SMMUv3 is a part of AArch64 machines" : "it is unknown";
  return {FailedPrecondition("the vIOMMU model \"" + model + "\" cannot be had: " + why, "hw:viommu_model",
                             "virtio, intel or auto")};
}

std::string Device(const placement::DeviceBinding& device, const Claim& claim, const HostReport& host,
                   const std::map<uint32_t, uint32_t>& segments) {
  const std::string address = device.address.ToString();
  std::string text = "--device=path=/sys/bus/pci/devices/" + address + ",id=" + VmmDeviceId(device.address);
  const std::optional<uint32_t> cell = GuestCellOf(device, claim, host);
  const uint32_t segment = cell.has_value() ? segments.at(*cell) : 0;
  return segment == 0 ? text : text + ",pci_segment=" + std::to_string(segment);
}

Status CheckPath(const std::string& path, const char* field, bool required) {
  if (path.empty() && !required) return OkStatus();
  if (!path.starts_with("/")) {
    return InvalidArgument(std::string(field) + " \"" + path + "\" is not an absolute path", field,
                           "a path on the host that runs the instance");
  }
  return OkStatus();
}

Status CheckClaimShape(const Claim& claim, const HostReport& host) {
  TRY(CheckPath(claim.spec.kernel, "kernel", true));
  TRY(CheckPath(claim.spec.initramfs, "initramfs", false));
  for (const CellBinding& cell : claim.cells) {
    if (FindCell(host, cell.host_cell) == nullptr) {
      return {StatusCode::kFailedPrecondition,
              "the claim names cell " + std::to_string(cell.host_cell) + ", which this host does not have",
              "cells"};
    }
  }
  return OkStatus();
}

}  // namespace

std::string VmmDeviceId(const PciAddress& address) {
  return "pci-" + address.ToString();
}

CpuSet ExclusiveCpus(const std::vector<Claim>& claims) {
  CpuSet exclusive;
  for (const Claim& claim : claims) {
    for (const CellBinding& cell : claim.cells) {
      exclusive |= cell.reserved;
      for (const auto& [guest, host] : cell.pinning) {
        if (host <= CpuSet::kMaxCpu) exclusive.Add(host);
      }
    }
  }
  return exclusive;
}

std::map<uint32_t, CpuSet> VcpuAffinity(const Claim& claim, const HostReport& host, const CpuSet& exclusive) {
  std::map<uint32_t, CpuSet> affinity;
  if (claim.cells.empty()) {
    CpuSet shared;
    for (const Cell& cell : host.cells) shared |= cell.shared_cpus;
    CpuSet cpus = Floating(shared, exclusive);
    for (uint32_t vcpu = 0; !cpus.empty() && vcpu < claim.spec.vcpus; ++vcpu) affinity[vcpu] = cpus;
    return affinity;
  }
  for (const CellBinding& binding : claim.cells) {
    const Cell* cell = FindCell(host, binding.host_cell);
    CpuSet cpus = cell == nullptr ? CpuSet() : Floating(cell->shared_cpus, exclusive);
    for (uint32_t vcpu : binding.vcpus.ToVector()) {
      if (!cpus.empty()) affinity[vcpu] = cpus;
    }
    for (const auto& [guest, pinned] : binding.pinning) {
      if (pinned <= CpuSet::kMaxCpu) affinity[guest] = CpuSet{pinned};
    }
  }
  return affinity;
}

Result<std::vector<std::string>> VmmArguments(const Claim& claim, const HostReport& host,
                                              const CpuSet& exclusive, const VmmPaths& paths,
                                              const std::string& confidential) {
  TRY(CheckClaimShape(claim, host));
  TRY_ASSIGN(const std::string iommu, IommuModelOf(claim.spec.viommu));
  const placement::InstanceSpec& spec = claim.spec;
  std::vector<std::string> arguments = {"--api-socket=" + paths.api_socket,
                                        "--serial=socket=" + paths.serial_socket, "--kernel=" + spec.kernel};
  if (!spec.initramfs.empty()) arguments.push_back("--initramfs=" + spec.initramfs);
  if (!spec.cmdline.empty()) arguments.push_back("--cmdline=" + spec.cmdline);
  std::string affinity = Affinity(VcpuAffinity(claim, host, exclusive));
  arguments.push_back("--cpus=boot=" + std::to_string(spec.vcpus) +
                      (affinity.empty() ? "" : ",affinity=[" + affinity + "]"));
  if (claim.cells.empty()) {
    arguments.push_back("--memory=size=" + std::to_string(spec.memory_bytes));
  } else {
    arguments.push_back("--memory=size=0");
  }
  const std::map<uint32_t, uint32_t> segments = SegmentsOfCells(claim, host);
  std::string platform;
  if (segments.size() > 1) platform = "num_pci_segments=" + std::to_string(segments.size());
  if (iommu == "intel") platform += (platform.empty() ? "" : ",") + std::string("iommu_model=intel");
  if (!confidential.empty()) platform += (platform.empty() ? "" : ",") + ("confidential=" + confidential);
  if (!platform.empty()) arguments.push_back("--platform=" + platform);
  for (const CellBinding& cell : claim.cells) {
    const Cell* host_cell = FindCell(host, cell.host_cell);
    uint64_t base_page = host_cell->pages.empty() ? 4096 : host_cell->pages.front().size_bytes;
    arguments.push_back(MemoryZone(cell, base_page));
    arguments.push_back(GuestNode(claim, host, cell, segments));
  }
  for (const std::string& disk : spec.disks) arguments.push_back("--disk=" + disk);
  for (const std::string& net : spec.nets) arguments.push_back("--net=" + net);
  for (const placement::DeviceBinding& device : claim.devices) {
    arguments.push_back(Device(device, claim, host, segments) + (iommu.empty() ? "" : ",iommu=on"));
  }
  // A machine has a virtio-iommu when something is behind it.
  if (iommu == "virtio" && claim.devices.empty()) arguments.push_back("--rng=src=/dev/urandom,iommu=on");
  return arguments;
}

}  // namespace berth::agent
