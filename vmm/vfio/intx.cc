#include <sys/epoll.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "common/log.h"
#include "vmm/vfio/interrupts.h"

namespace berth::vmm {

Result<std::unique_ptr<AssignedIntx>> AssignedIntx::Create(VfioDevice& device, EventLoop& loop,
                                                           const ConnectLine& connect) {
  std::unique_ptr<AssignedIntx> intx(new AssignedIntx(device, loop));
  intx->event_.reset(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!intx->event_.valid()) return ErrnoStatus("eventfd of an interrupt line", errno);
  intx->line_ = connect([self = intx.get()] { self->Ended(); });
  TRY(loop.Add(intx->event_.get(), EPOLLIN, [self = intx.get()](uint32_t) { self->Fired(); }));
  return intx;
}

AssignedIntx::~AssignedIntx() {
  Disable();
  loop_.Remove(event_.get());
}

void AssignedIntx::Enable() {
  if (enabled_.exchange(true)) return;
  const int fd = event_.get();
  if (Status status = device_.SetTriggers(VFIO_PCI_INTX_IRQ_INDEX, 0, {&fd, 1}); !status.ok()) {
    enabled_ = false;
    LOG(kError, "vfio_intx_failed", {{"device", device_.address()}, {"error", status}});
  }
}

void AssignedIntx::Disable() {
  if (!enabled_.exchange(false)) return;
  if (Status status = device_.DisableIrqs(VFIO_PCI_INTX_IRQ_INDEX); !status.ok()) {
    LOG(kWarning, "vfio_intx_not_disabled", {{"device", device_.address()}, {"error", status}});
  }
  line_->SetLevel(false);
}

void AssignedIntx::Fired() {
  uint64_t count;
  if (::read(event_.get(), &count, sizeof count) != sizeof count) return;
  if (enabled_) line_->SetLevel(true);
}

void AssignedIntx::Ended() {
  if (!line_) return;  // another device of the pin, while this one is being made
  line_->SetLevel(false);
  if (!enabled_) return;
  if (Status status = device_.UnmaskIntx(); !status.ok()) {
    LOG(kWarning, "vfio_intx_not_unmasked", {{"device", device_.address()}, {"error", status}});
  }
}

}  // namespace berth::vmm
