#include "vmm/virtio/net.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace berth::vmm {
namespace {

// virtio 1.2, 5.1.3: features.
constexpr uint64_t kChecksum = 1 << 0;
constexpr uint64_t kGuestChecksum = 1 << 1;
constexpr uint64_t kGuestTso4 = 1 << 7;
constexpr uint64_t kGuestTso6 = 1 << 8;
constexpr uint64_t kGuestEcn = 1 << 9;
constexpr uint64_t kHostTso4 = 1 << 11;
constexpr uint64_t kHostTso6 = 1 << 12;
constexpr uint64_t kHostEcn = 1 << 13;
constexpr uint64_t kGuestUso4 = uint64_t{1} << 54;
constexpr uint64_t kGuestUso6 = uint64_t{1} << 55;
constexpr uint64_t kHostUso = uint64_t{1} << 56;
constexpr uint64_t kGuestOffloads =
    kGuestChecksum | kGuestTso4 | kGuestTso6 | kGuestEcn | kGuestUso4 | kGuestUso6;
constexpr uint64_t kOffloads = kChecksum | kGuestChecksum | kGuestTso4 | kGuestTso6 | kGuestEcn | kHostTso4 |
                               kHostTso6 | kHostEcn | kNetControlGuestOffloads;
constexpr uint64_t kUdpOffloads = kGuestUso4 | kGuestUso6 | kHostUso;

constexpr uint8_t kLinkUp = 1;
constexpr size_t kStatusAt = 6;
constexpr size_t kPairsAt = 8;
constexpr size_t kMtuAt = 10;

TapOffloads OffloadsOf(uint64_t features) {
  return {.checksum = (features & kGuestChecksum) != 0,
          .tso4 = (features & kGuestTso4) != 0,
          .tso6 = (features & kGuestTso6) != 0,
          .ecn = (features & kGuestEcn) != 0 && (features & (kGuestTso4 | kGuestTso6)) != 0,
          // The kernel has the two of them together only.
          .uso4 = (features & kGuestUso4) != 0 && (features & kGuestUso6) != 0,
          .uso6 = (features & kGuestUso4) != 0 && (features & kGuestUso6) != 0};
}

RateLimitSettings Share(RateLimitSettings limits, uint64_t pairs) {
  for (RateLimitSettings::Bucket* bucket : {&limits.bandwidth, &limits.operations}) {
    if (bucket->size > 0) bucket->size = std::max<uint64_t>(bucket->size / pairs, 1);
    bucket->one_time_burst /= pairs;
  }
  return limits;
}

}  // namespace

Result<std::shared_ptr<VirtioNet>> VirtioNet::Create(std::vector<Tap> taps, const MacAddress& mac,
                                                     EventLoop& loop, const Options& options) {
  CHECK(!taps.empty());
  std::shared_ptr<VirtioNet> self(new VirtioNet(mac, loop, options));
  const RateLimitSettings limits = Share(options.limits, taps.size());
  for (size_t i = 0; i < taps.size(); ++i) {
    EventLoop* of_lane = &loop;
    if (taps.size() > 1) {
      const std::string name = (i == 0 ? "net-" : "net" + std::to_string(i) + "-") + options.id;
      TRY_ASSIGN(auto worker, WorkerLoop::Start({.name = name,
                                                 .cpus = options.cpus,
                                                 .kind = ThreadKind::kDevices,
                                                 .starter = options.starter}));
      of_lane = &worker->loop();
      self->workers_.push_back(std::move(worker));
    }
    TRY_ASSIGN(auto lane, NetLane::Create(std::move(taps[i]), *of_lane, self->counters_, limits));
    self->lanes_.push_back(std::move(lane));
    self->queue_sizes_.insert(self->queue_sizes_.end(), 2, options.queue_size);
  }
  self->queue_sizes_.push_back(kControlQueueSize);
  const auto pairs = static_cast<uint16_t>(self->lanes_.size());
  if (pairs > 1) std::memcpy(&self->config_[kPairsAt], &pairs, sizeof pairs);
  return self;
}

std::shared_ptr<VirtioNet> VirtioNet::Create(Tap tap, const MacAddress& mac, EventLoop& loop) {
  std::vector<Tap> taps;
  taps.push_back(std::move(tap));
  return *Create(std::move(taps), mac, loop, Options());  // nothing in it can fail without limits and threads
}

VirtioNet::VirtioNet(const MacAddress& mac, EventLoop& loop, const Options& options)
    : mtu_(options.mtu),
      control_(loop, {[this](uint16_t pairs) { return SetPairs(pairs); },
                      [this](uint64_t offloads) { return SetOffloads(offloads); }}) {
  std::copy(mac.begin(), mac.end(), config_.begin());
  config_[kStatusAt] = kLinkUp;
  if (mtu_) std::memcpy(&config_[kMtuAt], &*mtu_, sizeof *mtu_);
}

