#include "vmm/vfio/vfio_function.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "common/log.h"

namespace berth::vmm {
namespace {

bool Touches(uint32_t offset, size_t size, uint32_t at, uint32_t length) {
  return offset < at + length && at < offset + size;
}

}  // namespace

Result<std::shared_ptr<VfioFunction>> VfioFunction::Create(std::shared_ptr<VfioDevice> device, std::string id,
                                                           const VfioParts& parts) {
  std::shared_ptr<VfioFunction> function(new VfioFunction(std::move(device), std::move(id), parts));
  TRY_ASSIGN(function->config_, AssignedConfig::Create(*function->device_, parts.lines));
  Status restarted;
  function->ThroughGate([&] { restarted = function->config_->Restart(); });
  TRY(std::move(restarted));
  if (function->config_->msi().has_value()) {
    function->msi_ = std::make_unique<AssignedMsi>(*function->device_, *parts.interrupts, *function->config_);
  }
  if (const auto& layout = function->config_->msix(); layout.has_value()) {
    function->msix_ = std::make_shared<AssignedMsix>(*function->device_, *parts.interrupts, layout->vectors);
  }
  TRY(function->AddBars());
  TRY(function->TellKvm());
  return function;
}

Status VfioFunction::TellKvm() {
  Status status = parts_.vm->AddVfioFile(device_->kvm_file());
  // Devices of one group share its file.
  known_to_kvm_ =
      status.ok() || (status.code() == StatusCode::kAlreadyExists && device_->kvm_file_is_shared());
  return known_to_kvm_ ? OkStatus() : status;
}

VfioFunction::~VfioFunction() {
  Unwatch(VFIO_PCI_ERR_IRQ_INDEX, error_event_);
  Unwatch(VFIO_PCI_REQ_IRQ_INDEX, wanted_event_);
  // A BAR that a vCPU is just reaching keeps the MSI-X table; its interrupts end now.
  if (msix_ != nullptr) msix_->SetControl(0);
  msi_.reset();
  intx_.reset();
  // Else KVM would keep a device open that was unplugged, or its group; a group goes with its last device.
  if (!known_to_kvm_ || device_->kvm_file_is_shared()) return;
  if (Status status = parts_.vm->RemoveVfioFile(device_->kvm_file()); !status.ok()) {
    LOG(kWarning, "vfio_file_not_released", {{"device", device_->address()}, {"error", status}});
  }
}

Status VfioFunction::AddBars() {
  const auto& msix = config_->msix();
  for (uint32_t index = 0; index < PciConfigSpace::kBars; ++index) {
    const auto bar = config_->header().bar(index);
    if (!bar.has_value()) continue;
    AssignedBar::MsixPart part;
    std::vector<VfioArea> trapped;
    if (msix.has_value() && msix->table_bar == index) {
      part.table = VfioArea{msix->table_offset, msix_->table_size()};
      trapped.push_back(*part.table);
    }
    if (msix.has_value() && msix->pba_bar == index) {
      part.pba = VfioArea{msix->pba_offset, msix_->pba_size()};
      trapped.push_back(*part.pba);
    }
    if (!trapped.empty()) part.msix = msix_;
    bars_[index] = std::make_shared<AssignedBar>(device_, index, std::move(part));
    if (bar->kind == BarKind::kIo) continue;
    const std::vector<VfioArea> areas = PagesWithout(device_->info().regions[index].mappable, trapped);
    TRY_ASSIGN(mappings_[index], BarMapping::Create(*device_, index, areas, *parts_.slots, parts_.peers));
  }
  return OkStatus();
}

Status VfioFunction::Start(const AssignedIntx::ConnectLine& connect, VfioEvents events) {
  events_ = std::move(events);
  if (config_->has_intx()) {
    TRY_ASSIGN(intx_, AssignedIntx::Create(*device_, *parts_.loop, connect));
    intx_->Enable();
  }
  TRY(Watch(VFIO_PCI_ERR_IRQ_INDEX, error_event_, [this] {
    LOG(kError, "vfio_device_failed", {{"id", id_}, {"device", device_->address()}});
    if (events_.on_error) events_.on_error(id_);
  }));
  return Watch(VFIO_PCI_REQ_IRQ_INDEX, wanted_event_, [this] {
    if (events_.on_wanted) events_.on_wanted(id_);
  });
}

Status VfioFunction::Watch(uint32_t irq_index, UniqueFd& event, std::function<void()> handle) {
  if (device_->info().irqs[irq_index].count == 0) return OkStatus();
  event.reset(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!event.valid()) return ErrnoStatus("eventfd of a VFIO event", errno);
  const int fd = event.get();
  TRY(parts_.loop->Add(fd, EPOLLIN, [fd, handle = std::move(handle)](uint32_t) {
    uint64_t count;
    if (::read(fd, &count, sizeof count) == sizeof count) handle();
  }));
  return device_->SetTriggers(irq_index, 0, {&fd, 1});
}

void VfioFunction::Unwatch(uint32_t irq_index, UniqueFd& event) {
  if (!event.valid()) return;
  static_cast<void>(device_->DisableIrqs(irq_index));  // it goes with the descriptor anyway
  parts_.loop->Remove(event.get());
  event.reset();
}

void VfioFunction::ReadConfig(uint32_t offset, std::span<uint8_t> data) {
  config_->Read(offset, data);
  const auto& msi = config_->msi();
  if (!msi.has_value() || !msi->maskable) return;
  const uint32_t at = msi->mask_offset() + 4;
  if (!Touches(offset, data.size(), at, 4)) return;
  const uint32_t pending = msi_->Pending();
  for (size_t i = 0; i < data.size(); ++i) {
    if (offset + i >= at && offset + i < at + 4) {
      data[i] = static_cast<uint8_t>(pending >> (offset + i - at) * 8);
    }
  }
}

void VfioFunction::ThroughGate(const std::function<void()>& change) {
  if (parts_.gate == nullptr) return change();
  parts_.gate->Change(device_.get(), [&] {
    change();
    return config_->header().bus_master();
  });
}

void VfioFunction::WriteConfig(uint32_t offset, std::span<const uint8_t> data) {
  if (Touches(offset, data.size(), PciConfigSpace::kCommand, 2)) {
    ThroughGate([&] { config_->Write(offset, data); });
  } else {
    config_->Write(offset, data);
  }
  const auto& msi = config_->msi();
  const auto& msix = config_->msix();
  const bool msi_written = msi.has_value() && Touches(offset, data.size(), msi->capability, msi->size());
  const bool msix_written = msix.has_value() && Touches(offset, data.size(), msix->capability, 4);
  if (msi_written || msix_written) SyncInterrupts(msi_written, msix_written);
}

// VFIO gives one kind of interrupt at a time: the one that is turned off goes first.
void VfioFunction::SyncInterrupts(bool msi_written, bool msix_written) {
  const bool msi_wanted = msi_ != nullptr && msi_->wanted();
  const uint16_t control = msix_ != nullptr ? config_->Own16(config_->msix()->capability + 2u) : uint16_t{0};
  const bool msix_wanted = (control & 1 << 15) != 0;
  if (msi_written && !msi_wanted) msi_->Disable();
  if (msix_written && !msix_wanted) msix_->SetControl(0);
  if ((msi_wanted || msix_wanted) && intx_ != nullptr) intx_->Disable();
  if (msi_written && msi_wanted) {
    if (Status status = msi_->Update(); !status.ok()) {
      LOG(kError, "vfio_msi_failed", {{"device", device_->address()}, {"error", status}});
    }
  }
  if (msix_written && msix_wanted) msix_->SetControl(control);
  if (!msi_wanted && !msix_wanted && intx_ != nullptr) intx_->Enable();
}

void VfioFunction::BarMoved(uint32_t index, std::optional<uint64_t> base) {
  if (mappings_.at(index) != nullptr) mappings_[index]->MoveTo(base);
}

uint64_t VfioFunction::mapped_bytes() const {
  uint64_t sum = 0;
  for (const auto& mapping : mappings_) sum += mapping != nullptr ? mapping->mapped_bytes() : 0;
  return sum;
}

uint64_t VfioFunction::peer_bytes() const {
  uint64_t sum = 0;
  for (const auto& mapping : mappings_) sum += mapping != nullptr ? mapping->peer_bytes() : 0;
  return sum;
}

}  // namespace berth::vmm
