#include "vmm/viommu/smmuv3/tables.h"

#include <algorithm>
#include <array>
#include <optional>

namespace berth::vmm::smmuv3 {
namespace {

constexpr uint64_t kAddressMask = 0x0000'ffff'ffff'f000;
constexpr uint32_t kPageBits = 12;
constexpr uint32_t kIndexBits = 9;
constexpr uint32_t kLastLevel = 3;
constexpr uint64_t kEntrySize = 64;  // of stream table entries and context descriptors

constexpr uint64_t Bits(uint64_t value, uint32_t low, uint32_t count) {
  return value >> low & ((uint64_t{1} << count) - 1);
}

using Words = std::array<uint64_t, 8>;
std::optional<Words> WordsAt(const GuestMemory& memory, uint64_t address) {
  const Result<Words> words = memory.ReadObject<Words>(Gpa{address});
  if (!words.has_value()) return std::nullopt;
  return *words;
}

// OAS, IPS and S2PS.
uint32_t OutputBits(uint64_t code) {
  constexpr uint32_t kBits[] = {32, 36, 40, 42, 44, 48};
  return std::min(kOutputBits, code < std::size(kBits) ? kBits[code] : kOutputBits);
}

// The level that a walk of that many address bits begins at, without tables side by side.
uint32_t StartLevel(uint32_t input_bits) {
  return kLastLevel - (input_bits - kPageBits - 1) / kIndexBits;
}

// 5.2, S2T0SZ and its neighbours.
bool ReadStage2(const Words& entry, Stage& stage) {
  const uint64_t size = Bits(entry[2], 32, 6);     // S2T0SZ
  const uint64_t level = Bits(entry[2], 38, 2);    // S2SL0
  const uint64_t granule = Bits(entry[2], 46, 2);  // S2TG
  const bool wide = Bits(entry[2], 51, 1) != 0;    // S2AA64
  const bool big_endian = Bits(entry[2], 52, 1) != 0;
  if (granule != 0 || !wide || big_endian || size < 16 || size > 39 || level > 2) return false;
  stage.second = true;
  stage.input_bits = static_cast<uint32_t>(64 - size);
  stage.start_level = static_cast<uint32_t>(2 - level);
  stage.output_bits = OutputBits(Bits(entry[2], 48, 3));
  stage.access_flag = Bits(entry[2], 53, 1) == 0;
  stage.table = entry[3] & 0x0000'ffff'ffff'fff0;
  // Up to 16 tables may lie side by side, and at least two entries must be used.
  const uint32_t below = kPageBits + kIndexBits * (kLastLevel - stage.start_level);
  return stage.input_bits > below && stage.input_bits <= below + kIndexBits + 4;
}

// One half of a context descriptor's address space (5.4).
bool ReadStage1(const Words& descriptor, bool upper, Stage& stage) {
  const uint32_t at = upper ? 16 : 0;
  const uint64_t size = Bits(descriptor[0], at, 6);
  const uint64_t granule = Bits(descriptor[0], at + 6, 2);  // TG0: 0 is 4 KiB; TG1: 2 is
  if (size < 16 || size > 39 || granule != (upper ? 2u : 0u)) return false;
  stage.input_bits = static_cast<uint32_t>(64 - size);
  stage.start_level = StartLevel(stage.input_bits);
  stage.output_bits = OutputBits(Bits(descriptor[0], 32, 3));
  stage.access_flag = Bits(descriptor[0], 35, 1) == 0;
  stage.table = descriptor[upper ? 2 : 1] & 0x0000'ffff'ffff'fff0;
  return true;
}

class Walker {
 public:
  Walker(const GuestMemory& memory, const Stage* nested) : memory_(memory), nested_(nested) {}

