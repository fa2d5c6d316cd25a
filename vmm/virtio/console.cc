#include "vmm/virtio/console.h"

#include <sys/epoll.h>

#include <algorithm>
#include <utility>

#include "vmm/virtio/event_fd.h"
#include "vmm/virtio/serve_queue.h"

namespace berth::vmm {
namespace {

constexpr uint16_t kQueueSizes[] = {128, 128};
constexpr uint32_t kBudget = 64;
constexpr uint64_t kChainMax = 64 << 10;  // bytes; other devices wait for the loop meanwhile

}  // namespace

std::shared_ptr<VirtioConsole> VirtioConsole::Create(std::shared_ptr<ConsoleSink> sink, EventLoop& loop) {
  return std::shared_ptr<VirtioConsole>(new VirtioConsole(std::move(sink), loop));
}

std::span<const uint16_t> VirtioConsole::queue_sizes() const {
  return kQueueSizes;
}

void VirtioConsole::ReadConfig(uint64_t, std::span<uint8_t> data) {
  std::fill(data.begin(), data.end(),
            uint8_t{0});  // size, number of ports and emergency write are not offered
}

Status VirtioConsole::Activate(VirtioActivation activation) {
  if (!activation.queues[kReceiveQueue].ring || !activation.queues[kTransmitQueue].ring) {
    return InvalidArgument("the driver has not enabled both queues");
  }
  const int receive = activation.queues[kReceiveQueue].kick_fd;
  const int transmit = activation.queues[kTransmitQueue].kick_fd;
  {
    std::lock_guard lock(mutex_);
    active_ = std::move(activation);
    failed_ = false;
  }
  Status added = loop_.Add(receive, EPOLLIN, [this](uint32_t) { BuffersCame(); });
  if (added.ok()) {
    added = loop_.Add(transmit, EPOLLIN, [this](uint32_t) { Transmit(); });
    if (!added.ok()) loop_.Remove(receive);
  }
  if (!added.ok()) {
    std::lock_guard lock(mutex_);
    active_.reset();
  }
  return added;
}

void VirtioConsole::Unwatch() {
  for (uint16_t queue : {kReceiveQueue, kTransmitQueue}) loop_.Remove(active_->queues[queue].kick_fd);
}

void VirtioConsole::Reset() {
  if (active_) static_cast<void>(Suspend());
}

Result<VirtioActivation> VirtioConsole::Suspend() {
  Unwatch();  // also after a failure: it waits for the callback that may still run
  std::lock_guard lock(mutex_);
  return *std::exchange(active_, std::nullopt);
}

void VirtioConsole::Fail(const Status& reason) {
  Unwatch();
  failed_ = true;
  active_->interrupt->Fail(reason);
}

void VirtioConsole::Transmit() {
  auto& [ring, kick] = active_->queues[kTransmitQueue];
  DrainEvent(kick);
  auto more = ServeQueue(
      *ring, chain_, kBudget,
      [this](const DescriptorChain& chain) -> Result<uint32_t> {
        if (chain.readable.size() > kChainMax) {
          return InvalidArgument("console output of " + std::to_string(chain.readable.size()) +
                                 " bytes at once, must be at most " + std::to_string(kChainMax));
        }
        uint8_t piece[512];
        for (uint64_t at = 0; at < chain.readable.size();) {
          const size_t count = chain.readable.CopyOut(at, piece);
          sink_->Write({piece, count});
          at += count;
        }
        return 0;
      },
      [this] { active_->interrupt->SignalQueue(kTransmitQueue); });
  if (!more) return Fail(more.error());
  if (*more) SignalEvent(kick);
}

void VirtioConsole::BuffersCame() {
  DrainEvent(active_->queues[kReceiveQueue].kick_fd);
  sink_->InputRoom();
}

size_t VirtioConsole::Receive(std::span<const uint8_t> data) {
  std::lock_guard lock(mutex_);
  if (!active_ || failed_) return 0;  // kept until there is a driver
  SplitQueue& ring = *active_->queues[kReceiveQueue].ring;
  size_t taken = 0;
  while (taken < data.size()) {
    Result<bool> popped = ring.Pop(chain_);
    if (!popped.has_value()) {
      Fail(popped.error());
      break;
    }
    if (!*popped) {
      // Asked once more: a buffer that came just now would not be notified.
      if (!ring.EnableNotifications()) break;
      continue;
    }
    const size_t count = chain_.writable.CopyIn(0, data.subspan(taken));
    ring.Push(chain_.head, static_cast<uint32_t>(count));
    taken += count;
    if (count == 0) break;
  }
  if (taken > 0 && !failed_ && ring.NeedsInterrupt()) active_->interrupt->SignalQueue(kReceiveQueue);
  return taken;
}

}  // namespace berth::vmm
