#include "vmm/virtio/block.h"

#include <sys/epoll.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "common/log.h"
#include "vmm/virtio/event_fd.h"
#include "vmm/virtio/serve_queue.h"

namespace berth::vmm {
namespace {

constexpr uint32_t kBudget = 128;
// Writes that are carried out while the queue waits: bytes in one look at it, and what a slow one changes.
constexpr uint64_t kMostAlone = 1 << 20;
constexpr std::chrono::milliseconds kSlowWrite{50};
constexpr std::chrono::seconds kSlowFor{1};

// virtio 1.2, 5.2.4: configuration layout.
constexpr uint32_t kBlockShift = 56;  // in a snapshot: size of a block in sectors, above the capacity
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
    TRY_ASSIGN(DiskFile shared, disk.Share());
    TRY(self->AddLane(std::move(shared), nullptr, "blk" + std::to_string(queue) + "-" + options.id, options));
  }
  TRY(self->AddLane(std::move(disk), nullptr, "blk-" + options.id, options));
  self->FillConfig();
  return self;
}

std::shared_ptr<VirtioBlock> VirtioBlock::CreateOn(EventLoop& loop, DiskFile disk, const std::string& id,
                                                   bool io_uring) {
  const Options options{.id = id, .io_uring = io_uring};
  std::shared_ptr<VirtioBlock> self(new VirtioBlock(options));
  CHECK(self->AddLane(std::move(disk), &loop, {}, options).ok());
  self->FillConfig();
  return self;
}

VirtioBlock::VirtioBlock(const Options& options)
    : limits_(Share(options.limits, options.queues)),
      io_uring_(options.io_uring),
      queue_sizes_(options.queues, options.queue_size),
      config_(kConfigBytes, 0) {
  state_.id = options.id;
  state_.serial = options.serial.empty() ? options.id : options.serial;
}

Status VirtioBlock::AddLane(DiskFile disk, EventLoop* shared, const std::string& thread,
                            const Options& options) {
  const size_t index = lanes_.size();
  auto lane =
      std::make_unique<Lane>(Lane{.requests = BlockRequests(std::move(disk), state_), .loop = shared});
  if (io_uring_) {
    auto ring = BlockRing::Create(lane->requests, queue_sizes_[0]);
    if (ring.has_value()) {
      lane->ring = *std::move(ring);
    } else if (ring.error().code() != StatusCode::kUnimplemented) {
      LOG(kWarning, "disk_without_io_uring", {{"disk", state_.id}, {"reason", ring.error()}});
    }
  }
  if (shared == nullptr) {
    // The kernel breaks off what a thread that ends has given to io_uring.
    auto may_rest = [raw = lane.get()] { return raw->ring == nullptr || raw->ring->idle(); };
    TRY_ASSIGN(lane->worker,
               WorkerLoop::Start(
                   {.name = thread, .cpus = options.cpus, .starter = options.starter, .may_rest = may_rest}));
    lane->loop = &lane->worker->loop();
  }
  TRY_ASSIGN(lane->limiter, RateLimiter::Create(limits_, *lane->loop, [this, index] { Serve(index); }));
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
    if (added.ok() && lanes_[i]->ring) {
      added = lanes_[i]->loop->Add(lanes_[i]->ring->fd(), EPOLLIN, [this, i](uint32_t) { OnRing(i); });
    }
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
  state_.stopping = true;
  static_cast<void>(Suspend());
}

void VirtioBlock::Save(StateWriter& out) {
  out.Put(state_.capacity.load() | uint64_t{lanes_[0]->requests.disk().block_size() / kBlockSector}
                                       << kBlockShift);
}

void VirtioBlock::Load(StateReader& in) {
  const auto saved = in.Get<uint64_t>();
  const uint64_t sectors = saved & ((uint64_t{1} << kBlockShift) - 1);
  const uint64_t block = (saved >> kBlockShift) * kBlockSector;  // 0: older snapshots do not tell
  const uint32_t own = lanes_[0]->requests.disk().block_size();
  if (in.ok() && block != 0 && block != own) {
    return in.Fail(FailedPrecondition("disk " + state_.id + " has blocks of " + std::to_string(own) +
                                      " bytes, the guest knows blocks of " + std::to_string(block)));
  }
  if (!in.ok() || sectors <= state_.capacity) return;
  in.Fail(FailedPrecondition("disk " + state_.id + " has " + std::to_string(state_.capacity) +
                             " sectors, the guest knows " + std::to_string(sectors)));
}

Result<VirtioActivation> VirtioBlock::Suspend() {
  {
    std::lock_guard lock(config_mutex_);
    interrupt_ = nullptr;
  }
  for (size_t i = 0; i < lanes_.size(); ++i) {
    // Each waits for a callback that is running; afterwards the lane is ours. The timer last: the others may
    // set it.
    Lane& lane = *lanes_[i];
    lane.loop->Remove(active_->queues[i].kick_fd);
    if (lane.ring) lane.loop->Remove(lane.ring->fd());
    if (lane.limiter) lane.limiter->Pause();
    if (lane.ring) DrainRing(lane, i);
    lane.serving = false;
  }
  return *std::exchange(active_, std::nullopt);
}

