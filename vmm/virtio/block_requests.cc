#include "vmm/virtio/block_requests.h"

#include <errno.h>

#include <algorithm>
#include <cstring>

#include "common/log.h"

namespace berth::vmm {
namespace {

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

constexpr uint64_t kHeaderBytes = 16;
constexpr uint64_t kRangeBytes = 16;
constexpr uint32_t kErrorsLogged = 16;  // for each device, because a guest can cause them at will

// The fields of a request's header; one copy, because the guest can change them at any time.
struct Header {
  uint32_t type;
  uint32_t reserved;
  uint64_t sector;
};
static_assert(sizeof(Header) == kHeaderBytes);

std::optional<Header> ReadHeader(const DescriptorChain& chain) {
  Header header{};
  if (chain.readable.CopyOut(0, {reinterpret_cast<uint8_t*>(&header), sizeof header}) != sizeof header) {
    return std::nullopt;
  }
  return header;
}

}  // namespace

uint64_t BlockRequests::features() const {
  uint64_t features = kBlockSegMax | kBlockBlockSize | kBlockFlush | kBlockTopology;
  if (disk_.readonly()) return features | kBlockReadOnly;
  features |= kBlockWriteZeroes;
  return disk_.can_discard() ? features | kBlockDiscard : features;
}

uint64_t BlockRequests::DataBytes(const DescriptorChain& chain) {
  const uint64_t out = chain.readable.size() > kHeaderBytes ? chain.readable.size() - kHeaderBytes : 0;
  const uint64_t in = chain.writable.size() > 0 ? chain.writable.size() - 1 : 0;
  return out + in;
}

Result<uint32_t> BlockRequests::Handle(const DescriptorChain& chain, uint64_t negotiated) {
  negotiated_ = negotiated;
  const std::optional<Header> header = ReadHeader(chain);
  if (!header) return InvalidArgument("block request without a whole header");
  if (chain.writable.size() == 0) return InvalidArgument("block request without room for a status");
  return End(chain, Execute(header->type, header->sector, chain));
}

uint32_t BlockRequests::End(const DescriptorChain& chain, uint8_t status) {
  chain.writable.CopyIn(chain.writable.size() - 1, {&status, 1});
  return static_cast<uint32_t>(chain.writable.size());
}

std::optional<BlockMove> BlockRequests::Plan(const DescriptorChain& chain, uint64_t negotiated) {
  const std::optional<Header> header = ReadHeader(chain);
  if (!header || chain.writable.size() == 0) return std::nullopt;
  BlockMove move;
  if (header->type == kTypeFlush) {
    if (disk_.readonly()) return std::nullopt;
    return move;
  }
  const bool write = header->type == kTypeOut;
  if ((!write && header->type != kTypeIn) || (write && disk_.readonly())) return std::nullopt;
  move.kind = write ? BlockMove::Kind::kWrite : BlockMove::Kind::kRead;
  move.offset = write ? kHeaderBytes : 0;
  move.length = write ? chain.readable.size() - kHeaderBytes : chain.writable.size() - 1;
  move.durable = write && !(negotiated & kBlockFlush);
  if (move.length == 0 || !Inside(header->sector, move.length)) return std::nullopt;
  move.position = header->sector * kBlockSector;
  if (!disk_.direct()) return move;
  // Through a bounce buffer if need be, which Handle does.
  buffers_.clear();
  (write ? chain.readable : chain.writable).AppendIovecs(move.offset, move.length, buffers_);
  if (!disk_.Aligned(move.position, buffers_)) return std::nullopt;
  return move;
}

uint8_t BlockRequests::Succeeded(const BlockMove& move) {
  if (move.kind == BlockMove::Kind::kFlush) return kOk;
  const bool write = move.kind == BlockMove::Kind::kWrite;
  (write ? state_.write_bytes : state_.read_bytes) += move.length;
  ++(write ? state_.write_ops : state_.read_ops);
  return kOk;
}

uint8_t BlockRequests::Failed(const BlockMove& move, int error) {
  if (error == ECANCELED) return kIoError;
  const char* what = move.kind == BlockMove::Kind::kFlush   ? "flush of "
                     : move.kind == BlockMove::Kind::kWrite ? "write to "
                                                            : "read of ";
  return Finish(error == 0 ? DataLoss("disk " + state_.id + " ends before its size")
                           : ErrnoStatus(what + state_.id, error));
}

uint8_t BlockRequests::Execute(uint32_t type, uint64_t sector, const DescriptorChain& chain) {
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
      std::memcpy(id, state_.serial.data(), std::min(state_.serial.size(), sizeof id));
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

bool BlockRequests::Inside(uint64_t sector, uint64_t bytes) const {
  const uint64_t capacity = state_.capacity;
  return bytes % kBlockSector == 0 && sector <= capacity && bytes / kBlockSector <= capacity - sector;
}

uint8_t BlockRequests::Transfer(bool write, uint64_t sector, const ByteList& data, uint64_t offset,
                                uint64_t length) {
  if (!Inside(sector, length)) return kIoError;
  for (uint64_t done = 0; done < length;) {
    if (state_.stopping) return kIoError;
    const uint64_t chunk = std::min(length - done, kChunk);
    buffers_.clear();
    data.AppendIovecs(offset + done, chunk, buffers_);
    const uint64_t position = sector * kBlockSector + done;
    const Status moved = write ? disk_.Write(position, buffers_) : disk_.Read(position, buffers_);
    if (!moved.ok()) return Finish(moved);
    done += chunk;
  }
  (write ? state_.write_bytes : state_.read_bytes) += length;
  ++(write ? state_.write_ops : state_.read_ops);
  // Without the flush feature the driver takes every completed write for durable (virtio 1.2, 5.2.6.2).
  if (write && !(negotiated_ & kBlockFlush)) return Finish(disk_.Flush());
  return kOk;
}

uint8_t BlockRequests::ChangeRanges(uint32_t type, const ByteList& request) {
  const uint64_t bytes = request.size() - kHeaderBytes;
  if (!(features() & (type == kTypeDiscard ? kBlockDiscard : kBlockWriteZeroes))) return kUnsupported;
  if (bytes == 0 || bytes % kRangeBytes != 0 || bytes / kRangeBytes > kBlockRangesMax) return kIoError;
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
  if (!(negotiated_ & kBlockFlush)) return Finish(disk_.Flush());
  return kOk;
}

uint8_t BlockRequests::ChangeRange(uint32_t type, uint64_t sector, uint32_t sectors, uint32_t flags) {
  const bool discard = type == kTypeDiscard;
  if (flags & ~(discard ? 0 : kMayUnmap)) return kUnsupported;
  const uint64_t bytes = sectors * kBlockSector;
  if (sectors == 0) return kOk;
  if (sectors > (discard ? kBlockDiscardSectorsMax : kBlockZeroSectorsMax) || !Inside(sector, bytes))
    return kIoError;
  if (state_.stopping) return kIoError;
  if (!discard) return Finish(disk_.WriteZeroes(sector * kBlockSector, bytes, (flags & kMayUnmap) != 0));
  const Status discarded = disk_.Discard(sector * kBlockSector, bytes);
  // Storage that cannot free anything has heard the hint.
  return discarded.code() == StatusCode::kUnimplemented ? kOk : Finish(discarded);
}

uint8_t BlockRequests::Finish(const Status& done) {
  if (done.ok()) return kOk;
  if (state_.errors_logged.fetch_add(1) < kErrorsLogged) {
    LOG(kWarning, "disk_request_failed", {{"disk", state_.id}, {"reason", done}});
  }
  return kIoError;
}

}  // namespace berth::vmm
