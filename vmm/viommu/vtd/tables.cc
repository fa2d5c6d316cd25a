#include "vmm/viommu/vtd/tables.h"

#include <algorithm>
#include <array>
#include <optional>

namespace berth::vmm::vtd {
namespace {

constexpr uint64_t kPageBits = 12;
constexpr uint64_t kIndexBits = 9;
constexpr size_t kEntries = size_t{1} << kIndexBits;
constexpr uint64_t kAddressMask = 0x000f'ffff'ffff'f000;

constexpr uint64_t kPresent = 1;
constexpr uint64_t kRead = 1 << 0;
constexpr uint64_t kWrite = 1 << 1;
constexpr uint64_t kLargePage = 1 << 7;

struct Entry {
  uint64_t low, high;
};

std::optional<Entry> EntryAt(const GuestMemory& memory, uint64_t table, uint32_t index) {
  const Result<Entry> entry = memory.ReadObject<Entry>(Gpa{table + sizeof(Entry) * uint64_t{index}});
  if (!entry.has_value()) return std::nullopt;
  return *entry;
}

// Address bits that no entry may have.
uint64_t TooHigh(const Limits& limits) {
  return kAddressMask & ~((uint64_t{1} << limits.physical_bits) - 1);
}

uint64_t ShiftOf(uint32_t level) {
  return kPageBits + kIndexBits * (level - 1);
}

enum class EntryKind { kNothing, kTable, kPage, kReserved };
EntryKind KindOf(uint64_t entry, uint32_t level, const Limits& limits) {
  if ((entry & (kRead | kWrite)) == 0) return EntryKind::kNothing;
  if ((entry & TooHigh(limits)) != 0) return EntryKind::kReserved;
  const bool large = (entry & kLargePage) != 0;
  if (level == 1) return EntryKind::kPage;  // the bit means nothing there
  if (!large) return EntryKind::kTable;
  if (level > 3) return EntryKind::kReserved;
  const uint64_t below = ((uint64_t{1} << ShiftOf(level)) - 1) & kAddressMask;
  return (entry & below) != 0 ? EntryKind::kReserved : EntryKind::kPage;
}

uint64_t LastAddress(const Context& context, const Limits& limits) {
  const uint32_t width = std::min(limits.address_width, context.levels == 4 ? 48u : 39u);
  return (uint64_t{1} << width) - 1;
}

}  // namespace

ContextResult FindContext(const GuestMemory& memory, uint64_t root, uint16_t source, const Limits& limits) {
  ContextResult result;
  const auto fail = [&result](Reason reason) {
    result.reason = reason;
    return result;
  };
  const auto bus = EntryAt(memory, root, source >> 8);
  if (!bus) return fail(Reason::kRootUnreadable);
  if ((bus->low & kPresent) == 0) return fail(Reason::kRootNotPresent);
  if ((bus->low & (0xffe | TooHigh(limits))) != 0 || bus->high != 0) return fail(Reason::kRootReserved);
  const auto entry = EntryAt(memory, bus->low & kAddressMask, source & 0xff);
  if (!entry) return fail(Reason::kContextUnreadable);
  Context& context = result.context;
  context.quiet = (entry->low & 2) != 0;
  if ((entry->low & kPresent) == 0) return fail(Reason::kContextNotPresent);
  context.domain = static_cast<uint16_t>(entry->high >> 8);
  context.table = entry->low & kAddressMask;
  const uint64_t type = entry->low >> 2 & 3;
  const uint64_t width = entry->high & 7;  // AW
  if (type == 3) return fail(Reason::kContextInvalid);
  if (width != 1 && (width != 2 || limits.address_width < 48)) return fail(Reason::kContextInvalid);
  if (type == 2) {
    context.kind = Context::Kind::kPassThrough;
    context.table = 0;  // counts for nothing
  }
  const uint64_t reserved = 0xff0 | (type == 2 ? 0 : TooHigh(limits));
  if ((entry->low & reserved) != 0 || entry->high >> 24 != 0) return fail(Reason::kContextReserved);
  context.levels = static_cast<uint32_t>(width) + 2;
  return result;
}

Reason CheckAccess(const GuestMemory& memory, const Context& context, uint64_t address, bool write,
                   const Limits& limits) {
  if (context.kind == Context::Kind::kPassThrough) return Reason::kNone;
  if (address > LastAddress(context, limits)) return Reason::kAddressTooHigh;
  uint64_t table = context.table;
  for (uint32_t level = context.levels; level > 0; --level) {
    const uint64_t index = address >> ShiftOf(level) & (kEntries - 1);
    const Result<uint64_t> entry = memory.ReadObject<uint64_t>(Gpa{table + 8 * index});
    if (!entry.has_value()) return Reason::kTableUnreadable;
    const EntryKind kind = KindOf(*entry, level, limits);
    if (kind == EntryKind::kReserved) return Reason::kEntryReserved;
    if ((*entry & (write ? kWrite : kRead)) == 0) return write ? Reason::kWrite : Reason::kRead;
    if (kind == EntryKind::kPage) return Reason::kNone;
    table = *entry & kAddressMask;
  }
  return Reason::kNone;
}

bool TableReader::Read(const Context& context, uint64_t first, uint64_t last,
                       std::vector<IommuMapping>& mappings) {
  mappings.clear();
  last = std::min(last, LastAddress(context, limits_));
  if (context.kind != Context::Kind::kTranslate || first > last) return true;
  first_ = first;
  last_ = last;
  mappings_ = &mappings;
  return ReadTable(context.table, context.levels, 0, true, true);
}

bool TableReader::ReadTable(uint64_t table, uint32_t level, uint64_t base, bool read, bool write) {
  if (budget == 0) return false;
  --budget;
  const uint64_t shift = ShiftOf(level);
  const uint64_t end = base + (uint64_t{kEntries} << shift) - 1;
  const uint64_t from = (std::max(first_, base) - base) >> shift;
  const uint64_t to = (std::min(last_, end) - base) >> shift;
  std::array<uint64_t, kEntries> entries;
  const size_t bytes = (to - from + 1) * 8;
  if (!memory_.Read(Gpa{table + from * 8}, {reinterpret_cast<uint8_t*>(entries.data()), bytes}).ok())
    return true;
  for (uint64_t index = from; index <= to; ++index) {
    const uint64_t entry = entries[index - from];
    const EntryKind kind = KindOf(entry, level, limits_);
    if (kind == EntryKind::kNothing || kind == EntryKind::kReserved) continue;
    const bool reads = read && (entry & kRead) != 0;
    const bool writes = write && (entry & kWrite) != 0;
    if (!reads && !writes) continue;
    const uint64_t start = base + (index << shift);
    const uint64_t address = entry & kAddressMask;
    if (kind == EntryKind::kPage) {
      if (mappings_->size() >= IommuMappings::kMax) return false;
      Emit({start, start + (uint64_t{1} << shift) - 1, address, reads, writes});
    } else if (!ReadTable(address, level - 1, start, reads, writes)) {
      return false;
    }
  }
  return true;
}

void TableReader::Emit(IommuMapping page) {
  if (page.first <= kInterruptLast && page.last >= kInterruptFirst) {
    if (page.first < kInterruptFirst)
      Emit({page.first, kInterruptFirst - 1, page.gpa, page.read, page.write});
    if (page.last > kInterruptLast) {
      const uint64_t cut = kInterruptLast + 1 - page.first;
      Emit({kInterruptLast + 1, page.last, page.gpa + cut, page.read, page.write});
    }
    return;
  }
  if (!mappings_->empty()) {
    IommuMapping& before = mappings_->back();
    if (before.last + 1 == page.first && before.gpa + before.size() == page.gpa && before.read == page.read &&
        before.write == page.write) {
      before.last = page.last;
      return;
    }
  }
  mappings_->push_back(page);
}

}  // namespace berth::vmm::vtd
