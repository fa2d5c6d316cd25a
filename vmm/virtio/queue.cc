#include "vmm/virtio/queue.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstring>
#include <string>
#include <utility>

namespace berth::vmm {
namespace {

// virtio 1.2, 2.7.5 to 2.7.8.
constexpr uint16_t kNext = 1;
constexpr uint16_t kWrite = 2;
constexpr uint16_t kIndirect = 4;
constexpr uint16_t kNoInterrupt = 1;  // of the available ring's flags
constexpr uint16_t kNoNotify = 1;     // of the used ring's flags

constexpr uint64_t kFlags = 0;
constexpr uint64_t kIndex = 2;
constexpr uint64_t kRing = 4;
// Of one chain behind an IOMMU, each as small as a page: a piece takes memory of the host's for as long as
// the request lasts.
constexpr size_t kMostPieces = 16'384;
constexpr uint64_t kDescriptorSize = 16;
constexpr uint64_t kUsedElementSize = 8;
constexpr uint16_t kSizeMax = 32768;

// Changes when rings that were found may have ceased to be the device's to touch: the IOMMU's mappings have
// changed, or a confidential guest has taken pages back. Each of the two only grows.
uint64_t Generation(const GuestMemory& memory, const AddressTranslator* translator) {
  return memory.generation() + (translator == nullptr ? 0 : translator->generation());
}

}  // namespace

void ByteList::Clear() {
  pieces_.clear();
  size_ = 0;
}

void ByteList::Append(std::span<uint8_t> piece) {
  if (piece.empty()) return;
  pieces_.push_back(piece);
  size_ += piece.size();
}

template <class Use>
uint64_t ByteList::ForEach(uint64_t offset, uint64_t length, Use use) const {
  uint64_t done = 0;
  for (std::span<uint8_t> piece : pieces_) {
    if (done == length) break;
    if (offset >= piece.size()) {
      offset -= piece.size();
      continue;
    }
    const size_t count = std::min<uint64_t>(piece.size() - offset, length - done);
    use(piece.subspan(offset, count));
    done += count;
    offset = 0;
  }
  return done;
}

size_t ByteList::CopyOut(uint64_t offset, std::span<uint8_t> out) const {
  uint8_t* to = out.data();
  return ForEach(offset, out.size(), [&to](std::span<uint8_t> piece) {
    std::memcpy(to, piece.data(), piece.size());
    to += piece.size();
  });
}

size_t ByteList::CopyIn(uint64_t offset, std::span<const uint8_t> in) const {
  const uint8_t* from = in.data();
  return ForEach(offset, in.size(), [&from](std::span<uint8_t> piece) {
    std::memcpy(piece.data(), from, piece.size());
    from += piece.size();
  });
}

void ByteList::AppendIovecs(uint64_t offset, uint64_t length, std::vector<iovec>& out) const {
  ForEach(offset, length, [&out](std::span<uint8_t> piece) { out.push_back({piece.data(), piece.size()}); });
}

void RingMemory::Set(uint64_t address, std::span<const std::span<uint8_t>> pieces) {
  pages_.clear();
  flat_ = pieces.size() == 1 ? pieces[0].data() : nullptr;
  if (flat_ != nullptr) return;
  skew_ = address % kPage;
  uint64_t skew = skew_;
  for (std::span<uint8_t> piece : pieces) {
    for (uint64_t at = 0; at < piece.size(); at += kPage - skew, skew = 0) {
      pages_.push_back(piece.data() + at - skew);
    }
  }
}

Result<SplitQueue> SplitQueue::Create(const GuestMemory& memory, const QueueConfig& config) {
  if (!std::has_single_bit(config.size) || config.size > kSizeMax) {
    return InvalidArgument("queue size " + std::to_string(config.size) +
                           " must be a power of two up to 32768");
  }
  SplitQueue queue(memory, config);
  const MemoryUse use = memory.Use();
  TRY(queue.Locate());
  return queue;
}

void SplitQueue::Seek(const Position& position) {
  next_available_ = position.next_available;
  next_used_ = position.next_used;
  signalled_used_ = position.signalled_used;
}

Result<std::vector<std::span<uint8_t>>> SplitQueue::Ring(const char* name, Gpa at, uint64_t size,
                                                         uint64_t alignment, bool write) const {
  if (Raw(at) % alignment != 0) {
    return InvalidArgument(std::string(name) + " at " + std::to_string(Raw(at)) + " must be aligned to " +
                           std::to_string(alignment));
  }
  std::vector<std::span<uint8_t>> pieces;
  Status status;
  if (config_.translator != nullptr) {
    status = config_.translator->Translate(Raw(at), size, write, pieces);
  } else if (auto span = memory_->Span(at, size); span.has_value()) {
    pieces.push_back(*span);
  } else {
    status = span.error();
  }
  if (!status.ok()) return std::move(status).WithContext(name);
  return pieces;
}

Status SplitQueue::Locate() {
  // Before the translations: what changes meanwhile is seen at the next look.
  generation_ = Generation(*memory_, config_.translator);
  const uint64_t size = config_.size;
  // Both rings end with an event index, whether negotiated or not.
  TRY_ASSIGN(const auto descriptors,
             Ring("descriptor table", config_.descriptors, kDescriptorSize * size, kDescriptorSize, false));
  TRY_ASSIGN(const auto available, Ring("available ring", config_.driver, kRing + 2 * size + 2, 2, false));
  TRY_ASSIGN(const auto used,
             Ring("used ring", config_.device, kRing + kUsedElementSize * size + 2, 4, true));
  descriptors_.Set(Raw(config_.descriptors), descriptors);
  available_.Set(Raw(config_.driver), available);
  used_.Set(Raw(config_.device), used);
  return OkStatus();
}

bool SplitQueue::Current() {
  if (lost_.ok() && Generation(*memory_, config_.translator) != generation_) lost_ = Locate();
  return lost_.ok();
}

// Ring fields are shared with running vCPUs: they are accessed as whole aligned 16-bit atomics, which lie in
// one page. SAFETY: the rings were checked for size and alignment, and mappings are page aligned.
uint16_t SplitQueue::Load(const RingMemory& ring, uint64_t offset) const {
  return std::atomic_ref<uint16_t>(*reinterpret_cast<uint16_t*>(ring.At(offset)))
      .load(std::memory_order_acquire);
}

void SplitQueue::Store(const RingMemory& ring, uint64_t offset, uint16_t value) const {
  std::atomic_ref<uint16_t>(*reinterpret_cast<uint16_t*>(ring.At(offset)))
      .store(value, std::memory_order_release);
}

SplitQueue::Descriptor SplitQueue::LoadDescriptor(uint16_t index) const {
  auto* words = reinterpret_cast<uint64_t*>(descriptors_.At(kDescriptorSize * index));
  const uint64_t address = std::atomic_ref<uint64_t>(words[0]).load(std::memory_order_relaxed);
  const uint64_t rest = std::atomic_ref<uint64_t>(words[1]).load(std::memory_order_relaxed);
  return {address, static_cast<uint32_t>(rest), static_cast<uint16_t>(rest >> 32),
          static_cast<uint16_t>(rest >> 48)};
}

Result<bool> SplitQueue::Pop(DescriptorChain& chain) {
  const MemoryUse use = memory_->Use();
  if (!Current()) return Status(lost_);
  const uint16_t index = Load(available_, kIndex);
  const uint16_t waiting = static_cast<uint16_t>(index - next_available_);
  if (waiting == 0) return false;
  if (waiting > config_.size) {
    return InvalidArgument("available index " + std::to_string(index) + " is " + std::to_string(waiting) +
                           " ahead in a queue of " + std::to_string(config_.size));
  }
  const uint16_t head = Load(available_, kRing + uint64_t{2} * (next_available_ & (config_.size - 1)));
  chain.head = head;
  chain.readable.Clear();
  chain.writable.Clear();
  TRY(Walk(head, chain));
  if (memory_->restricted()) Hold(chain);
  ++next_available_;
  return true;
}

void SplitQueue::Hold(const DescriptorChain& chain) {
  Held& held = held_.emplace_back(Held{chain.head, {}});
  for (const ByteList* list : {&chain.readable, &chain.writable}) {
    if (list->size() > 0) held.buffers.push_back(memory_->Hold(list->pieces()));
  }
}

void SplitQueue::Unpop() {
  --next_available_;
  if (!held_.empty()) held_.pop_back();
}

Status SplitQueue::Walk(uint16_t head, DescriptorChain& chain) {
  uint16_t index = head;
  for (uint32_t count = 0; count < config_.size; ++count) {
    if (index >= config_.size) {
      return InvalidArgument("descriptor index " + std::to_string(index) + " in a queue of " +
                             std::to_string(config_.size));
    }
    const Descriptor descriptor = LoadDescriptor(index);
    if (descriptor.flags & kIndirect) return WalkIndirect(descriptor, count, chain);
    TRY(AddBuffer(descriptor, chain));
    if (!(descriptor.flags & kNext)) return OkStatus();
    index = descriptor.next;
  }
  return InvalidArgument("descriptor chain is longer than the queue of " + std::to_string(config_.size));
}

Status SplitQueue::CopyTable(uint64_t address, uint32_t length) {
  auto* to = reinterpret_cast<uint8_t*>(table_.data());
  if (config_.translator == nullptr) return memory_->Read(Gpa{address}, {to, length});
  std::vector<std::span<uint8_t>> pieces;
  TRY(config_.translator->Translate(address, length, false, pieces));
  for (const std::span<uint8_t> piece : pieces) {
    std::memcpy(to, piece.data(), piece.size());
    to += piece.size();
  }
  return OkStatus();
}

Status SplitQueue::WalkIndirect(const Descriptor& table, uint32_t used_up, DescriptorChain& chain) {
  if (!config_.indirect) return InvalidArgument("indirect descriptor without the feature");
  // virtio 1.2, 2.7.5.3.1: the table is the chain's last descriptor.
  if (table.flags & kNext) return InvalidArgument("indirect descriptor with a successor");
  const uint32_t entries = table.length / kDescriptorSize;
  if (entries == 0 || table.length % kDescriptorSize != 0 || entries > config_.size - used_up) {
    return InvalidArgument("indirect table of " + std::to_string(table.length) + " bytes in a queue of " +
                           std::to_string(config_.size));
  }
  table_.resize(entries);
  TRY(CopyTable(table.address, table.length));
  uint32_t index = 0;
  for (uint32_t count = 0; count < entries; ++count) {
    if (index >= entries) {
      return InvalidArgument("index " + std::to_string(index) + " in an indirect table of " +
                             std::to_string(entries));
    }
    const Descriptor& descriptor = table_[index];
    if (descriptor.flags & kIndirect) return InvalidArgument("indirect descriptor in an indirect table");
    TRY(AddBuffer(descriptor, chain));
    if (!(descriptor.flags & kNext)) return OkStatus();
    index = descriptor.next;
  }
  return InvalidArgument("loop in an indirect table of " + std::to_string(entries));
}

Status SplitQueue::AddBuffer(const Descriptor& descriptor, DescriptorChain& chain) const {
  if (descriptor.length == 0) return InvalidArgument("empty descriptor");
  const bool write = (descriptor.flags & kWrite) != 0;
  // virtio 1.2, 2.7.4.2.
  if (!write && chain.writable.size() != 0) {
    return InvalidArgument("device-readable descriptor after a device-writable one");
  }
  if (chain.readable.size() + chain.writable.size() + descriptor.length > UINT32_MAX) {
    return InvalidArgument("descriptor chain of more than 4 GiB");
  }
  ByteList& list = write ? chain.writable : chain.readable;
  if (config_.translator != nullptr) {
    std::vector<std::span<uint8_t>> pieces;
    TRY(config_.translator->Translate(descriptor.address, descriptor.length, write, pieces));
    for (const std::span<uint8_t> piece : pieces) list.Append(piece);
    if (list.pieces().size() > kMostPieces) {
      return InvalidArgument("descriptor chain of more than " + std::to_string(kMostPieces) +
                             " pieces of memory");
    }
    return OkStatus();
  }
  auto whole = memory_->Span(Gpa{descriptor.address}, descriptor.length);
  if (whole) {
    list.Append(*whole);
    return OkStatus();
  }
  // Not in one region: put together from neighbours, which is rare (zones that touch).
  TRY_ASSIGN(const auto pieces, memory_->Spans(Gpa{descriptor.address}, descriptor.length));
  for (const std::span<uint8_t> piece : pieces) list.Append(piece);
  return OkStatus();
}

void SplitQueue::Push(uint16_t head, uint32_t written) {
  const Used used{head, written};
  PushAll({&used, 1});
}

void SplitQueue::PushAll(std::span<const Used> chains) {
  for (const Used& chain : chains) {
    const auto held =
        std::find_if(held_.begin(), held_.end(), [&](const Held& h) { return h.head == chain.head; });
    if (held != held_.end()) held_.erase(held);
  }
  const MemoryUse use = memory_->Use();
  if (!Current()) return;  // the next Pop says so
  for (const Used& chain : chains) {
    const uint64_t at = kRing + kUsedElementSize * (next_used_ & (config_.size - 1u));
    const uint32_t head = chain.head;
    // Two halves, for the second may lie in another page. The driver looks at them only after the index says
    // so.
    std::memcpy(used_.At(at), &head, sizeof head);
    std::memcpy(used_.At(at + sizeof head), &chain.written, sizeof chain.written);
    ++next_used_;
  }
  Store(used_, kIndex, next_used_);
}

bool SplitQueue::NeedsInterrupt() {
  const uint16_t before = std::exchange(signalled_used_, next_used_);
  if (before == next_used_) return false;
  const MemoryUse use = memory_->Use();
  if (!Current()) return false;
  // The used index must be visible before the driver's wish is read, or both sides may wait.
  std::atomic_thread_fence(std::memory_order_seq_cst);
  if (!config_.event_idx) return !(Load(available_, kFlags) & kNoInterrupt);
  const uint16_t event = Load(available_, kRing + uint64_t{2} * config_.size);
  // virtio 1.2, 2.7.7.2: the event index was passed by what has been pushed since.
  return static_cast<uint16_t>(next_used_ - event - 1) < static_cast<uint16_t>(next_used_ - before);
}

void SplitQueue::DisableNotifications() {
  // With event indices, not moving the event is enough.
  if (config_.event_idx) return;
  const MemoryUse use = memory_->Use();
  if (Current()) Store(used_, kFlags, kNoNotify);
}

bool SplitQueue::EnableNotifications(uint16_t seen) {
  const MemoryUse use = memory_->Use();
  if (!Current()) return true;  // Pop says what is wrong
  const uint16_t expected = static_cast<uint16_t>(next_available_ + seen);
  if (config_.event_idx) {
    Store(used_, kRing + kUsedElementSize * config_.size, expected);
  } else {
    Store(used_, kFlags, 0);
  }
  std::atomic_thread_fence(std::memory_order_seq_cst);
  return Load(available_, kIndex) != expected;
}

}  // namespace berth::vmm
