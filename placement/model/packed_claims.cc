#include "placement/model/packed_claims.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "placement/model/claim_codec.h"

namespace berth::placement {
namespace {

using Size = uint32_t;
constexpr size_t kHead = sizeof(Uuid::bytes) + sizeof(Size);

}  // namespace

PackedClaims::Entry PackedClaims::EntryAt(std::string_view bytes, size_t at) {
  Entry entry;
  Size size = 0;
  std::memcpy(entry.consumer.bytes.data(), bytes.data() + at, sizeof entry.consumer.bytes);
  std::memcpy(&size, bytes.data() + at + sizeof entry.consumer.bytes, sizeof size);
  entry.packed = bytes.substr(at + kHead, size);
  entry.end = at + kHead + size;
  return entry;
}

Claim PackedClaims::Unpack(const Entry& entry) const {
  return UnpackClaim(entry.packed, entry.consumer, host_);
}

PackedClaims::Place PackedClaims::Locate(const Uuid& consumer) const {
  Place place;
  if (chunks_.empty()) return place;
  auto after = std::upper_bound(
      chunks_.begin(), chunks_.end(), consumer,
      [](const Uuid& one, const ChunkPtr& chunk) { return one < EntryAt(chunk->bytes, 0).consumer; });
  place.chunk = after == chunks_.begin() ? 0 : static_cast<size_t>(after - chunks_.begin()) - 1;
  const std::string& bytes = chunks_[place.chunk]->bytes;
  while (place.begin < bytes.size()) {
    const Entry entry = EntryAt(bytes, place.begin);
    if (entry.consumer >= consumer) {
      place.end = entry.consumer == consumer ? entry.end : place.begin;
      return place;
    }
    place.begin = entry.end;
  }
  place.end = place.begin;
  return place;
}

bool PackedClaims::contains(const Uuid& consumer) const {
  return Locate(consumer).found();
}

std::optional<Claim> PackedClaims::Find(const Uuid& consumer) const {
  const Place place = Locate(consumer);
  if (!place.found()) return std::nullopt;
  return Unpack(EntryAt(chunks_[place.chunk]->bytes, place.begin));
}

std::vector<Uuid> PackedClaims::Named(std::string_view name) const {
  std::vector<Uuid> out;
  for (const ChunkPtr& chunk : chunks_) {
    for (size_t at = 0; at < chunk->bytes.size();) {
      const Entry entry = EntryAt(chunk->bytes, at);
      if (NameOfPacked(entry.packed) == name) out.push_back(entry.consumer);
      at = entry.end;
    }
  }
  return out;
}

void PackedClaims::Put(const Claim& claim) {
  if (chunks_.empty()) {
    host_ = claim.host;
    chunks_.push_back(std::make_shared<const Chunk>());
  }
  std::string entry(kHead, '\0');
  PackClaim(claim, host_, entry);
  const auto size = static_cast<Size>(entry.size() - kHead);
  std::memcpy(entry.data(), claim.consumer.bytes.data(), sizeof claim.consumer.bytes);
  std::memcpy(entry.data() + sizeof claim.consumer.bytes, &size, sizeof size);
  // The chunk that was just made has no first consumer to look at.
  Replace(chunks_.front()->count == 0 ? Place{} : Locate(claim.consumer), entry);
}

bool PackedClaims::Erase(const Uuid& consumer) {
  const Place place = Locate(consumer);
  if (!place.found()) return false;
  Replace(place, {});
  return true;
}

void PackedClaims::Replace(const Place& place, std::string_view entry) {
  const Chunk& old = *chunks_[place.chunk];
  Chunk next;
  next.count = old.count - (place.found() ? 1 : 0) + (entry.empty() ? 0 : 1);
  size_ += next.count;
  size_ -= old.count;
  if (next.count == 0) {
    chunks_.erase(chunks_.begin() + static_cast<ptrdiff_t>(place.chunk));
    return;
  }
  // Not a byte more than needed: chunks stay for as long as the claims.
  next.bytes.reserve(old.bytes.size() - (place.end - place.begin) + entry.size());
  next.bytes.append(old.bytes, 0, place.begin);
  next.bytes += entry;
  next.bytes.append(old.bytes, place.end);
  chunks_[place.chunk] = std::make_shared<const Chunk>(std::move(next));
  Balance(place.chunk);
}

void PackedClaims::Balance(size_t chunk) {
  const ChunkPtr one = chunks_[chunk];
  auto at = chunks_.begin() + static_cast<ptrdiff_t>(chunk);
  if (one->count > kMost) {
    const uint32_t half = one->count / 2;
    size_t middle = 0;
    for (uint32_t i = 0; i < half; ++i) middle = EntryAt(one->bytes, middle).end;
    *at = std::make_shared<const Chunk>(Chunk{half, one->bytes.substr(0, middle)});
    chunks_.insert(at + 1,
                   std::make_shared<const Chunk>(Chunk{one->count - half, one->bytes.substr(middle)}));
    return;
  }
  if (chunk + 1 == chunks_.size() || one->count + at[1]->count > kMost / 2) return;
  *at = std::make_shared<const Chunk>(Chunk{one->count + at[1]->count, one->bytes + at[1]->bytes});
  chunks_.erase(at + 1);
}

}  // namespace berth::placement
