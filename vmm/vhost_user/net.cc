#include "vmm/vhost_user/net.h"

#include <algorithm>
#include <cstring>

namespace berth::vmm {
namespace {

// virtio 1.2, 5.1.3: what packets may leave to the other side. The others are ours.
constexpr uint64_t kPacketFeatures = 0x3 |                  // checksums
                                     0xff << 7 |            // segmentation, both directions
                                     uint64_t{0x7} << 54 |  // of UDP
                                     kNetMergeBuffers;
constexpr uint16_t kControlQueueSize = 64;
constexpr uint8_t kLinkUp = 1;
constexpr size_t kStatusAt = 6;
constexpr size_t kPairsAt = 8;
constexpr size_t kMtuAt = 10;

}  // namespace

VhostUserNet::VhostUserNet(const Options& options, const MacAddress& mac) : pairs_(options.pairs) {
  std::copy(mac.begin(), mac.end(), config_.begin());
  config_[kStatusAt] = kLinkUp;
  if (pairs_ > 1) std::memcpy(&config_[kPairsAt], &pairs_, sizeof pairs_);
  if (options.mtu) std::memcpy(&config_[kMtuAt], &*options.mtu, sizeof *options.mtu);
  queue_sizes_.assign(size_t{2} * pairs_, options.queue_size);
  queue_sizes_.push_back(kControlQueueSize);
}

Result<std::shared_ptr<VhostUserNet>> VhostUserNet::Create(const Options& options, const MacAddress& mac) {
  std::shared_ptr<VhostUserNet> self(new VhostUserNet(options, mac));
  vhost_user::SessionSettings settings;
  settings.socket = options.socket;
  settings.id = options.id;
  settings.protocol_features =
      vhost_user::kMultiQueue | vhost_user::kReplyAck | (options.mtu ? vhost_user::kMtu : 0);
  settings.queues = static_cast<uint16_t>(2 * options.pairs);
  settings.queue_size = options.queue_size;
  settings.mtu = options.mtu;
  settings.in_order = true;
  settings.cpus = options.cpus;
  settings.guest = options.guest;
  settings.patience = options.patience;
  settings.retry = options.retry;
  // A back end counts pairs of queues; one that serves several says so by the protocol.
  settings.counts_pairs = true;
  TRY_ASSIGN(self->session_, vhost_user::Session::Open(settings));
  self->features_ = (self->session_->features() & kPacketFeatures) | kNetMac | kNetStatus | kNetControlQueue |
                    (options.pairs > 1 ? kNetMultiQueue : 0) | (options.mtu ? kNetMtu : 0);
  VhostUserNet* raw = self.get();
  self->control_ = std::make_unique<NetControl>(
      self->session_->loop(), NetControl::Handlers{[raw](uint16_t pairs) { return raw->SetPairs(pairs); },
                                                   [](uint64_t) { return false; }});
  return self;
}

uint64_t VhostUserNet::ring_features() const {
  return session_->features() & kVirtioRingFeatures;
}

void VhostUserNet::ReadConfig(uint64_t offset, std::span<uint8_t> data) {
  for (size_t i = 0; i < data.size(); ++i) data[i] = offset + i < config_.size() ? config_[offset + i] : 0;
}

Status VhostUserNet::Activate(VirtioActivation activation) {
  if (!activation.queues[0].ring || !activation.queues[1].ring) {
    return InvalidArgument("the driver has not enabled both queues");
  }
  active_ = std::move(activation);
  // Without the feature, what lies behind the first pair is the control queue.
  const bool several = (active_->features & kNetMultiQueue) != 0;
  Status started = session_->Start(*active_, several ? static_cast<uint16_t>(2 * pairs_) : 2, 2);
  if (started.ok()) started = control_->Start(*active_, pairs_);
  if (!started.ok()) Reset();
  return started;
}

void VhostUserNet::Reset() {
  if (!active_) return;
  control_->Stop();
  session_->Stop();
  active_.reset();
}

bool VhostUserNet::SetPairs(uint16_t pairs) {
  if (pairs == 0 || pairs > pairs_) return false;
  for (uint16_t i = 0; i < 2 * pairs_; ++i) session_->Enable(i, i < 2 * pairs);
  return true;
}

}  // namespace berth::vmm
