#include <algorithm>

#include "common/log.h"
#include "vmm/vfio/interrupts.h"

namespace berth::vmm {
namespace {

constexpr uint16_t kEnable = 1;

}  // namespace

bool AssignedMsi::wanted() const {
  return (config_.Own16(config_.msi()->capability + 2u) & kEnable) != 0;
}

Status AssignedMsi::Update() {
  if (!wanted()) {
    Disable();
    return OkStatus();
  }
  const MsiLayout& layout = *config_.msi();
  const uint32_t exponent = config_.Own16(layout.capability + 2u) >> 4 & 7;
  const uint32_t vectors = std::min<uint32_t>(1u << exponent, layout.vectors);
  if (routes_.size() != vectors) {
    Disable();
    std::vector<int> events;
    std::vector<std::unique_ptr<MsiRoute>> routes(vectors);
    for (auto& route : routes) {
      TRY_ASSIGN(route, controller_.AllocateRoute());
      events.push_back(route->event_fd());
    }
    TRY(device_.SetTriggers(VFIO_PCI_MSI_IRQ_INDEX, 0, events));
    routes_ = std::move(routes);
  }
  return Program();
}

// PCI 3.0, 6.8.1.6: the device puts the vector's number into the low bits of the data.
Status AssignedMsi::Program() {
  const MsiLayout& layout = *config_.msi();
  MsiMessage message;
  message.address = config_.Own32(layout.capability + 4u);
  if (layout.wide) message.address |= uint64_t{config_.Own32(layout.capability + 8u)} << 32;
  const uint32_t data = config_.Own16(layout.data_offset()) & ~(static_cast<uint32_t>(routes_.size()) - 1);
  const uint32_t masked = layout.maskable ? config_.Own32(layout.mask_offset()) : 0;
  for (uint32_t vector = 0; vector < routes_.size(); ++vector) {
    message.data = data | vector;
    TRY(routes_[vector]->Set(message));
    TRY(routes_[vector]->SetMasked((masked >> vector & 1) != 0));
  }
  return OkStatus();
}

void AssignedMsi::Disable() {
  if (routes_.empty()) return;
  if (Status status = device_.DisableIrqs(VFIO_PCI_MSI_IRQ_INDEX); !status.ok()) {
    LOG(kWarning, "vfio_msi_not_disabled", {{"device", device_.address()}, {"error", status}});
  }
  routes_.clear();
}

uint32_t AssignedMsi::Pending() const {
  uint32_t bits = 0;
  for (uint32_t vector = 0; vector < routes_.size(); ++vector) {
    if (InterruptWaits(*routes_[vector])) bits |= 1u << vector;
  }
  return bits;
}

}  // namespace berth::vmm