uint64_t VirtioNet::features() const {
  const Tap& tap = lanes_[0]->tap();
  return kNetMac | kNetStatus | kNetMergeBuffers | kNetControlQueue | (several() ? kNetMultiQueue : 0) |
         (mtu_ ? kNetMtu : 0) | (tap.offloads ? kOffloads : 0) | (tap.udp_offloads ? kUdpOffloads : 0);
}

VirtioDevice::CounterList VirtioNet::Counters() const {
  return {{"rx_bytes", counters_.rx_bytes},
          {"rx_frames", counters_.rx_frames},
          {"tx_bytes", counters_.tx_bytes},
          {"tx_frames", counters_.tx_frames}};
}

void VirtioNet::ReadConfig(uint64_t offset, std::span<uint8_t> data) {
  for (size_t i = 0; i < data.size(); ++i) data[i] = offset + i < config_.size() ? config_[offset + i] : 0;
}

Status VirtioNet::Activate(VirtioActivation activation) {
  for (const uint16_t queue : {kReceiveQueue, kTransmitQueue}) {
    if (!activation.queues[queue].ring) return InvalidArgument("the driver has not enabled both queues");
  }
  const uint64_t features = activation.features;
  if (lanes_[0]->tap().offloads)
    TRY(SetTapOffloads(lanes_[0]->tap().fd.get(), OffloadsOf(offloads_.value_or(features) & features)));
  active_ = std::move(activation);
  Status started = StartLanes();
  if (!started.ok()) Reset();
  return started;
}

Status VirtioNet::StartLanes() {
  const size_t usable = active_->features & kNetMultiQueue ? lanes_.size() : 1;
  // One, until the driver asks for more (virtio 1.2, 5.1.6.5.5).
  if (!SetPairs(std::min<uint16_t>(pairs_, static_cast<uint16_t>(usable)))) {
    return InvalidArgument("the driver uses a pair of queues that it has not enabled");
  }
  for (size_t i = 0; i < usable; ++i) {
    NetLane::Queues queues;
    queues.receive = &active_->queues[2 * i];
    queues.transmit = &active_->queues[2 * i + 1];
    queues.index = static_cast<uint16_t>(2 * i);
    queues.features = active_->features;
    queues.interrupt = active_->interrupt;
    // A driver may leave pairs alone that it does not use.
    if (queues.receive->ring && queues.transmit->ring) TRY(lanes_[i]->Start(queues));
  }
  return control_.Start(*active_, lanes_.size());
}

void VirtioNet::Reset() {
  if (!active_) return;
  static_cast<void>(Suspend());
  pairs_ = 1;
  offloads_.reset();
}

Result<VirtioActivation> VirtioNet::Suspend() {
  control_.Stop();
  for (auto& lane : lanes_) lane->Stop();
  return *std::exchange(active_, std::nullopt);
}

void VirtioNet::Save(StateWriter& out) {
  out.Put(pairs_);
  out.Put(offloads_.has_value());
  out.Put(offloads_.value_or(0));
}

void VirtioNet::Load(StateReader& in) {
  pairs_ = in.Get<uint16_t>();
  const bool chosen = in.Get<bool>();
  const auto offloads = in.Get<uint64_t>();
  if (chosen) offloads_ = offloads;
  if (in.ok() && (pairs_ == 0 || pairs_ > lanes_.size())) {
    in.Fail(InvalidArgument("the guest uses " + std::to_string(pairs_) + " pairs of queues, there are " +
                            std::to_string(lanes_.size())));
  }
}

bool VirtioNet::SetPairs(uint16_t pairs) {
  if (pairs == 0 || pairs > lanes_.size()) return false;
  for (size_t i = 0; i < pairs; ++i) {
    if (!active_->queues[2 * i].ring || !active_->queues[2 * i + 1].ring) return false;
  }
  for (size_t i = 0; i < lanes_.size(); ++i) {
    AttachTapQueue(lanes_[i]->tap(), i < pairs);
    if (i < pairs) lanes_[i]->Wake();
  }
  pairs_ = pairs;
  return true;
}

bool VirtioNet::SetOffloads(uint64_t offloads) {
  // Only what was negotiated can be switched (virtio 1.2, 5.1.6.5.6).
  if (offloads & ~(active_->features & kGuestOffloads)) return false;
  if (!SetTapOffloads(lanes_[0]->tap().fd.get(), OffloadsOf(offloads)).ok()) return false;
  offloads_ = offloads;
  return true;
}

}  // namespace berth::vmm
