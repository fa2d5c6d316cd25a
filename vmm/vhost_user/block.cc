#include "vmm/vhost_user/block.h"

#include <algorithm>
#include <cstring>

#include "common/log.h"
#include "vmm/virtio/block_requests.h"

namespace berth::vmm {
namespace {

// virtio 1.2, 5.2.3 and 5.2.4: what has been defined so far.
constexpr uint64_t kTypeFeatures = 0x3fffff;  // bits 0 to 21
constexpr uint32_t kConfigBytes = 60;
constexpr size_t kSegMaxAt = 12;
constexpr size_t kQueuesAt = 34;

}  // namespace

Result<std::shared_ptr<VhostUserBlock>> VhostUserBlock::Create(const Options& options) {
  std::shared_ptr<VhostUserBlock> self(new VhostUserBlock);
  vhost_user::SessionSettings settings;
  settings.socket = options.socket;
  settings.id = options.id;
  settings.protocol_features = vhost_user::kMultiQueue | vhost_user::kReplyAck |
                               vhost_user::kBackendRequests | vhost_user::kConfig | vhost_user::kInflight;
  settings.queues = options.queues;
  settings.queue_size = options.queue_size;
  settings.config_bytes = kConfigBytes;
  settings.cpus = options.cpus;
  settings.guest = options.guest;
  settings.patience = options.patience;
  settings.retry = options.retry;
  TRY_ASSIGN(self->session_, vhost_user::Session::Open(settings));
  const uint64_t several = options.queues > 1 ? kBlockMultiQueue : 0;
  if ((self->session_->features() & several) != several) {
    return FailedPrecondition("the vhost-user back end at " + options.socket + " serves one queue, not " +
                                  std::to_string(options.queues),
                              "num_queues");
  }
  self->features_ = self->session_->features() & kTypeFeatures & (several | ~kBlockMultiQueue);
  self->queue_sizes_.assign(options.queues, options.queue_size);
  self->session_->OnConfigChanged([raw = self.get()] {
    std::lock_guard lock(raw->interrupt_mutex_);
    if (raw->interrupt_ != nullptr) raw->interrupt_->SignalConfig();
  });
  return self;
}

uint64_t VhostUserBlock::ring_features() const {
  return session_->features() & kVirtioRingFeatures;
}

std::vector<uint8_t> VhostUserBlock::Config() {
  std::vector<uint8_t> config = session_->config();
  config.resize(kConfigBytes);
  uint32_t segments = 0;
  std::memcpy(&segments, &config[kSegMaxAt], sizeof segments);
  // Header and status take a descriptor each.
  segments = std::min<uint32_t>(segments, queue_sizes_[0] - 2u);
  std::memcpy(&config[kSegMaxAt], &segments, sizeof segments);
  const auto queues = static_cast<uint16_t>(queue_sizes_.size());
  std::memcpy(&config[kQueuesAt], &queues, sizeof queues);
  return config;
}

void VhostUserBlock::ReadConfig(uint64_t offset, std::span<uint8_t> data) {
  const std::vector<uint8_t> config = Config();
  for (size_t i = 0; i < data.size(); ++i) data[i] = offset + i < config.size() ? config[offset + i] : 0;
}

void VhostUserBlock::WriteConfig(uint64_t offset, std::span<const uint8_t> data) {
  if (Status written = session_->WriteConfig(offset, data); !written.ok()) {
    LOG(kDebug, "vhost_user_config_not_written", {{"reason", written}});
  }
}

Status VhostUserBlock::Activate(VirtioActivation activation) {
  if (!activation.queues[0].ring) return InvalidArgument("the driver has not enabled the request queue");
  active_ = std::move(activation);
  {
    std::lock_guard lock(interrupt_mutex_);
    interrupt_ = active_->interrupt;
  }
  const auto queues = static_cast<uint16_t>(queue_sizes_.size());
  Status started = session_->Start(*active_, queues, queues);
  if (!started.ok()) Reset();
  return started;
}

void VhostUserBlock::Reset() {
  if (!active_) return;
  session_->Stop();
  {
    std::lock_guard lock(interrupt_mutex_);
    interrupt_ = nullptr;
  }
  active_.reset();
}

}  // namespace berth::vmm
