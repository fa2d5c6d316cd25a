#include "vmm/virtio/net_control.h"

#include <sys/epoll.h>

#include <utility>

#include "vmm/virtio/event_fd.h"
#include "vmm/virtio/serve_queue.h"

namespace berth::vmm {
namespace {

constexpr uint8_t kAck = 0;
constexpr uint8_t kError = 1;
constexpr uint8_t kClassMultiQueue = 4;
constexpr uint8_t kSetPairs = 0;
constexpr uint8_t kClassOffloads = 5;
constexpr uint8_t kSetOffloads = 0;
constexpr size_t kCommandHeader = 2;
constexpr uint32_t kBudget = 16;

}  // namespace

Status NetControl::Start(VirtioActivation& activation, size_t pairs) {
  const bool wanted = (activation.features & kNetControlQueue) != 0;
  if ((activation.features & kNetMultiQueue) && !wanted) {
    return InvalidArgument("the driver wants several pairs of queues without a control queue");
  }
  const size_t queue = QueueIndex(activation.features, pairs);
  if (!wanted || !activation.queues[queue].ring) return OkStatus();
  active_ = &activation;
  queue_ = queue;
  Status added = loop_.Add(activation.queues[queue].kick_fd, EPOLLIN, [this](uint32_t) { Serve(); });
  if (!added.ok()) active_ = nullptr;
  return added;
}

void NetControl::Stop() {
  if (active_ == nullptr) return;
  loop_.Remove(active_->queues[queue_].kick_fd);
  active_ = nullptr;
}

void NetControl::Serve() {
  const int kick = active_->queues[queue_].kick_fd;
  DrainEvent(kick);
  auto more = ServeQueue(
      *active_->queues[queue_].ring, chain_, kBudget,
      [this](const DescriptorChain& chain) -> Result<uint32_t> {
        if (chain.writable.size() == 0) return InvalidArgument("network command without room for its answer");
        return Command(chain);
      },
      [this] { active_->interrupt->SignalQueue(static_cast<uint16_t>(queue_)); });
  if (!more) {
    loop_.Remove(kick);
    return active_->interrupt->Fail(more.error());
  }
  if (*more) SignalEvent(kick);
}

uint32_t NetControl::Command(const DescriptorChain& chain) {
  uint8_t header[kCommandHeader] = {};
  const bool whole = chain.readable.CopyOut(0, header) == sizeof header;
  const uint8_t answer = whole && Execute(header[0], header[1], chain.readable) ? kAck : kError;
  return static_cast<uint32_t>(chain.writable.CopyIn(0, {&answer, 1}));
}

bool NetControl::Execute(uint8_t kind, uint8_t command, const ByteList& request) {
  const auto read = [&request](auto& value) {
    return request.CopyOut(kCommandHeader, {reinterpret_cast<uint8_t*>(&value), sizeof value}) ==
           sizeof value;
  };
  if (kind == kClassMultiQueue && command == kSetPairs && (active_->features & kNetMultiQueue)) {
    uint16_t pairs = 0;
    return read(pairs) && handlers_.set_pairs(pairs);
  }
  if (kind == kClassOffloads && command == kSetOffloads && (active_->features & kNetControlGuestOffloads)) {
    uint64_t offloads = 0;
    return read(offloads) && handlers_.set_offloads(offloads);
  }
  return false;
}

}  // namespace berth::vmm