  Found<Place> Walk(const Stage& stage, uint64_t address, bool write) {
    Found<Place> found;
    const auto fail = [&](Event event) {
      found.event = event;
      found.value.stage2 = stage.second;
      found.value.ipa = stage.second ? address : 0;
      return found;
    };
    bool may_write = true, unprivileged = true;
    uint64_t table = stage.table;
    for (uint32_t level = stage.start_level;; ++level) {
      const uint32_t shift = kPageBits + kIndexBits * (kLastLevel - level);
      // At the start the index has as many bits as the input leaves.
      const uint32_t bits = level == stage.start_level ? stage.input_bits - shift : kIndexBits;
      uint64_t at = table + 8 * Bits(address, shift, bits);
      // Tables of stage 1 lie where stage 2 says.
      if (nested_ != nullptr && !stage.second) {
        Found<Place> place = Walker(memory_, nullptr).Walk(*nested_, at, false);
        place.value.met = Place::Class::kTable;
        if (place.event != Event::kNone) return place;
        at = place.value.gpa;
      }
      const Result<uint64_t> entry = memory_.ReadObject<uint64_t>(Gpa{at});
      if (!entry.has_value()) return fail(Event::kWalkAbort);
      const bool table_or_page = (*entry & 3) == 3;
      const bool block = (*entry & 3) == 1 && level > 0 && level < kLastLevel;
      if (!table_or_page && !block) return fail(Event::kTranslation);
      const uint64_t next = *entry & kAddressMask;
      if (block || level == kLastLevel) {
        return Leaf(stage, *entry, shift, address, write, may_write, unprivileged, fail);
      }
      if (next >> stage.output_bits != 0) return fail(Event::kAddressSize);
      if (!stage.second) {
        may_write = may_write && Bits(*entry, 62, 1) == 0;  // APTable
        unprivileged = unprivileged && Bits(*entry, 61, 1) == 0;
      }
      table = next;
    }
  }

 private:
  template <class Fail>
  static Found<Place> Leaf(const Stage& stage, uint64_t entry, uint32_t shift, uint64_t address, bool write,
                           bool may_write, bool unprivileged, const Fail& fail) {
    const uint64_t size = uint64_t{1} << shift;
    const uint64_t base = entry & kAddressMask & ~(size - 1);
    if (base >> stage.output_bits != 0) return fail(Event::kAddressSize);
    if (stage.access_flag && Bits(entry, 10, 1) == 0) return fail(Event::kAccessFlag);
    const uint64_t rights = Bits(entry, 6, 2);
    if (stage.second) {  // S2AP: read, write
      if ((rights & (write ? 2 : 1)) == 0) return fail(Event::kPermission);
    } else {  // AP: unprivileged, read-only
      if (!unprivileged || (rights & 1) == 0) return fail(Event::kPermission);
      if (write && (!may_write || (rights & 2) != 0)) return fail(Event::kPermission);
    }
    const uint64_t offset = address & (size - 1);
    return {{.gpa = base + offset, .length = size - offset}};
  }

