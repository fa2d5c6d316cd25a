#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/uuid.h"
#include "placement/model/claim.h"

namespace berth::placement {

// The claims of one host by consumer, ascending, in few bytes: for those who keep those of a whole fleet.
// They stand packed (claim_codec.h) in chunks of up to 16. Copies share the chunks, so that the next version
// of a host costs one of them. A value type; thread-compatible.
class PackedClaims {
 public:
  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  bool contains(const Uuid& consumer) const;
  std::optional<Claim> Find(const Uuid& consumer) const;
  // Consumers of the claims with this name.
  std::vector<Uuid> Named(std::string_view name) const;
  // Calls `visit(claim)` for each.
  template <class Visitor>
  void ForEach(Visitor visit) const {
    for (const ChunkPtr& chunk : chunks_) {
      for (size_t at = 0; at < chunk->bytes.size();) {
        const Entry entry = EntryAt(chunk->bytes, at);
        visit(Unpack(entry));
        at = entry.end;
      }
    }
  }

  // Adds the claim, or replaces the consumer's.
  void Put(const Claim& claim);
  // False: there was none.
  bool Erase(const Uuid& consumer);

 private:
  static constexpr uint32_t kMost = 16;

  // One after the other: the consumer, the size of the packed claim, the packed claim.
  struct Chunk {
    uint32_t count = 0;
    std::string bytes;
  };
  using ChunkPtr = std::shared_ptr<const Chunk>;  // shared by versions of the host
  struct Entry {
    Uuid consumer;
    std::string_view packed;
    size_t end;  // of the entry, in the chunk
  };
  // Where a consumer stands, or would stand: bytes from `begin` to `end` are its entry.
  struct Place {
    size_t chunk = 0;
    size_t begin = 0;
    size_t end = 0;
    bool found() const { return end > begin; }
  };

  static Entry EntryAt(std::string_view bytes, size_t at);
  Claim Unpack(const Entry& entry) const;
  Place Locate(const Uuid& consumer) const;
  // Puts `entry` (which may be empty) in the place of the bytes there.
  void Replace(const Place& place, std::string_view entry);
  // Divides a chunk that is too full, or joins it with the next where both are nearly empty.
  void Balance(size_t chunk);

  std::vector<ChunkPtr> chunks_;  // none is empty
  size_t size_ = 0;
  Uuid host_;  // of the claims, but for those that say otherwise
};

}  // namespace berth::placement
