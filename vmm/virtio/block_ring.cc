#include "vmm/virtio/block_ring.h"

#include <errno.h>

#include <algorithm>

namespace berth::vmm {
namespace {

constexpr size_t kVectorsMax = 1024;  // IOV_MAX
constexpr uint32_t kMostRefusals = 100;

}  // namespace

Result<std::unique_ptr<BlockRing>> BlockRing::Create(BlockRequests& requests, uint16_t depth) {
  std::unique_ptr<BlockRing> self(new BlockRing(requests));
  TRY_ASSIGN(self->ring_, IoRing::Create(depth));
  self->slots_.resize(depth);
  // The ones used last are used first: a quiet disk touches few of them.
  for (uint16_t i = depth; i > 0; --i) self->free_.push_back(static_cast<uint16_t>(i - 1));
  return self;
}

void BlockRing::Begin(const BlockMove& move) {
  const uint16_t index = free_.back();
  Slot& slot = slots_[index];
  slot.move = move;
  slot.moved = 0;
  slot.refused = 0;
  free_.pop_back();
  ++under_way_;
  Queue(index);
}

void BlockRing::Queue(size_t index) {
  Slot& slot = slots_[index];
  const BlockMove& move = slot.move;
  const int file = requests_.disk().fd();
  if (move.kind == BlockMove::Kind::kFlush) return ring_->Flush(file, index);
  const bool write = move.kind == BlockMove::Kind::kWrite;
  const ByteList& data = write ? slot.chain.readable : slot.chain.writable;
  slot.buffers.clear();
  data.AppendIovecs(move.offset + slot.moved, std::min(move.length - slot.moved, BlockRequests::kChunk),
                    slot.buffers);
  const std::span<const iovec> buffers(slot.buffers.data(), std::min(slot.buffers.size(), kVectorsMax));
  if (write) {
    ring_->Write(file, buffers, move.position + slot.moved, move.durable, index, slot.refused > 0);
  } else {
    ring_->Read(file, buffers, move.position + slot.moved, index, slot.refused > 0);
  }
}

std::optional<uint8_t> BlockRing::Advance(Slot& slot, int32_t result) {
  // "Not now" of a file that is not there yet: the next try may wait for it, and is seldom refused.
  const bool again = result == -EINTR || (result == -EAGAIN && slot.refused < kMostRefusals);
  if (result == -EAGAIN) ++slot.refused;
  if (again && !requests_.stopping()) return std::nullopt;
  if (result < 0) return requests_.Failed(slot.move, -result);
  if (slot.move.kind == BlockMove::Kind::kFlush) return requests_.Succeeded(slot.move);
  if (result == 0 && slot.moved < slot.move.length) return requests_.Failed(slot.move, 0);
  slot.moved += static_cast<uint64_t>(result);
  if (slot.moved >= slot.move.length) return requests_.Succeeded(slot.move);
  if (requests_.stopping()) return requests_.Failed(slot.move, ECANCELED);
  return std::nullopt;
}

Status BlockRing::Reap(const Done& done) {
  bool again = false;
  while (const auto completion = ring_->Take()) {
    const auto index = static_cast<uint16_t>(completion->tag);
    Slot& slot = slots_[index];
    const std::optional<uint8_t> status = Advance(slot, completion->result);
    if (!status) {
      Queue(index);
      again = true;
      continue;
    }
    const uint32_t written = BlockRequests::End(slot.chain, *status);
    free_.push_back(index);
    --under_way_;
    done(slot.chain.head, written);
  }
  return again ? ring_->Submit() : OkStatus();
}

void BlockRing::Drain(const Done& done) {
  while (!idle()) {
    // Nothing that is under way can be taken back, so there is no way on but to wait.
    CHECK(ring_->Submit(1).ok());
    CHECK(Reap(done).ok());
  }
}

}  // namespace berth::vmm
