#include "vmm/virtio/net_lane.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/uio.h>
#include <unistd.h>

#include <string>
#include <utility>

#include "vmm/virtio/event_fd.h"
#include "vmm/virtio/net_control.h"
#include "vmm/virtio/serve_queue.h"

namespace berth::vmm {
namespace {

constexpr size_t kBufferCountAt = 10;  // num_buffers in the header
constexpr size_t kEthernetHeader = 14;
constexpr uint32_t kBudget = 256;     // packets before the loop's other devices have their turn
constexpr size_t kVectorsMax = 1024;  // IOV_MAX

}  // namespace

Result<std::unique_ptr<NetLane>> NetLane::Create(Tap tap, EventLoop& loop, NetCounters& counters,
                                                 const RateLimitSettings& limits) {
  std::unique_ptr<NetLane> self(new NetLane(std::move(tap), loop, counters));
  NetLane* raw = self.get();
  TRY_ASSIGN(self->receive_limit_, RateLimiter::Create(limits, loop, [raw] { raw->Receive(); }));
  TRY_ASSIGN(self->transmit_limit_, RateLimiter::Create(limits, loop, [raw] { raw->Transmit(); }));
  return self;
}

NetLane::NetLane(Tap tap, EventLoop& loop, NetCounters& counters)
    : tap_(std::move(tap)), loop_(loop), counters_(counters) {}

Status NetLane::Start(const Queues& queues) {
  queues_ = queues;
  packet_.resize(kPacketMax);
  packet_bytes_ = 0;
  packet_admitted_ = false;
  tap_watched_ = false;
  watched_ = true;
  stopping_ = false;
  Status watched = [this]() -> Status {
    TRY(loop_.Add(queues_.transmit->kick_fd, EPOLLIN, [this](uint32_t) { Transmit(); }));
    // The first notification of receive buffers starts the reading.
    return loop_.Add(queues_.receive->kick_fd, EPOLLIN, [this](uint32_t) {
      DrainEvent(queues_.receive->kick_fd);
      Receive();
    });
  }();
  if (!watched.ok()) Stop();
  return watched;
}

void NetLane::Unwatch() {
  stopping_ = true;  // no callback arms a rate limit's timer behind our back
  loop_.Remove(queues_.transmit->kick_fd);
  loop_.Remove(queues_.receive->kick_fd);
  for (RateLimiter* limit : {receive_limit_.get(), transmit_limit_.get()}) {
    if (limit != nullptr) limit->Pause();
  }
  // After the queues' callbacks are done none starts to watch the tap again.
  loop_.Remove(tap_.fd.get());
  tap_watched_ = false;
}

void NetLane::Stop() {
  if (!watched_) return;
  Unwatch();
  watched_ = false;
  queues_ = {};
}

void NetLane::Wake() {
  if (!stopping_) SignalEvent(queues_.receive->kick_fd);
}

void NetLane::Fail(const Status& reason) {
  Unwatch();
  queues_.interrupt->Fail(reason);
}

void NetLane::Transmit() {
  if (stopping_) return;
  const int kick = queues_.transmit->kick_fd;
  DrainEvent(kick);
  auto more = ServeQueue(
      *queues_.transmit->ring, chain_, kBudget,
      [this](const DescriptorChain& chain) -> Result<uint32_t> { return Send(chain); },
      [this] { queues_.interrupt->SignalQueue(static_cast<uint16_t>(queues_.index + 1)); },
      [this](const DescriptorChain& chain) {
        return transmit_limit_ == nullptr || transmit_limit_->Admit(chain.readable.size());
      });
  if (!more) return Fail(more.error());
  if (*more) SignalEvent(kick);
}

uint32_t NetLane::Send(const DescriptorChain& chain) {
  const uint64_t bytes = chain.readable.size();
  if (bytes < kVirtioNetHeaderBytes + kEthernetHeader || bytes > kPacketMax) return 0;
  buffers_.clear();
  chain.readable.AppendIovecs(0, bytes, buffers_);
  if (buffers_.size() > kVectorsMax) return 0;
  // The kernel checks header and packet itself. What it does not take is lost, as on any network.
  const ssize_t sent = writev(tap_.fd.get(), buffers_.data(), static_cast<int>(buffers_.size()));
  if (sent > 0) {
    counters_.tx_bytes += static_cast<uint64_t>(sent) - kVirtioNetHeaderBytes;
    ++counters_.tx_frames;
  }
  return 0;  // a transmitted buffer has nothing written to it
}

void NetLane::Receive() {
  if (stopping_) return;
  auto watch = ReceiveSome();
  if (!watch) return Fail(watch.error());
  WatchTap(*watch);
}

Result<bool> NetLane::ReceiveSome() {
  for (uint32_t i = 0; i < kBudget; ++i) {
    if (packet_bytes_ == 0) {
      const ssize_t count = read(tap_.fd.get(), packet_.data(), packet_.size());
      if (count < 0 && errno == EINTR) continue;
      // A packet that the kernel cannot put behind a header (tun_put_user: EINVAL), or has no memory for, is
      // lost alone.
      if (count < 0 && (errno == EINVAL || errno == ENOMEM || errno == ENOBUFS)) continue;
      if (count <= 0) return count < 0 && errno == EAGAIN;  // else the interface is gone
      if (count < kVirtioNetHeaderBytes) continue;
      packet_bytes_ = static_cast<size_t>(count);
      packet_admitted_ = receive_limit_ == nullptr;
    }
    // One packet waits here, the others in the tap.
    if (!packet_admitted_) packet_admitted_ = receive_limit_->Admit(packet_bytes_);
    if (!packet_admitted_) return false;
    TRY_ASSIGN(const bool delivered, Deliver());
    if (!delivered) return false;
    // At once: the driver looks at the first packet while the next ones are copied, and then asks for none.
    if (queues_.receive->ring->NeedsInterrupt()) queues_.interrupt->SignalQueue(queues_.index);
    counters_.rx_bytes += packet_bytes_ - kVirtioNetHeaderBytes;
    ++counters_.rx_frames;
    packet_bytes_ = 0;
  }
  return true;  // more may wait, and the tap, watched by level, brings us back
}

void NetLane::WatchTap(bool wanted) {
  if (wanted == tap_watched_) return;
  if (!wanted) {
    loop_.Remove(tap_.fd.get());
    tap_watched_ = false;
  } else {
    tap_watched_ = loop_.Add(tap_.fd.get(), EPOLLIN, [this](uint32_t) { Receive(); }).ok();
  }
}

Result<bool> NetLane::Deliver() {
  SplitQueue& queue = *queues_.receive->ring;
  queue.DisableNotifications();
  for (;;) {
    TRY_ASSIGN(const bool filled, FillBuffers());
    if (filled) break;
    // Ends, because each round sees more buffers than the one before, and the queue holds so many.
    if (!queue.EnableNotifications(static_cast<uint16_t>(used_.size()))) return false;
  }
  queue.PushAll(used_);
  return true;
}

Result<bool> NetLane::FillBuffers() {
  SplitQueue& queue = *queues_.receive->ring;
  const bool merge = (queues_.features & kNetMergeBuffers) != 0;
  used_.clear();
  for (size_t done = 0; done < packet_bytes_;) {
    // The first one is kept for the number of buffers; both keep their memory.
    DescriptorChain& chain = used_.empty() ? first_ : chain_;
    TRY_ASSIGN(const bool popped, queue.Pop(chain));
    if (!popped) {
      for (size_t i = 0; i < used_.size(); ++i) queue.Unpop();
      return false;
    }
    if (chain.writable.size() < kVirtioNetHeaderBytes) {
      return InvalidArgument("receive buffer of " + std::to_string(chain.writable.size()) +
                             " bytes cannot hold a header");
    }
    if (!merge && chain.writable.size() < packet_bytes_) {
      queue.Unpop();  // a packet that is too large for the driver's buffers is dropped
      return true;
    }
    const size_t count =
        chain.writable.CopyIn(0, std::span<const uint8_t>(packet_).subspan(done, packet_bytes_ - done));
    used_.push_back({chain.head, static_cast<uint32_t>(count)});
    done += count;
  }
  // The tap leaves num_buffers alone; it is 1 without merging, too (virtio 1.2, 5.1.6.4.1).
  const uint16_t buffers = static_cast<uint16_t>(used_.size());
  first_.writable.CopyIn(kBufferCountAt, {reinterpret_cast<const uint8_t*>(&buffers), sizeof buffers});
  return true;
}

}  // namespace berth::vmm