void VirtioBlock::Serve(size_t index) {
  Lane& lane = *lanes_[index];
  if (!lane.serving) return;  // a timer that was due when the queue had failed
  const int kick = active_->queues[index].kick_fd;
  DrainEvent(kick);
  auto more = lane.ring ? ServeByRing(lane, index) : ServeInTurn(lane, index);
  if (!more) return FailLane(lane, index, more.error());
  if (*more) SignalEvent(kick);
}

Result<bool> VirtioBlock::ServeInTurn(Lane& lane, size_t index) {
  return ServeQueue(
      *active_->queues[index].ring, lane.chain, kBudget,
      [&](const DescriptorChain& chain) { return lane.requests.Handle(chain, active_->features); },
      [&] { active_->interrupt->SignalQueue(static_cast<uint16_t>(index)); },
      [&](const DescriptorChain& chain) {
        return lane.limiter == nullptr || lane.limiter->Admit(BlockRequests::DataBytes(chain));
      });
}

// A write to the page cache io_uring hands to a thread of the kernel, one after the other of a file. While
// nothing else is under way this thread does it sooner; but not where it was found to wait for the storage.
bool VirtioBlock::WritesAlone(Lane& lane, const BlockMove& move) {
  return move.kind == BlockMove::Kind::kWrite && !move.durable && !lane.requests.disk().direct() &&
         lane.ring->idle() && Clock::now() >= lane.by_ring_until;
}

Result<bool> VirtioBlock::ServeByRing(Lane& lane, size_t index) {
  SplitQueue& queue = *active_->queues[index].ring;
  queue.DisableNotifications();
  lane.starved = false;
  bool more = true;
  bool handled = false;
  uint64_t alone = 0;  // bytes
  for (uint32_t budget = kBudget; budget > 0; --budget) {
    if (lane.ring->full()) {
      lane.starved = true;  // what ends brings us back
      more = false;
      break;
    }
    DescriptorChain& chain = lane.ring->NextChain();
    TRY_ASSIGN(const bool popped, queue.Pop(chain));
    if (!popped) {
      if (!queue.EnableNotifications()) {
        more = false;
        break;
      }
      queue.DisableNotifications();
      continue;
    }
    if (lane.limiter != nullptr && !lane.limiter->Admit(BlockRequests::DataBytes(chain))) {
      queue.Unpop();
      more = false;
      break;
    }
    const auto move = lane.requests.Plan(chain, active_->features);
    const bool at_once = move && alone + move->length <= kMostAlone && WritesAlone(lane, *move);
    if (move && !at_once) {
      lane.ring->Begin(*move);
      continue;
    }
    const Clock::time_point start = Clock::now();
    TRY_ASSIGN(const uint32_t written, lane.requests.Handle(chain, active_->features));
    if (at_once) {
      alone += move->length;
      const Clock::time_point end = Clock::now();
      if (end - start > kSlowWrite) lane.by_ring_until = end + kSlowFor;
    }
    queue.Push(chain.head, written);
    handled = true;
  }
  TRY(lane.ring->Submit());
  if (handled && queue.NeedsInterrupt()) active_->interrupt->SignalQueue(static_cast<uint16_t>(index));
  // What the page cache had is done already.
  TRY(ReapRing(lane, index));
  return more || (lane.starved && !lane.ring->full());
}

Status VirtioBlock::ReapRing(Lane& lane, size_t index) {
  SplitQueue& queue = *active_->queues[index].ring;
  bool ended = false;
  TRY(lane.ring->Reap([&](uint16_t head, uint32_t written) {
    queue.Push(head, written);
    ended = true;
  }));
  if (ended && queue.NeedsInterrupt()) active_->interrupt->SignalQueue(static_cast<uint16_t>(index));
  return OkStatus();
}

void VirtioBlock::DrainRing(Lane& lane, size_t index) {
  bool ended = false;
  lane.ring->Drain([&](uint16_t head, uint32_t written) {
    active_->queues[index].ring->Push(head, written);  // there was a request, so there is a queue
    ended = true;
  });
  if (ended && !state_.stopping) active_->interrupt->SignalQueue(static_cast<uint16_t>(index));
}

void VirtioBlock::OnRing(size_t index) {
  Lane& lane = *lanes_[index];
  if (!lane.serving) return;
  if (Status status = ReapRing(lane, index); !status.ok()) return FailLane(lane, index, status);
  if (lane.starved) Serve(index);
}

void VirtioBlock::FailLane(Lane& lane, size_t index, const Status& reason) {
  lane.loop->Remove(active_->queues[index].kick_fd);
  lane.serving = false;
  if (lane.ring) {
    lane.loop->Remove(lane.ring->fd());
    DrainRing(lane, index);
  }
  active_->interrupt->Fail(reason);
}

}  // namespace berth::vmm
