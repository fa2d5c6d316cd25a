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

// virtio 1.2, 5.2.3: features.
constexpr uint64_t kSegMax = 1 << 2;
constexpr uint64_t kReadOnly = 1 << 5;
constexpr uint64_t kBlockSize = 1 << 6;
constexpr uint64_t kFlush = 1 << 9;
constexpr uint64_t kTopology = 1 << 10;
constexpr uint64_t kDiscard = 1 << 13;
constexpr uint64_t kWriteZeroes = 1 << 14;

// virtio 1.2, 5.2.6: request types and status.
constexpr uint32_t kTypeIn = 0;
constexpr uint32_t kTypeOut = 1;
constexpr uint32_t kTypeFlush = 4;
constexpr uint32_t kTypeGetId = 8;
constexpr uint32_t kTypeDiscard = 11;
constexpr uint32_t kTypeWriteZeroes = 13;
constexpr uint8_t kOk = 0;
constexpr uint8_t kIoError = 1;
constexpr uint8_t kUnsupported = 2;
constexpr uint32_t kMayUnmap = 1;

constexpr uint64_t kSector = 512;
constexpr uint64_t kHeaderBytes = 16;
constexpr uint64_t kRangeBytes = 16;
constexpr uint64_t kChunk = 1 << 20;  // between two looks at stopping_
constexpr uint32_t kRangesMax = 16;
constexpr uint32_t kDiscardSectorsMax = 1 << 21;  // 1 GiB
constexpr uint32_t kZeroSectorsMax = 1 << 15;     // 16 MiB, which may have to be written
constexpr uint32_t kBudget = 128;
constexpr uint32_t kErrorsLogged = 16;  // for each device, because a guest can cause them at will
constexpr uint16_t kQueueSizes[] = {VirtioBlock::kQueueSize};

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

}  // namespace

Result<std::shared_ptr<VirtioBlock>> VirtioBlock::Create(DiskFile disk, const std::string& id) {
  TRY_ASSIGN(auto worker, WorkerLoop::Start("blk-" + id));
  EventLoop& loop = worker->loop();
  return std::shared_ptr<VirtioBlock>(new VirtioBlock(std::move(disk), id, loop, std::move(worker)));
}

std::shared_ptr<VirtioBlock> VirtioBlock::CreateOn(EventLoop& loop, DiskFile disk, const std::string& id) {
  return std::shared_ptr<VirtioBlock>(new VirtioBlock(std::move(disk), id, loop, nullptr));
}

VirtioBlock::VirtioBlock(DiskFile disk, std::string id, EventLoop& loop, std::unique_ptr<WorkerLoop> worker)
    : disk_(std::move(disk)),
      id_(std::move(id)),
      loop_(loop),
      capacity_(disk_.size() / kSector),
      config_(kConfigBytes, 0),
      worker_(std::move(worker)) {
  const uint32_t sectors_per_block = disk_.block_size() / kSector;
  Put<uint64_t>(config_, kCapacityAt, disk_.size() / kSector);
  Put<uint32_t>(config_, kSegMaxAt, kQueueSize - 2);  // header and status take a descriptor each
  Put<uint32_t>(config_, kBlockSizeAt, disk_.block_size());
  Put<uint16_t>(config_, kMinIoAt, 1);  // in blocks
  Put<uint16_t>(config_, kQueuesAt, 1);
  Put<uint32_t>(config_, kDiscardSectorsAt, kDiscardSectorsMax);
  Put<uint32_t>(config_, kDiscardRangesAt, kRangesMax);
  Put<uint32_t>(config_, kDiscardAlignmentAt, sectors_per_block);
  Put<uint32_t>(config_, kZeroSectorsAt, kZeroSectorsMax);
  Put<uint32_t>(config_, kZeroRangesAt, kRangesMax);
  Put<uint8_t>(config_, kZeroMayUnmapAt, disk_.can_discard() ? 1 : 0);
}

