#include <algorithm>
#include <utility>

#include "vmm/kvm/vcpu_state.h"
#include "vmm/machine/board.h"

// What a board is, written down and taken up again.
namespace berth::vmm {
namespace {

// The state of a device that may not be there: whether it is, then its part.
template <class Device>
void SaveDevice(const char* name, const std::shared_ptr<Device>& device, StateWriter& out) {
  out.Put(device != nullptr);
  if (device != nullptr) out.PutPart(name, 1, [&device](StateWriter& part) { device->Save(part); });
}

template <class Device>
void LoadDevice(const char* name, const std::shared_ptr<Device>& device, StateReader& in) {
  const bool saved = in.Get<bool>();
  if (!in.ok()) return;
  if (saved != (device != nullptr)) {
    return in.Fail(InvalidArgument(std::string(name) + " is " + (saved ? "" : "not ") + "in the snapshot"));
  }
  if (!saved) return;
  StateReader part = in.GetPart(name, 1);
  device->Load(part);
  in.Leave(part);
}

}  // namespace

Status Board::Suspend() {
  if (intel_iommu_ != nullptr) {
    return FailedPrecondition("the state of an Intel IOMMU cannot be taken", "platform iommu_model");
  }
  return pci_->Suspend();
}

Status Board::Save(StateWriter& out) {
  std::vector<VcpuSnapshot> vcpus;
  for (const auto& vcpu : vcpus_) {
    TRY_ASSIGN(VcpuSnapshot saved, vcpu->Save());
    vcpus.push_back(std::move(saved));
  }
  TRY_ASSIGN(const uint64_t clock, vm_->GetClock());
  out.PutPart("places", 1, [this](StateWriter& part) { pci_->SavePlaces(part); });
  out.PutPart("vcpus", 1, [&vcpus](StateWriter& part) {
    part.Put(static_cast<uint32_t>(vcpus.size()));
    for (const VcpuSnapshot& vcpu : vcpus) SaveVcpu(vcpu, part);
  });
  out.PutPart("clock", 1, [clock](StateWriter& part) { part.Put(clock); });
  SaveDevice("ioapic", ioapic_, out);
  SaveDevice("ged", ged_, out);
  SaveDevice("pm-timer", pm_timer_, out);
  SaveDevice("rtc", rtc_, out);
  SaveDevice("cpu-hotplug", cpu_hotplug_, out);
  SaveDevice("memory-hotplug", memory_hotplug_, out);
  SaveDevice("serial", serial_, out);
  if (iommu_ != nullptr) {
    out.PutPart("iommu", 1, [this](StateWriter& part) { iommu_domains_->Save(part); });
  }
  out.PutPart("pci", 1, [this](StateWriter& part) { pci_->Save(part); });
  return OkStatus();
}

Status Board::RestoreVcpus(StateReader& in) {
  if (!saved_places_.empty()) {
    return InvalidArgument("device " + saved_places_.begin()->first +
                           " of the snapshot is not in the configuration");
  }
  StateReader part = in.GetPart("vcpus", 1);
  const uint32_t count = part.GetCount(static_cast<uint32_t>(topology_.vcpus.size()), 1);
  if (part.ok() && count == 0) part.Fail(InvalidArgument("no vCPU"));
  for (uint32_t id = 0; part.ok() && id < count; ++id) {
    const VcpuSnapshot saved = LoadVcpu(part);
    if (!part.ok()) break;
    if (id == 0) TRY(CheckCpuid(saved.cpuid, supported_cpuid_));
    TRY(CreateVcpu(id, &saved));
  }
  in.Leave(part);
  return in.status();
}

Status Board::Load(StateReader& in) {
  StateReader clock = in.GetPart("clock", 1);
  const auto nanoseconds = clock.Get<uint64_t>();
  in.Leave(clock);
  TRY(in.status());
  TRY(vm_->SetClock(nanoseconds));
  // The interrupt controller before those who raise its lines.
  LoadDevice("ioapic", ioapic_, in);
  LoadDevice("ged", ged_, in);
  LoadDevice("pm-timer", pm_timer_, in);
  LoadDevice("rtc", rtc_, in);
  LoadDevice("cpu-hotplug", cpu_hotplug_, in);
  for (uint32_t id = 0; in.ok() && id < topology_.vcpus.size(); ++id) {
    if (cpu_hotplug_->enabled(id) && id >= vcpus_.size()) {
      in.Fail(InvalidArgument("vCPU " + std::to_string(id) + " is there without a state"));
    }
  }
  LoadDevice("memory-hotplug", memory_hotplug_, in);
  LoadDevice("serial", serial_, in);
  if (in.ok() && iommu_ != nullptr) {
    // Before the devices, whose rings are found by its mappings.
    StateReader iommu = in.GetPart("iommu", 1);
    iommu_domains_->Load(iommu);
    in.Leave(iommu);
  }
  if (in.ok()) {
    StateReader pci = in.GetPart("pci", 1);
    pci_->Load(pci);
    in.Leave(pci);
  }
  return in.Finish();
}

}  // namespace berth::vmm