  const GuestMemory& memory_;
  const Stage* const nested_;  // stage 2, below stage 1
};

Found<Place> SecondStage(const GuestMemory& memory, const Stream& stream, uint64_t address, bool write) {
  Found<Place> found;
  if (address >> stream.stage2.input_bits != 0) {
    found.event = Event::kTranslation;
    found.value.stage2 = true;
    found.value.ipa = address;
  } else {
    found = Walker(memory, nullptr).Walk(stream.stage2, address, write);
  }
  if (found.event != Event::kNone) found.value.quiet = !stream.record;
  return found;
}

}  // namespace

Found<Stream> FindStream(const GuestMemory& memory, const StreamTable& table, uint32_t stream) {
  if (stream >> std::min(table.log2_size, kStreamBits) != 0) return {.event = Event::kBadStream};
  uint64_t at = table.base + kEntrySize * stream;
  if (table.two_levels) {
    const uint64_t first = table.base + 8 * uint64_t{stream >> table.split};
    const Result<uint64_t> descriptor = memory.ReadObject<uint64_t>(Gpa{first});
    if (!descriptor.has_value()) return {.event = Event::kStreamFetch};
    const uint64_t span = Bits(*descriptor, 0, 5);  // 2^(span - 1) entries; 0: none
    const uint64_t index = stream & ((1u << table.split) - 1);
    if (span == 0 || span > table.split + 1 || index >= uint64_t{1} << (span - 1)) {
      return {.event = Event::kBadStream};
    }
    at = (*descriptor & 0x000f'ffff'ffff'ffc0) + kEntrySize * index;
  }
  const std::optional<Words> entry = WordsAt(memory, at);
  if (!entry) return {.event = Event::kStreamFetch};
  const Found<Stream> bad = {.event = Event::kBadStreamEntry};
  if (Bits((*entry)[0], 0, 1) == 0) return bad;
  Stream found;
  const uint64_t config = Bits((*entry)[0], 1, 3);
  if (config < 4) {
    found.kind = Stream::Kind::kAbort;
    return config == 0 ? Found<Stream>{found} : bad;
  }
  found.kind = config == 4 ? Stream::Kind::kBypass : Stream::Kind::kTranslate;
  found.first_stage = (config & 1) != 0;
  found.second_stage = (config & 2) != 0;
  if (found.first_stage) {
    if (Bits((*entry)[0], 59, 5) != 0) return bad;  // S1CDMax: there are no substreams
    found.contexts = (*entry)[0] & 0x000f'ffff'ffff'ffc0;
  }
  if (found.second_stage) {
    if (!ReadStage2(*entry, found.stage2)) return bad;
    if (Bits((*entry)[2], 57, 1) != 0) return bad;  // S2S: no stalls
    found.record = Bits((*entry)[2], 58, 1) != 0;
  }
  return {found};
}

Found<Place> Translate(const GuestMemory& memory, const Stream& stream, uint64_t address, bool write) {
  if (!stream.first_stage) return SecondStage(memory, stream, address, write);
  uint64_t at = stream.contexts;
  if (stream.second_stage) {
    Found<Place> place = SecondStage(memory, stream, at, false);
    place.value.met = Place::Class::kContext;
    if (place.event != Event::kNone) return place;
    at = place.value.gpa;
  }
  const std::optional<Words> descriptor = WordsAt(memory, at);
  if (!descriptor) return {.event = Event::kContextFetch};
  const uint64_t flags = (*descriptor)[0];
  // V, AA64, not big-endian, no stalls.
  if (Bits(flags, 31, 1) == 0 || Bits(flags, 41, 1) == 0 || Bits(flags, 15, 1) != 0 ||
      Bits(flags, 44, 1) != 0) {
    return {.event = Event::kBadContext};
  }
  const bool upper = Bits(address, 55, 1) != 0;
  const bool quiet = Bits(flags, 45, 1) == 0;  // R
  Found<Place> found;
  const auto fail = [&found, quiet](Event event) {
    found.event = event;
    found.value.quiet = quiet;
    return found;
  };
  if (Bits(flags, upper ? 30 : 14, 1) != 0) return fail(Event::kTranslation);  // EPD
  Stage stage;
  if (!ReadStage1(*descriptor, upper, stage)) return {.event = Event::kBadContext};
  const uint64_t above = address >> stage.input_bits;
  const uint64_t ones = UINT64_MAX >> stage.input_bits;
  if (above != (upper ? ones : 0)) return fail(Event::kTranslation);
  found = Walker(memory, stream.second_stage ? &stream.stage2 : nullptr).Walk(stage, address, write);
  if (found.event != Event::kNone) {
    found.value.quiet = found.value.stage2 ? !stream.record : quiet;
    return found;
  }
  if (!stream.second_stage) return found;
  Found<Place> last = SecondStage(memory, stream, found.value.gpa, write);
  last.value.length = std::min(last.value.length, found.value.length);
  return last;
}

}  // namespace berth::vmm::smmuv3