uint64_t VirtioBlock::features() const {
  uint64_t features = kSegMax | kBlockSize | kFlush | kTopology;
  if (disk_.readonly()) return features | kReadOnly;
  features |= kWriteZeroes;
  return disk_.can_discard() ? features | kDiscard : features;
}

std::span<const uint16_t> VirtioBlock::queue_sizes() const {
  return kQueueSizes;
}

void VirtioBlock::ReadConfig(uint64_t offset, std::span<uint8_t> data) {
  std::lock_guard lock(config_mutex_);
  for (size_t i = 0; i < data.size(); ++i) data[i] = offset + i < config_.size() ? config_[offset + i] : 0;
}

Status VirtioBlock::Activate(VirtioActivation activation) {
  if (!activation.queues[0].ring) return InvalidArgument("the driver has not enabled the request queue");
  const int kick = activation.queues[0].kick_fd;
  stopping_ = false;
  active_ = std::move(activation);
  Status added = loop_.Add(kick, EPOLLIN, [this](uint32_t) { Serve(); });
  if (!added.ok()) {
    active_.reset();
    return added;
  }
  std::lock_guard lock(config_mutex_);
  interrupt_ = active_->interrupt;
  return OkStatus();
}

Status VirtioBlock::Grow(uint64_t bytes) {
  std::lock_guard lock(config_mutex_);
  if (bytes % kSector != 0 || bytes / kSector < capacity_) {
    return InvalidArgument("disk " + id_ + " of " + std::to_string(capacity_ * kSector) +
                               " bytes can only become larger, by whole sectors of 512; not " +
                               std::to_string(bytes),
                           "desired_size");
  }
  TRY(disk_.Grow(bytes));
  capacity_ = bytes / kSector;
  Put<uint64_t>(config_, kCapacityAt, bytes / kSector);
  if (interrupt_ != nullptr) interrupt_->SignalConfig();
  return OkStatus();
}

VirtioDevice::CounterList VirtioBlock::Counters() const {
  return {{"read_bytes", read_bytes_},
          {"read_ops", read_ops_},
          {"write_bytes", write_bytes_},
          {"write_ops", write_ops_}};
}

void VirtioBlock::Reset() {
  if (!active_) return;
  {
    std::lock_guard lock(config_mutex_);
    interrupt_ = nullptr;
  }
  stopping_ = true;
  loop_.Remove(active_->queues[0].kick_fd);
  active_.reset();
}

void VirtioBlock::Serve() {
  auto& [ring, kick] = active_->queues[0];
  DrainEvent(kick);
  auto more = ServeQueue(
      *ring, chain_, kBudget, [this](const DescriptorChain& chain) { return Handle(chain); },
      [this] { active_->interrupt->SignalQueue(0); });
  if (!more) {
    loop_.Remove(kick);
    return active_->interrupt->Fail(more.error());
  }
  if (*more) SignalEvent(kick);
}

Result<uint32_t> VirtioBlock::Handle(const DescriptorChain& chain) {
  struct {
    uint32_t type;
    uint32_t reserved;
    uint64_t sector;
  } header{};
  static_assert(sizeof header == kHeaderBytes);
  if (chain.readable.CopyOut(0, {reinterpret_cast<uint8_t*>(&header), sizeof header}) != sizeof header) {
    return InvalidArgument("block request without a whole header");
  }
  if (chain.writable.size() == 0) return InvalidArgument("block request without room for a status");
  const uint8_t status = Execute(header.type, header.sector, chain);
  chain.writable.CopyIn(chain.writable.size() - 1, {&status, 1});
  return static_cast<uint32_t>(chain.writable.size());
}

