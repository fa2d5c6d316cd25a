#include "vmm/cvm/td_hob.h"

#include <algorithm>
#include <cstring>
#include <span>
#include <string>

#include "vmm/cvm/bytes.h"
#include "vmm/cvm/firmware_table.h"

namespace berth::vmm {
namespace {

constexpr uint16_t kHandoff = 1, kResource = 3, kGuidExtension = 4, kEnd = 0xffff;
// td-shim's (doc/tdshim_spec.md): what lies in the PAYLOAD section, and one ACPI table.
constexpr Guid kPayloadInfo = MakeGuid("b96fa412-461f-4be3-8c0d-ad805a497ac0");
constexpr Guid kAcpiTable = MakeGuid("6a0c5870-d4ed-44f4-a135-dd238b6f0c8d");
constexpr uint32_t kPayloadBzImage = 1;
constexpr uint32_t kHandoffVersion = 9;
constexpr uint32_t kSystemMemory = 0, kUnacceptedMemory = 7;  // EFI_RESOURCE_*
// Present, initialised and tested: what TDVF expects of every range.
constexpr uint32_t kAttributes = 0x7;

struct HobHeader {
  uint16_t type;
  uint16_t length;
  uint32_t reserved;
};
struct HandoffHob {
  HobHeader header;
  uint32_t version;
  uint32_t boot_mode;
  uint64_t memory_top, memory_bottom, free_top, free_bottom;
  uint64_t end_of_list;  // address of the end block
};
struct ResourceHob {
  HobHeader header;
  uint8_t owner[16];
  uint32_t type;
  uint32_t attributes;
  uint64_t start;
  uint64_t length;
};
struct PayloadInfo {
  uint32_t image_type;
  uint32_t reserved;
  uint64_t entry;  // 0: as the image says
};
static_assert(sizeof(HandoffHob) == 56 && sizeof(ResourceHob) == 48);

template <class T>
void Append(std::vector<uint8_t>& bytes, const T& hob) {
  const auto raw = BytesOf(hob);
  bytes.insert(bytes.end(), raw.begin(), raw.end());
}

// A block of a kind of its own: GUID and data, filled up to 8 bytes.
Status AppendGuid(std::vector<uint8_t>& bytes, const Guid& guid, std::span<const uint8_t> data) {
  const size_t size = (sizeof(HobHeader) + guid.size() + data.size() + 7) / 8 * 8;
  if (size > UINT16_MAX) {
    return OutOfRange("a table of " + std::to_string(data.size()) +
                      " bytes is too large for the list that the firmware gets, at most 65504");
  }
  Append(bytes, HobHeader{kGuidExtension, static_cast<uint16_t>(size), 0});
  Append(bytes, guid);
  bytes.insert(bytes.end(), data.begin(), data.end());
  bytes.resize((bytes.size() + 7) / 8 * 8);
  return OkStatus();
}

}  // namespace

Result<std::vector<uint8_t>> BuildTdHob(uint64_t gpa, uint64_t room, const TdHobContent& content) {
  std::vector<uint8_t> bytes(sizeof(HandoffHob));
  for (const HobRange& range : content.ranges) {
    ResourceHob hob{};
    hob.header = {kResource, sizeof(ResourceHob), 0};
    hob.type = range.accepted ? kSystemMemory : kUnacceptedMemory;
    hob.attributes = kAttributes;
    hob.start = range.base;
    hob.length = range.size;
    Append(bytes, hob);
  }
  if (content.linux_payload)
    TRY(AppendGuid(bytes, kPayloadInfo, BytesOf(PayloadInfo{kPayloadBzImage, 0, 0})));
  for (const std::vector<uint8_t>& table : content.acpi_tables) TRY(AppendGuid(bytes, kAcpiTable, table));
  HandoffHob handoff{};
  handoff.header = {kHandoff, sizeof(HandoffHob), 0};
  handoff.version = kHandoffVersion;
  handoff.end_of_list = gpa + bytes.size();
  std::memcpy(bytes.data(), &handoff, sizeof handoff);
  Append(bytes, HobHeader{kEnd, sizeof(HobHeader), 0});
  if (bytes.size() > room) {
    return OutOfRange("the firmware has " + std::to_string(room) + " bytes for the list of its memory, " +
                      std::to_string(bytes.size()) + " are needed for " +
                      std::to_string(content.ranges.size()) + " ranges and " +
                      std::to_string(content.acpi_tables.size()) + " ACPI tables");
  }
  return bytes;
}

std::vector<HobRange> CutRanges(const std::vector<HobRange>& ram, const std::vector<HobRange>& launched) {
  std::vector<HobRange> cuts = launched;
  std::vector<HobRange> sorted = ram;
  auto by_base = [](const HobRange& a, const HobRange& b) { return a.base < b.base; };
  std::sort(cuts.begin(), cuts.end(), by_base);
  std::sort(sorted.begin(), sorted.end(), by_base);
  std::vector<HobRange> pieces;
  for (const HobRange& range : sorted) {
    uint64_t at = range.base;
    const uint64_t end = range.base + range.size;
    for (const HobRange& cut : cuts) {
      const uint64_t from = std::max(at, cut.base), to = std::min(end, cut.base + cut.size);
      if (from >= to) continue;
      if (from > at) pieces.push_back({at, from - at, false});
      pieces.push_back({from, to - from, true});
      at = to;
    }
    if (at < end) pieces.push_back({at, end - at, false});
  }
  return pieces;
}

Result<TdHobContent> ParseTdHob(uint64_t gpa, const std::vector<uint8_t>& bytes) {
  const auto handoff = ReadAt<HandoffHob>(bytes, 0);
  if (!handoff || handoff->header.type != kHandoff || handoff->header.length != sizeof(HandoffHob) ||
      handoff->version != kHandoffVersion) {
    return InvalidArgument("the list does not start with a handoff block");
  }
  TdHobContent content;
  uint64_t at = sizeof(HandoffHob);
  while (true) {
    const auto header = ReadAt<HobHeader>(bytes, at);
    if (!header || header->length < sizeof(HobHeader) || header->length % 8 != 0 ||
        header->length > bytes.size() - at) {
      return InvalidArgument("a block is cut off");
    }
    if (header->type == kEnd) break;
    if (header->type == kResource) {
      const auto hob = ReadAt<ResourceHob>(bytes, at);
      if (!hob || header->length != sizeof(ResourceHob))
        return InvalidArgument("a resource block is cut off");
      content.ranges.push_back({hob->start, hob->length, hob->type == kSystemMemory});
    } else if (header->type == kGuidExtension) {
      const auto guid = ReadAt<Guid>(bytes, at + sizeof(HobHeader));
      const uint64_t data = at + sizeof(HobHeader) + sizeof(Guid), end = at + header->length;
      if (!guid || data > end) return InvalidArgument("a block with a GUID is cut off");
      content.linux_payload = content.linux_payload || *guid == kPayloadInfo;
      if (*guid == kAcpiTable) {
        content.acpi_tables.emplace_back(bytes.begin() + static_cast<ptrdiff_t>(data),
                                         bytes.begin() + static_cast<ptrdiff_t>(end));
      }
    }
    at += header->length;
  }
  if (handoff->end_of_list != gpa + at)
    return InvalidArgument("the end of the list is not where it should be");
  return content;
}

}  // namespace berth::vmm
