#include "vmm/virtio/net.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "vmm/virtio/event_fd.h"
#include "vmm/virtio/serve_queue.h"

namespace berth::vmm {
namespace {

// virtio 1.2, 5.1.3: features.
constexpr uint64_t kChecksum = 1 << 0;
constexpr uint64_t kGuestChecksum = 1 << 1;
constexpr uint64_t kMac = 1 << 5;
constexpr uint64_t kGuestTso4 = 1 << 7;
constexpr uint64_t kGuestTso6 = 1 << 8;
constexpr uint64_t kHostTso4 = 1 << 11;
constexpr uint64_t kHostTso6 = 1 << 12;
constexpr uint64_t kMergeBuffers = 1 << 15;
constexpr uint64_t kStatus = 1 << 16;
constexpr uint64_t kOffloads = kChecksum | kGuestChecksum | kGuestTso4 | kGuestTso6 | kHostTso4 | kHostTso6;

constexpr uint8_t kLinkUp = 1;
constexpr size_t kStatusAt = 6;
constexpr size_t kBufferCountAt = 10;  // num_buffers in the header
constexpr size_t kEthernetHeader = 14;
constexpr uint32_t kBudget = 256;     // packets before the loop's other devices have their turn
constexpr size_t kVectorsMax = 1024;  // IOV_MAX
constexpr uint64_t kMtu = 1 << 3;
constexpr size_t kMtuAt = 10;

}  // namespace

std::shared_ptr<VirtioNet> VirtioNet::Create(Tap tap, const MacAddress& mac, EventLoop& loop) {
  return std::shared_ptr<VirtioNet>(new VirtioNet(std::move(tap), mac, loop));
}

Result<std::shared_ptr<VirtioNet>> VirtioNet::Create(Tap tap, const MacAddress& mac, EventLoop& loop,
                                                     const Options& options) {
  std::shared_ptr<VirtioNet> self = Create(std::move(tap), mac, loop);
  VirtioNet* raw = self.get();
  TRY_ASSIGN(self->receive_limit_, RateLimiter::Create(options.limits, loop, [raw] { raw->Receive(); }));
  TRY_ASSIGN(self->transmit_limit_, RateLimiter::Create(options.limits, loop, [raw] { raw->Transmit(); }));
  self->queue_sizes_ = {options.queue_size, options.queue_size};
  self->mtu_ = options.mtu;
  if (options.mtu) std::memcpy(&self->config_[kMtuAt], &*options.mtu, sizeof *options.mtu);
  return self;
}

VirtioNet::VirtioNet(Tap tap, const MacAddress& mac, EventLoop& loop)
    : tap_(std::move(tap)), loop_(loop), packet_(kPacketMax) {
  std::copy(mac.begin(), mac.end(), config_.begin());
  config_[kStatusAt] = kLinkUp;
}

uint64_t VirtioNet::features() const {
  return kMac | kStatus | kMergeBuffers | (mtu_ ? kMtu : 0) | (tap_.offloads ? kOffloads : 0);
}

VirtioDevice::CounterList VirtioNet::Counters() const {
  return {
      {"rx_bytes", rx_bytes_}, {"rx_frames", rx_frames_}, {"tx_bytes", tx_bytes_}, {"tx_frames", tx_frames_}};
}

std::span<const uint16_t> VirtioNet::queue_sizes() const {
  return queue_sizes_;
}

void VirtioNet::ReadConfig(uint64_t offset, std::span<uint8_t> data) {
  for (size_t i = 0; i < data.size(); ++i) data[i] = offset + i < config_.size() ? config_[offset + i] : 0;
}

Status VirtioNet::Activate(VirtioActivation activation) {
  for (const auto& queue : activation.queues) {
    if (!queue.ring) return InvalidArgument("the driver has not enabled both queues");
  }
  if (tap_.offloads) {
    TRY(SetTapOffloads(tap_.fd.get(), {.checksum = (activation.features & kGuestChecksum) != 0,
                                       .tso4 = (activation.features & kGuestTso4) != 0,
                                       .tso6 = (activation.features & kGuestTso6) != 0}));
  }
  active_ = std::move(activation);
  packet_bytes_ = 0;
  packet_admitted_ = false;
  tap_watched_ = false;
  stopping_ = false;
  Status watched = Watch();
  if (!watched.ok()) Reset();
  return watched;
}

Status VirtioNet::Watch() {
  TRY(loop_.Add(active_->queues[kTransmitQueue].kick_fd, EPOLLIN, [this](uint32_t) { Transmit(); }));
  TRY(loop_.Add(active_->queues[kReceiveQueue].kick_fd, EPOLLIN, [this](uint32_t) {
    DrainEvent(active_->queues[kReceiveQueue].kick_fd);
    Receive();
  }));
  // The first notification of receive buffers starts the reading.
  return OkStatus();
}

void VirtioNet::Unwatch() {
  stopping_ = true;  // no callback arms a rate limit's timer behind our back
  for (const auto& queue : active_->queues) loop_.Remove(queue.kick_fd);
  for (RateLimiter* limit : {receive_limit_.get(), transmit_limit_.get()}) {
    if (limit != nullptr) limit->Pause();
  }
  // After the queues' callbacks are done none starts to watch the tap again.
  loop_.Remove(tap_.fd.get());
  tap_watched_ = false;
}

void VirtioNet::Reset() {
  if (!active_) return;
  Unwatch();
  active_.reset();
}

void VirtioNet::Fail(const Status& reason) {
  Unwatch();
  active_->interrupt->Fail(reason);
}

void VirtioNet::Transmit() {
  if (stopping_) return;
  const int kick = active_->queues[kTransmitQueue].kick_fd;
  DrainEvent(kick);
  auto more = ServeQueue(
      ring(kTransmitQueue), chain_, kBudget,
      [this](const DescriptorChain& chain) -> Result<uint32_t> { return Send(chain); },
      [this] { active_->interrupt->SignalQueue(kTransmitQueue); },
      [this](const DescriptorChain& chain) {
        return transmit_limit_ == nullptr || transmit_limit_->Admit(chain.readable.size());
      });
  if (!more) return Fail(more.error());
  if (*more) SignalEvent(kick);
}

uint32_t VirtioNet::Send(const DescriptorChain& chain) {
  const uint64_t bytes = chain.readable.size();
  if (bytes < kVirtioNetHeaderBytes + kEthernetHeader || bytes > kPacketMax) return 0;
  buffers_.clear();
  chain.readable.AppendIovecs(0, bytes, buffers_);
  if (buffers_.size() > kVectorsMax) return 0;
  // The kernel checks header and packet itself. What it does not take is lost, as on any network.
  const ssize_t sent = writev(tap_.fd.get(), buffers_.data(), static_cast<int>(buffers_.size()));
  if (sent > 0) {
    tx_bytes_ += static_cast<uint64_t>(sent) - kVirtioNetHeaderBytes;
    ++tx_frames_;
  }
  return 0;  // a transmitted buffer has nothing written to it
}

void VirtioNet::Receive() {
  if (stopping_) return;
  for (uint32_t i = 0; i < kBudget; ++i) {
    if (packet_bytes_ == 0) {
      const ssize_t count = read(tap_.fd.get(), packet_.data(), packet_.size());
      if (count < 0 && errno == EINTR) continue;
      if (count <= 0) return WatchTap(count < 0 && errno == EAGAIN);  // else the interface is gone
      if (count < kVirtioNetHeaderBytes) continue;
      packet_bytes_ = static_cast<size_t>(count);
      packet_admitted_ = receive_limit_ == nullptr;
    }
    // One packet waits here, the others in the tap.
    if (!packet_admitted_) packet_admitted_ = receive_limit_->Admit(packet_bytes_);
    if (!packet_admitted_) return WatchTap(false);
    auto delivered = Deliver();
    if (!delivered) return Fail(delivered.error());
    if (!*delivered) return WatchTap(false);
    rx_bytes_ += packet_bytes_ - kVirtioNetHeaderBytes;
    ++rx_frames_;
    packet_bytes_ = 0;
  }
  // More may wait, and the tap, watched by level, brings us back.
  WatchTap(true);
}

void VirtioNet::WatchTap(bool wanted) {
  if (wanted == tap_watched_) return;
  if (!wanted) {
    loop_.Remove(tap_.fd.get());
    tap_watched_ = false;
  } else {
    tap_watched_ = loop_.Add(tap_.fd.get(), EPOLLIN, [this](uint32_t) { Receive(); }).ok();
  }
}

Result<bool> VirtioNet::Deliver() {
  SplitQueue& queue = ring(kReceiveQueue);
  queue.DisableNotifications();
  for (;;) {
    TRY_ASSIGN(const bool filled, FillBuffers());
    if (filled) break;
    // Ends, because each round sees more buffers than the one before, and the queue holds so many.
    if (!queue.EnableNotifications(static_cast<uint16_t>(used_.size()))) return false;
  }
  queue.PushAll(used_);
  if (queue.NeedsInterrupt()) active_->interrupt->SignalQueue(kReceiveQueue);
  return true;
}

Result<bool> VirtioNet::FillBuffers() {
  SplitQueue& queue = ring(kReceiveQueue);
  const bool merge = (active_->features & kMergeBuffers) != 0;
  used_.clear();
  ByteList first;
  for (size_t done = 0; done < packet_bytes_;) {
    TRY_ASSIGN(const bool popped, queue.Pop(chain_));
    if (!popped) {
      for (size_t i = 0; i < used_.size(); ++i) queue.Unpop();
      return false;
    }
    if (chain_.writable.size() < kVirtioNetHeaderBytes) {
      return InvalidArgument("receive buffer of " + std::to_string(chain_.writable.size()) +
                             " bytes cannot hold a header");
    }
    if (used_.empty()) first = chain_.writable;
    if (!merge && chain_.writable.size() < packet_bytes_) {
      queue.Unpop();  // a packet that is too large for the driver's buffers is dropped
      return true;
    }
    const size_t count =
        chain_.writable.CopyIn(0, std::span<const uint8_t>(packet_).subspan(done, packet_bytes_ - done));
    used_.push_back({chain_.head, static_cast<uint32_t>(count)});
    done += count;
  }
  // The tap leaves num_buffers alone; it is 1 without merging, too (virtio 1.2, 5.1.6.4.1).
  const uint16_t buffers = static_cast<uint16_t>(used_.size());
  first.CopyIn(kBufferCountAt, {reinterpret_cast<const uint8_t*>(&buffers), sizeof buffers});
  return true;
}

}  // namespace berth::vmm