uint8_t VirtioBlock::Execute(uint32_t type, uint64_t sector, const DescriptorChain& chain) {
  switch (type) {
    case kTypeIn:
      return Transfer(false, sector, chain.writable, 0, chain.writable.size() - 1);
    case kTypeOut:
      if (disk_.readonly()) return kIoError;
      return Transfer(true, sector, chain.readable, kHeaderBytes, chain.readable.size() - kHeaderBytes);
    case kTypeFlush:
      return Finish(disk_.Flush());
    case kTypeGetId: {
      uint8_t id[kIdBytes] = {};
      std::memcpy(id, id_.data(), std::min(id_.size(), sizeof id));
      chain.writable.CopyIn(0, {id, std::min<uint64_t>(sizeof id, chain.writable.size() - 1)});
      return kOk;
    }
    case kTypeDiscard:
    case kTypeWriteZeroes:
      return ChangeRanges(type, chain.readable);
    default:
      return kUnsupported;
  }
}

bool VirtioBlock::Inside(uint64_t sector, uint64_t bytes) const {
  const uint64_t capacity = capacity_;
  return bytes % kSector == 0 && sector <= capacity && bytes / kSector <= capacity - sector;
}

uint8_t VirtioBlock::Transfer(bool write, uint64_t sector, const ByteList& data, uint64_t offset,
                              uint64_t length) {
  if (!Inside(sector, length)) return kIoError;
  for (uint64_t done = 0; done < length;) {
    if (stopping_) return kIoError;
    const uint64_t chunk = std::min(length - done, kChunk);
    buffers_.clear();
    data.AppendIovecs(offset + done, chunk, buffers_);
    const uint64_t position = sector * kSector + done;
    const Status moved = write ? disk_.Write(position, buffers_) : disk_.Read(position, buffers_);
    if (!moved.ok()) return Finish(moved);
    done += chunk;
  }
  (write ? write_bytes_ : read_bytes_) += length;
  ++(write ? write_ops_ : read_ops_);
  // Without the flush feature the driver takes every completed write for durable (virtio 1.2, 5.2.6.2).
  if (write && !(active_->features & kFlush)) return Finish(disk_.Flush());
  return kOk;
}

uint8_t VirtioBlock::ChangeRanges(uint32_t type, const ByteList& request) {
  const uint64_t bytes = request.size() - kHeaderBytes;
  if (!(features() & (type == kTypeDiscard ? kDiscard : kWriteZeroes))) return kUnsupported;
  if (bytes == 0 || bytes % kRangeBytes != 0 || bytes / kRangeBytes > kRangesMax) return kIoError;
  for (uint64_t at = kHeaderBytes; at < request.size(); at += kRangeBytes) {
    struct {
      uint64_t sector;
      uint32_t sectors;
      uint32_t flags;
    } range{};
    static_assert(sizeof range == kRangeBytes);
    request.CopyOut(at, {reinterpret_cast<uint8_t*>(&range), sizeof range});
    const uint8_t status = ChangeRange(type, range.sector, range.sectors, range.flags);
    if (status != kOk) return status;
  }
  if (!(active_->features & kFlush)) return Finish(disk_.Flush());
  return kOk;
}

uint8_t VirtioBlock::ChangeRange(uint32_t type, uint64_t sector, uint32_t sectors, uint32_t flags) {
  const bool discard = type == kTypeDiscard;
  if (flags & ~(discard ? 0 : kMayUnmap)) return kUnsupported;
  const uint64_t bytes = sectors * kSector;
  if (sectors == 0) return kOk;
  if (sectors > (discard ? kDiscardSectorsMax : kZeroSectorsMax) || !Inside(sector, bytes)) return kIoError;
  if (stopping_) return kIoError;
  if (!discard) return Finish(disk_.WriteZeroes(sector * kSector, bytes, (flags & kMayUnmap) != 0));
  const Status discarded = disk_.Discard(sector * kSector, bytes);
  // Storage that cannot free anything has heard the hint.
  return discarded.code() == StatusCode::kUnimplemented ? kOk : Finish(discarded);
}

uint8_t VirtioBlock::Finish(const Status& done) {
  if (done.ok()) return kOk;
  if (errors_logged_.fetch_add(1) < kErrorsLogged) {
    LOG(kWarning, "disk_request_failed", {{"disk", id_}, {"reason", done}});
  }
  return kIoError;
}

}  // namespace berth::vmm
