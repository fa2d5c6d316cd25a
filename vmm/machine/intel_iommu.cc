#include "vmm/machine/intel_iommu.h"

#include <string>
#include <utility>

#include "common/log.h"
#include "vmm/bus/layout.h"

namespace berth::vmm {
namespace {

constexpr uint32_t kNarrow = 39, kWide = 48;

bool Reaches(uint64_t last_address, uint32_t width) {
  return last_address >= (uint64_t{1} << width) - 1;
}

}  // namespace

Result<uint32_t> ChooseIntelWidth(const PlatformConfig& platform, uint64_t last_address) {
  const uint32_t wanted =
      platform.iommu_address_width.value_or(Reaches(last_address, kWide) ? kWide : kNarrow);
  if (Reaches(last_address, wanted)) return wanted;
  return FailedPrecondition("the host's IOMMU maps addresses up to " + std::to_string(last_address) +
                                " for the assigned devices, which is less than the " +
                                std::to_string(wanted) + " bits that the guest's would have",
                            "platform iommu_address_width",
                            Reaches(last_address, kNarrow) ? "39 bits fit" : "use iommu_model=virtio");
}

uint64_t IntelIommu::RegistersOf(uint32_t segment) {
  return layout::kVtdBase + segment * vtd::kUnitSize;
}

Result<std::unique_ptr<IntelIommu>> IntelIommu::Create(const Parts& parts, uint32_t segments, Bus& mmio) {
  std::unique_ptr<IntelIommu> iommu(new IntelIommu(parts.address_width));
  for (uint32_t segment = 0; segment < segments; ++segment) {
    vtd::Unit::Options options;
    options.limits = {parts.address_width, parts.physical_bits};
    options.segment = segment;
    options.extended_interrupts = parts.extended_interrupts;
    vtd::Unit::Hooks hooks;
    hooks.deliver = [vm = parts.vm](const MsiMessage& message) {
      // What no local APIC takes is the guest's mistake.
      if (Status status = vm->SignalMsi(message); !status.ok()) {
        LOG(kDebug, "interrupt_delivery_failed", {{"error", status}});
      }
    };
    hooks.on_fault = parts.on_fault;
    if (segment == 0)
      hooks.on_interrupts_changed = [ioapic = parts.ioapic.get()] { ioapic->RefreshRoutes(); };
    auto unit = std::make_shared<vtd::Unit>(*parts.domains, *parts.memory, *parts.interrupts, options,
                                            std::move(hooks));
    TRY(mmio.Insert(RegistersOf(segment), vtd::kUnitSize, unit, "vtd" + std::to_string(segment)));
    iommu->units_.push_back(std::move(unit));
  }
  parts.ioapic->SetRemap(
      [&remapper = iommu->units_.front()->remapper()](const MsiMessage& message, bool report) {
        return remapper.Remap(vtd::kIoApicSource, message, report);
      });
  return iommu;
}

std::shared_ptr<MsiController> IntelIommu::MakeInterrupts(uint32_t segment) {
  return segment < units_.size() ? units_[segment]->MakeFunction() : nullptr;
}

std::shared_ptr<PciFunction> IntelIommu::Keep(std::shared_ptr<PciFunction> function,
                                              std::shared_ptr<MsiController> interrupts) {
  struct Both {
    std::shared_ptr<MsiController> interrupts;
    std::shared_ptr<PciFunction> function;  // ends first
  };
  auto both = std::make_shared<Both>(Both{std::move(interrupts), std::move(function)});
  PciFunction* kept = both->function.get();
  return {std::move(both), kept};
}

void IntelIommu::Placed(MsiController& interrupts, const PciPlace& place) {
  auto* function = dynamic_cast<vtd::RemappedRoutes::Function*>(&interrupts);
  CHECK(function != nullptr);
  function->SetSource(place.function());
}

uint64_t IntelIommu::faults() const {
  uint64_t sum = 0;
  for (const auto& unit : units_) sum += unit->faults();
  return sum;
}

uint64_t IntelIommu::pages_not_mapped() const {
  uint64_t sum = 0;
  for (const auto& unit : units_) sum += unit->pages_not_mapped();
  return sum;
}

}  // namespace berth::vmm
