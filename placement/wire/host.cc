#include "placement/wire/host.h"

#include "placement/wire/fields.h"
#include "placement/wire/limits.h"

namespace berth::wire {
namespace {

using placement::Cell;
using placement::CellUsage;
using placement::Device;
using placement::DeviceType;
using placement::HostReport;
using placement::PagePool;

void CellToProto(const Cell& cell, v1::Cell* out) {
  out->set_id(cell.id);
  if (cell.socket) out->set_socket(*cell.socket);
  out->set_shared_cpus(cell.shared_cpus.ToString());
  out->set_dedicated_cpus(cell.dedicated_cpus.ToString());
  for (const CpuSet& core : cell.siblings) out->add_siblings(core.ToString());
  out->set_memory_bytes(cell.memory_bytes);
  for (const PagePool& pool : cell.pages) {
    v1::PagePool* to = out->add_pages();
    to->set_size_bytes(pool.size_bytes);
    to->set_total(pool.total);
    to->set_reserved(pool.reserved);
  }
  for (uint32_t distance : cell.distances) out->add_distances(distance);
  out->set_secure_memory_bytes(cell.secure_memory_bytes);
}

void CellUsageToProto(const CellUsage& usage, v1::Cell* out) {
  v1::CellUsage* to = out->mutable_usage();
  to->set_pinned_cpus(usage.pinned_cpus.ToString());
  to->set_shared_vcpus(usage.shared_vcpus);
  to->set_memory_bytes(usage.memory_bytes);
  to->set_secure_memory_bytes(usage.secure_memory_bytes);
  for (v1::PagePool& pool : *out->mutable_pages()) {
    auto used = usage.used_pages.find(pool.size_bytes());
    if (used != usage.used_pages.end()) pool.set_used(used->second);
  }
}

v1::DeviceType TypeToProto(DeviceType type) {
  switch (type) {
    case DeviceType::kPci:
      return v1::DEVICE_TYPE_PCI;
    case DeviceType::kPf:
      return v1::DEVICE_TYPE_PF;
    case DeviceType::kVf:
      return v1::DEVICE_TYPE_VF;
  }
  return v1::DEVICE_TYPE_UNSPECIFIED;
}

Result<DeviceType> TypeFromProto(v1::DeviceType type, const std::string& field) {
  switch (type) {
    case v1::DEVICE_TYPE_PCI:
      return DeviceType::kPci;
    case v1::DEVICE_TYPE_PF:
      return DeviceType::kPf;
    case v1::DEVICE_TYPE_VF:
      return DeviceType::kVf;
    default:
      return InvalidArgument("device type " + std::to_string(static_cast<int>(type)) + " is unknown", field,
                             "DEVICE_TYPE_PCI, DEVICE_TYPE_PF or DEVICE_TYPE_VF");
  }
}

Result<Cell> CellFromProto(const v1::Cell& in, const std::string& at) {
  Cell cell;
  cell.id = in.id();
  if (in.has_socket()) cell.socket = in.socket();
  TRY_ASSIGN(cell.shared_cpus, ReadCpus(in.shared_cpus(), at + ".shared_cpus"));
  TRY_ASSIGN(cell.dedicated_cpus, ReadCpus(in.dedicated_cpus(), at + ".dedicated_cpus"));
  TRY(CheckCount(in.siblings_size(), kMaxCores, "cores", at + ".siblings"));
  cell.siblings.Own().reserve(static_cast<size_t>(in.siblings_size()));
  for (int i = 0; i < in.siblings_size(); ++i) {
    TRY_ASSIGN(CpuSet core, ReadCpus(in.siblings(i), at + "." + Indexed("siblings", i)));
    cell.siblings.push_back(std::move(core));
  }
  cell.memory_bytes = in.memory_bytes();
  TRY(CheckCount(in.pages_size(), kMaxPagePools, "page sizes", at + ".pages"));
  for (const v1::PagePool& pool : in.pages()) {
    cell.pages.push_back(
        {.size_bytes = pool.size_bytes(), .total = pool.total(), .reserved = pool.reserved()});
  }
  TRY(CheckCount(in.distances_size(), kMaxHostCells, "distances", at + ".distances"));
  cell.distances.assign(in.distances().begin(), in.distances().end());
  cell.secure_memory_bytes = in.secure_memory_bytes();
  return cell;
}

Result<std::vector<std::string>> ReadNames(const google::protobuf::RepeatedPtrField<std::string>& in,
                                           const std::string& at) {
  TRY(CheckCount(in.size(), kMaxTraits, "entries", at));
  std::vector<std::string> names;
  for (int i = 0; i < in.size(); ++i) {
    TRY_ASSIGN(std::string name, ReadName(in.Get(i), Indexed(at, i)));
    names.push_back(std::move(name));
  }
  return names;
}

Status DevicesFromProto(const v1::Host& in, HostReport& host) {
  TRY(CheckCount(in.devices_size(), kMaxDevices, "devices", "devices"));
  host.devices.reserve(static_cast<size_t>(in.devices_size()));
  for (int i = 0; i < in.devices_size(); ++i) {
    TRY_ASSIGN(Device device, DeviceFromProto(in.devices(i), Indexed("devices", i)));
    host.devices.push_back(std::move(device));
  }
  return OkStatus();
}

Status CellsFromProto(const v1::Host& in, HostReport& host) {
  TRY(CheckCount(in.cells_size(), kMaxHostCells, "cells", "cells"));
  int cores = 0;
  for (const v1::Cell& cell : in.cells()) {
    TRY(CheckCount(cell.siblings_size(), kMaxCores - cores, "more cores", "cells"));
    cores += cell.siblings_size();
  }
  for (int i = 0; i < in.cells_size(); ++i) {
    TRY_ASSIGN(Cell cell, CellFromProto(in.cells(i), Indexed("cells", i)));
    host.cells.push_back(std::move(cell));
  }
  return OkStatus();
}

}  // namespace

void DeviceToProto(const Device& device, v1::Device* out) {
  out->Clear();
  out->set_address(device.address.ToString());
  out->set_vendor_id(device.vendor_id);
  out->set_product_id(device.product_id);
  out->set_class_code(device.class_code);
  out->set_type(TypeToProto(device.type));
  if (device.parent) out->set_parent(device.parent->ToString());
  if (device.numa_node) out->set_numa_node(*device.numa_node);
  if (device.iommu_group) out->set_iommu_group(*device.iommu_group);
  out->set_driver(device.driver);
  out->set_assignable(device.assignable);
  if (device.physical_network) out->set_physical_network(*device.physical_network);
  if (device.trusted) out->set_trusted(*device.trusted);
  if (device.remote_managed) out->set_remote_managed(*device.remote_managed);
  out->set_resource_class(device.resource_class);
  for (const std::string& trait : device.traits) out->add_traits(trait);
  for (const std::string& domain : device.domains) out->add_domains(domain);
}

void HostToProto(const HostReport& host, v1::Host* out) {
  out->Clear();
  out->set_uuid(host.uuid.ToString());
  out->set_name(host.name);
  out->set_agent_endpoint(host.agent_endpoint);
  out->set_kernel_release(host.kernel_release);
  out->set_os_name(host.os_name);
  out->set_can_run_guests(host.can_run_guests);
  out->set_cpu_allocation_ratio(host.cpu_allocation_ratio);
  out->set_ram_allocation_ratio(host.ram_allocation_ratio);
  for (const Cell& cell : host.cells) CellToProto(cell, out->add_cells());
  for (const Device& device : host.devices) DeviceToProto(device, out->add_devices());
  for (const std::string& warning : host.warnings) out->add_warnings(warning);
  out->set_disk_bytes(host.disk_bytes);
}

void HostToProto(const HostReport& host, const placement::HostUsage& usage, uint64_t generation,
                 v1::Host* out) {
  HostToProto(host, out);
  out->set_generation(generation);
  out->set_floating_vcpus(usage.floating_vcpus);
  out->set_floating_memory_bytes(usage.floating_memory_bytes);
  out->set_disk_used_bytes(usage.disk_bytes);
  for (v1::Cell& cell : *out->mutable_cells()) {
    auto used = usage.cells.find(cell.id());
    CellUsageToProto(used == usage.cells.end() ? CellUsage{} : used->second, &cell);
  }
  if (usage.devices.empty()) return;
  std::set<PciAddress> blocked = placement::BlockedDevices(host, usage);
  for (size_t i = 0; i < host.devices.size(); ++i) {
    v1::Device* device = out->mutable_devices(static_cast<int>(i));
    auto holder = usage.devices.find(host.devices[i].address);
    if (holder != usage.devices.end()) {
      device->set_consumer(holder->second.ToString());
    } else {
      device->set_blocked(blocked.contains(host.devices[i].address));
    }
  }
}

Result<Device> DeviceFromProto(const v1::Device& in, const std::string& at) {
  Device device;
  TRY_ASSIGN(device.address, ReadAddress(in.address(), at + ".address"));
  TRY_ASSIGN(device.vendor_id, ReadText(in.vendor_id(), 4, at + ".vendor_id"));
  TRY_ASSIGN(device.product_id, ReadText(in.product_id(), 4, at + ".product_id"));
  device.class_code = in.class_code();
  TRY_ASSIGN(device.type, TypeFromProto(in.type(), at + ".type"));
  if (!in.parent().empty()) {
    TRY_ASSIGN(device.parent, ReadAddress(in.parent(), at + ".parent"));
  }
  if (in.has_numa_node()) device.numa_node = in.numa_node();
  if (in.has_iommu_group()) device.iommu_group = in.iommu_group();
  TRY_ASSIGN(device.driver, ReadText(in.driver(), kMaxName, at + ".driver"));
  device.assignable = in.assignable();
  if (in.has_physical_network()) {
    TRY_ASSIGN(device.physical_network, ReadText(in.physical_network(), kMaxName, at + ".physical_network"));
  }
  if (in.has_trusted()) device.trusted = in.trusted();
  if (in.has_remote_managed()) device.remote_managed = in.remote_managed();
  TRY_ASSIGN(device.resource_class, ReadText(in.resource_class(), kMaxName, at + ".resource_class"));
  TRY_ASSIGN(device.traits, ReadNames(in.traits(), at + ".traits"));
  TRY_ASSIGN(device.domains, ReadNames(in.domains(), at + ".domains"));
  return device;
}

Result<HostReport> HostFromProto(const v1::Host& in) {
  HostReport host;
  TRY_ASSIGN(host.uuid, ReadUuid(in.uuid(), "uuid"));
  TRY_ASSIGN(host.name, ReadName(in.name(), "name"));
  TRY_ASSIGN(host.agent_endpoint, ReadText(in.agent_endpoint(), kMaxText, "agent_endpoint"));
  TRY_ASSIGN(host.kernel_release, ReadText(in.kernel_release(), kMaxText, "kernel_release"));
  TRY_ASSIGN(host.os_name, ReadText(in.os_name(), kMaxText, "os_name"));
  host.can_run_guests = in.can_run_guests();
  host.cpu_allocation_ratio = in.cpu_allocation_ratio();
  host.ram_allocation_ratio = in.ram_allocation_ratio();
  host.disk_bytes = in.disk_bytes();
  TRY(CellsFromProto(in, host));
  TRY(DevicesFromProto(in, host));
  TRY(CheckCount(in.warnings_size(), kMaxWarnings, "warnings", "warnings"));
  for (int i = 0; i < in.warnings_size(); ++i) {
    TRY_ASSIGN(std::string warning, ReadText(in.warnings(i), kMaxText, Indexed("warnings", i)));
    host.warnings.push_back(std::move(warning));
  }
  return host;
}

}  // namespace berth::wire
