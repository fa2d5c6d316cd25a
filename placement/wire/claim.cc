#include "placement/wire/claim.h"

#include "placement/wire/fields.h"
#include "placement/wire/limits.h"
#include "placement/wire/port_settings.h"

namespace berth::wire {
namespace {

using placement::CellBinding;
using placement::Claim;
using placement::ClaimPhase;
using placement::DeviceBinding;
using placement::InstanceSpec;
using placement::InstanceState;
using placement::InstanceStatus;

void CellToProto(const CellBinding& cell, v1::CellBinding* out) {
  out->set_guest_cell(cell.guest_cell);
  out->set_host_cell(cell.host_cell);
  out->set_vcpus(cell.vcpus.ToString());
  for (const auto& [guest, host] : cell.pinning) {
    v1::Pin* pin = out->add_pinning();
    pin->set_guest(guest);
    pin->set_host(host);
  }
  out->set_reserved(cell.reserved.ToString());
  out->set_memory_bytes(cell.memory_bytes);
  out->set_page_size_bytes(cell.page_size_bytes);
  out->set_secure(cell.secure);
  out->set_swiotlb_bytes(cell.swiotlb_bytes);
}

void SpecToProto(const InstanceSpec& spec, v1::InstanceSpec* out) {
  out->set_flavor(spec.flavor);
  out->set_vcpus(spec.vcpus);
  out->set_memory_bytes(spec.memory_bytes);
  out->set_kernel(spec.kernel);
  out->set_initramfs(spec.initramfs);
  out->set_cmdline(spec.cmdline);
  for (const std::string& disk : spec.disks) out->add_disks(disk);
  for (const std::string& net : spec.nets) out->add_nets(net);
  out->set_disk_bytes(spec.disk_bytes);
  out->set_viommu(spec.viommu);
}

Result<CellBinding> CellFromProto(const v1::CellBinding& in, const std::string& at) {
  CellBinding cell;
  cell.guest_cell = in.guest_cell();
  cell.host_cell = in.host_cell();
  TRY_ASSIGN(cell.vcpus, ReadCpus(in.vcpus(), at + ".vcpus"));
  TRY(CheckCount(in.pinning_size(), kMaxPins, "pins", at + ".pinning"));
  cell.pinning.reserve(static_cast<size_t>(in.pinning_size()));
  for (int i = 0; i < in.pinning_size(); ++i) {
    const v1::Pin& pin = in.pinning(i);
    if (pin.guest() > CpuSet::kMaxCpu || pin.host() > CpuSet::kMaxCpu) {
      return InvalidArgument("pin of guest CPU " + std::to_string(pin.guest()) + " to host CPU " +
                                 std::to_string(pin.host()) + " is out of range",
                             at + "." + Indexed("pinning", i), "allowed: 0..65535");
    }
    cell.pinning.emplace_back(pin.guest(), pin.host());
  }
  TRY_ASSIGN(cell.reserved, ReadCpus(in.reserved(), at + ".reserved"));
  cell.memory_bytes = in.memory_bytes();
  cell.page_size_bytes = in.page_size_bytes();
  cell.secure = in.secure();
  cell.swiotlb_bytes = in.swiotlb_bytes();
  return cell;
}

Result<std::vector<std::string>> ReadOptions(const google::protobuf::RepeatedPtrField<std::string>& in,
                                             const std::string& at) {
  TRY(CheckCount(in.size(), kMaxOptions, "entries", at));
  std::vector<std::string> options;
  for (int i = 0; i < in.size(); ++i) {
    TRY_ASSIGN(std::string option, ReadText(in.Get(i), kMaxText, Indexed(at, i)));
    options.push_back(std::move(option));
  }
  return options;
}

Result<InstanceSpec> SpecFromProto(const v1::InstanceSpec& in) {
  InstanceSpec spec;
  TRY_ASSIGN(spec.flavor, ReadText(in.flavor(), kMaxName, "spec.flavor"));
  spec.vcpus = in.vcpus();
  spec.memory_bytes = in.memory_bytes();
  TRY_ASSIGN(spec.kernel, ReadText(in.kernel(), kMaxText, "spec.kernel"));
  TRY_ASSIGN(spec.initramfs, ReadText(in.initramfs(), kMaxText, "spec.initramfs"));
  TRY_ASSIGN(spec.cmdline, ReadText(in.cmdline(), kMaxText, "spec.cmdline"));
  TRY_ASSIGN(spec.disks, ReadOptions(in.disks(), "spec.disks"));
  TRY_ASSIGN(spec.nets, ReadOptions(in.nets(), "spec.nets"));
  spec.disk_bytes = in.disk_bytes();
  TRY_ASSIGN(spec.viommu, ReadText(in.viommu(), kMaxName, "spec.viommu"));
  return spec;
}

Result<ClaimPhase> PhaseFromProto(v1::ClaimPhase phase) {
  switch (phase) {
    case v1::CLAIM_PHASE_UNSPECIFIED:
    case v1::CLAIM_PHASE_ACTIVE:
      return ClaimPhase::kActive;
    case v1::CLAIM_PHASE_RELEASING:
      return ClaimPhase::kReleasing;
    default:
      return InvalidArgument("claim phase " + std::to_string(static_cast<int>(phase)) + " is unknown",
                             "phase");
  }
}

}  // namespace

void ServerGroupToProto(const placement::ServerGroup& group, v1::ServerGroup* out) {
  out->set_name(group.name);
  // GROUP_POLICY_AFFINITY = 1 stands for kAffinity = 0, and so on in the same order.
  out->set_policy(static_cast<v1::GroupPolicy>(static_cast<int>(group.policy) + 1));
  out->set_max_per_host(group.max_per_host);
}

Result<placement::ServerGroup> ServerGroupFromProto(const v1::ServerGroup& in, const std::string& at) {
  placement::ServerGroup group;
  TRY_ASSIGN(group.name, ReadName(in.name(), at + ".name"));
  int policy = in.policy();
  if (policy < v1::GROUP_POLICY_AFFINITY || policy > v1::GROUP_POLICY_SOFT_ANTI_AFFINITY) {
    return InvalidArgument("policy " + std::to_string(policy) + " is unknown", at + ".policy",
                           "affinity, anti-affinity, soft-affinity or soft-anti-affinity");
  }
  group.policy = static_cast<placement::ServerGroupPolicy>(policy - 1);
  if (in.max_per_host() > kMaxPerHost) {
    return InvalidArgument("max_per_host is " + std::to_string(in.max_per_host()), at + ".max_per_host",
                           "allowed: 1.." + std::to_string(kMaxPerHost) + ", or 0 for 1");
  }
  if (in.max_per_host() > 0) group.max_per_host = in.max_per_host();
  return group;
}

void DeviceBindingToProto(const DeviceBinding& device, v1::DeviceBinding* out) {
  out->set_request(device.request);
  out->set_address(device.address.ToString());
  out->set_alias(device.alias);
  if (device.numa_node) out->set_numa_node(*device.numa_node);
  if (device.port.any()) PortSettingsToProto(device.port, out->mutable_port());
  out->set_leaving(device.leaving);
}

Result<DeviceBinding> DeviceBindingFromProto(const v1::DeviceBinding& in, const std::string& at) {
  DeviceBinding device;
  device.request = in.request();
  TRY_ASSIGN(device.address, ReadAddress(in.address(), at + ".address"));
  TRY_ASSIGN(device.alias, ReadText(in.alias(), kMaxName, at + ".alias"));
  if (in.has_numa_node()) device.numa_node = in.numa_node();
  TRY(PortSettingsFromProto(in.port(), at + ".port", device.port));
  device.leaving = in.leaving();
  return device;
}

void InstanceStatusToProto(const InstanceStatus& status, v1::InstanceStatus* out) {
  // INSTANCE_STATE_PENDING = 1 stands for kPending = 0, and so on in the same order.
  out->set_state(static_cast<v1::InstanceState>(static_cast<int>(status.state) + 1));
  out->set_detail(status.detail);
  out->set_observed_at_ms(status.observed_at_ms);
}

void ClaimToProto(const Claim& claim, v1::Claim* out) {
  out->Clear();
  out->set_consumer(claim.consumer.ToString());
  out->set_name(claim.name);
  out->set_host(claim.host.ToString());
  out->set_phase(claim.phase == ClaimPhase::kActive ? v1::CLAIM_PHASE_ACTIVE : v1::CLAIM_PHASE_RELEASING);
  for (const CellBinding& cell : claim.cells) CellToProto(cell, out->add_cells());
  for (const DeviceBinding& device : claim.devices) DeviceBindingToProto(device, out->add_devices());
  SpecToProto(claim.spec, out->mutable_spec());
  InstanceStatusToProto(claim.status, out->mutable_status());
  out->set_created_at_ms(claim.created_at_ms);
  out->set_external(claim.external);
  if (claim.group) ServerGroupToProto(*claim.group, out->mutable_group());
  if (!claim.reserved_for.is_nil()) out->set_reserved_for(claim.reserved_for.ToString());
  out->set_swapped(claim.swapped);
  out->set_stays_stopped(claim.stays_stopped);
}

Result<InstanceStatus> InstanceStatusFromProto(const v1::InstanceStatus& in, const std::string& at) {
  InstanceStatus status;
  int state = in.state();
  if (state < 0 || state > v1::INSTANCE_STATE_PAUSED) {
    return InvalidArgument("instance state " + std::to_string(state) + " is unknown", at + ".state");
  }
  if (state > 0) status.state = static_cast<InstanceState>(state - 1);
  TRY_ASSIGN(status.detail, ReadText(in.detail(), kMaxText, at + ".detail"));
  status.observed_at_ms = in.observed_at_ms();
  return status;
}

Result<Claim> ClaimFromProto(const v1::Claim& in) {
  Claim claim;
  TRY_ASSIGN(claim.consumer, ReadUuid(in.consumer(), "consumer"));
  TRY_ASSIGN(claim.name, ReadName(in.name(), "name"));
  TRY_ASSIGN(claim.host, ReadUuid(in.host(), "host"));
  TRY_ASSIGN(claim.phase, PhaseFromProto(in.phase()));
  TRY(CheckCount(in.cells_size(), kMaxGuestCells, "guest cells", "cells"));
  for (int i = 0; i < in.cells_size(); ++i) {
    TRY_ASSIGN(CellBinding cell, CellFromProto(in.cells(i), Indexed("cells", i)));
    claim.cells.push_back(std::move(cell));
  }
  TRY(CheckCount(in.devices_size(), kMaxClaimDevices, "devices", "devices"));
  for (int i = 0; i < in.devices_size(); ++i) {
    TRY_ASSIGN(DeviceBinding device, DeviceBindingFromProto(in.devices(i), Indexed("devices", i)));
    claim.devices.push_back(std::move(device));
  }
  TRY_ASSIGN(claim.spec, SpecFromProto(in.spec()));
  TRY_ASSIGN(claim.status, InstanceStatusFromProto(in.status(), "status"));
  claim.created_at_ms = in.created_at_ms();
  claim.external = in.external();
  if (in.has_group()) {
    TRY_ASSIGN(claim.group, ServerGroupFromProto(in.group(), "group"));
  }
  if (!in.reserved_for().empty()) {
    TRY_ASSIGN(claim.reserved_for, ReadUuid(in.reserved_for(), "reserved_for"));
  }
  claim.swapped = in.swapped();
  claim.stays_stopped = in.stays_stopped();
  return claim;
}

}  // namespace berth::wire
