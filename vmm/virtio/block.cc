#include "vmm/virtio/block.h"

#include <sys/epoll.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "vmm/virtio/event_fd.h"
#include "vmm/virtio/serve_queue.h"

namespace berth::vmm {
namespace {

constexpr uint32_t kBudget = 128;

// virtio 1.2, 5.2.4: configuration layout.
constexpr size_t kConfigBytes = 60;
constexpr size_t kCapacityAt = 0;
constexpr size_t kSegMaxAt = 12;
constexpr size_t kBlockSizeAt = 20;
constexpr size_t kMinIoAt = 26;
constexpr size_t kQueuesAt = 34;
constexpr size_t kDiscardSectorsAt = 36;
constexpr size_t kDiscardRangesAt = 40;
constexpr size_t kDiscardAlignmentAt = 44;
constexpr size_t kZeroSectorsAt = 48;
constexpr size_t kZeroRangesAt = 52;
constexpr size_t kZeroMayUnmapAt = 56;

template <class T>
void Put(std::vector<uint8_t>& config, size_t at, T value) {
  std::memcpy(&config[at], &value, sizeof value);
}

RateLimitSettings Share(RateLimitSettings limits, uint64_t queues) {
  for (RateLimitSettings::Bucket* bucket : {&limits.bandwidth, &limits.operations}) {
    if (bucket->size > 0) bucket->size = std::max<uint64_t>(bucket->size / queues, 1);
    bucket->one_time_burst /= queues;
  }
  return limits;
}

}  // namespace

Result<std::shared_ptr<VirtioBlock>> VirtioBlock::Create(DiskFile disk, const Options& options) {
  std::shared_ptr<VirtioBlock> self(new VirtioBlock(options));
  for (uint16_t queue = 1; queue < options.queues; ++queue) {
    TRY_ASSIGN(auto worker,
               WorkerLoop::Start("blk" + std::to_string(queue) + "-" + options.id, options.cpus));
    EventLoop& loop = worker->loop();
    TRY_ASSIGN(DiskFile shared, disk.Share());
    TRY(self->AddLane(std::move(shared), std::move(worker), loop));
  }
  TRY_ASSIGN(auto worker, WorkerLoop::Start("blk-" + options.id, options.cpus));
  EventLoop& loop = worker->loop();
  TRY(self->AddLane(std::move(disk), std::move(worker), loop));
  self->FillConfig();
  return self;
}

std::shared_ptr<VirtioBlock> VirtioBlock::CreateOn(EventLoop& loop, DiskFile disk, const std::string& id) {
  std::shared_ptr<VirtioBlock> self(new VirtioBlock({.id = id}));
  CHECK(self->AddLane(std::move(disk), nullptr, loop).ok());
  self->FillConfig();
  return self;
}

VirtioBlock::VirtioBlock(const Options& options)
    : limits_(Share(options.limits, options.queues)),
      queue_sizes_(options.queues, options.queue_size),
      config_(kConfigBytes, 0) {
  state_.id = options.id;
  state_.serial = options.serial.empty() ? options.id : options.serial;
}

Status VirtioBlock::AddLane(DiskFile disk, std::unique_ptr<WorkerLoop> worker, EventLoop& loop) {
  const size_t index = lanes_.size();
  auto lane = std::make_unique<Lane>(Lane{.requests = BlockRequests(std::move(disk), state_), .loop = &loop});
  TRY_ASSIGN(lane->limiter, RateLimiter::Create(limits_, loop, [this, index] { Serve(index); }));
  lane->worker = std::move(worker);
  lanes_.push_back(std::move(lane));
  return OkStatus();
}

void VirtioBlock::FillConfig() {
  DiskFile& disk = lanes_[0]->requests.disk();
  state_.capacity = disk.size() / kBlockSector;
  const auto sectors_per_block = static_cast<uint32_t>(disk.block_size() / kBlockSector);
  Put<uint64_t>(config_, kCapacityAt, state_.capacity);
  Put<uint32_t>(config_, kSegMaxAt, queue_sizes_[0] - 2u);  // header and status take a descriptor each
  Put<uint32_t>(config_, kBlockSizeAt, disk.block_size());
  Put<uint16_t>(config_, kMinIoAt, 1);  // in blocks
  Put<uint16_t>(config_, kQueuesAt, static_cast<uint16_t>(lanes_.size()));
  Put<uint32_t>(config_, kDiscardSectorsAt, kBlockDiscardSectorsMax);
  Put<uint32_t>(config_, kDiscardRangesAt, kBlockRangesMax);
  Put<uint32_t>(config_, kDiscardAlignmentAt, sectors_per_block);
  Put<uint32_t>(config_, kZeroSectorsAt, kBlockZeroSectorsMax);
  Put<uint32_t>(config_, kZeroRangesAt, kBlockRangesMax);
  Put<uint8_t>(config_, kZeroMayUnmapAt, disk.can_discard() ? 1 : 0);
}

uint64_t VirtioBlock::features() const {
  return lanes_[0]->requests.features() | (lanes_.size() > 1 ? kBlockMultiQueue : 0);
}

void VirtioBlock::ReadConfig(uint64_t offset, std::span<uint8_t> data) {
  std::lock_guard lock(config_mutex_);
  for (size_t i = 0; i < data.size(); ++i) data[i] = offset + i < config_.size() ? config_[offset + i] : 0;
}

VirtioDevice::CounterList VirtioBlock::Counters() const {
  return {{"read_bytes", state_.read_bytes},
          {"read_ops", state_.read_ops},
          {"write_bytes", state_.write_bytes},
          {"write_ops", state_.write_ops}};
}

Status VirtioBlock::Grow(uint64_t bytes) {
  std::lock_guard lock(config_mutex_);
  if (bytes % kBlockSector != 0 || bytes / kBlockSector < state_.capacity) {
    return InvalidArgument("disk " + state_.id + " of " + std::to_string(state_.capacity * kBlockSector) +
                               " bytes can only become larger, by whole sectors of 512; not " +
                               std::to_string(bytes),
                           "desired_size");
  }
  TRY(lanes_[0]->requests.disk().Grow(bytes));
  state_.capacity = bytes / kBlockSector;
  Put<uint64_t>(config_, kCapacityAt, state_.capacity);
  if (interrupt_ != nullptr) interrupt_->SignalConfig();
  return OkStatus();
}

Status VirtioBlock::Activate(VirtioActivation activation) {
  if (!activation.queues[0].ring) return InvalidArgument("the driver has not enabled the request queue");
  state_.stopping = false;
  active_ = std::move(activation);
  for (size_t i = 0; i < lanes_.size(); ++i) {
    if (!active_->queues[i].ring) continue;  // a driver may use fewer
    lanes_[i]->serving = true;
    Status added =
        lanes_[i]->loop->Add(active_->queues[i].kick_fd, EPOLLIN, [this, i](uint32_t) { Serve(i); });
    if (!added.ok()) {
      Reset();
      return added;
    }
  }
  std::lock_guard lock(config_mutex_);
  interrupt_ = active_->interrupt;
  return OkStatus();
}

void VirtioBlock::Reset() {
  if (!active_) return;
  {
    std::lock_guard lock(config_mutex_);
    interrupt_ = nullptr;
  }
  state_.stopping = true;
  for (size_t i = 0; i < lanes_.size(); ++i) {
    // Each waits for a callback that is running; afterwards the lane is ours.
    Lane& lane = *lanes_[i];
    lane.loop->Remove(active_->queues[i].kick_fd);
    if (lane.limiter) lane.limiter->Pause();
    lane.serving = false;
  }
  active_.reset();
}

void VirtioBlock::Serve(size_t index) {
  Lane& lane = *lanes_[index];
  if (!lane.serving) return;  // a timer that was due when the queue had failed
  auto& [ring, kick] = active_->queues[index];
  DrainEvent(kick);
  auto more = ServeQueue(
      *ring, lane.chain, kBudget,
      [&](const DescriptorChain& chain) { return lane.requests.Handle(chain, active_->features); },
      [&] { active_->interrupt->SignalQueue(static_cast<uint16_t>(index)); },
      [&](const DescriptorChain& chain) {
        return lane.limiter == nullptr || lane.limiter->Admit(BlockRequests::DataBytes(chain));
      });
  if (!more) {
    lane.loop->Remove(kick);
    lane.serving = false;
    return active_->interrupt->Fail(more.error());
  }
  if (*more) SignalEvent(kick);
}

}  // namespace berth::vmm
