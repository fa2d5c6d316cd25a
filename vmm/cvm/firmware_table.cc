#include "vmm/cvm/firmware_table.h"

#include <algorithm>
#include <string>

#include "vmm/cvm/bytes.h"

namespace berth::vmm {
namespace {

constexpr Guid kFooter = MakeGuid("96b582de-1fb2-45f7-baea-a366c55a082d");
constexpr uint64_t kAfterTable = 32;   // the reset vector
constexpr uint64_t kEntryHeader = 18;  // length and GUID, behind the entry's data

struct Header {
  uint16_t length = 0;  // of data and header
  Guid guid{};
};

// The header that ends at `end`.
std::optional<Header> HeaderBefore(std::span<const uint8_t> image, uint64_t end) {
  if (end < kEntryHeader) return std::nullopt;
  const auto length = ReadAt<uint16_t>(image, end - kEntryHeader);
  const auto guid = ReadAt<Guid>(image, end - 16);
  if (!length || !guid) return std::nullopt;
  return Header{*length, *guid};
}

}  // namespace

Result<std::vector<FirmwareTableEntry>> ReadFirmwareTable(std::span<const uint8_t> image) {
  std::vector<FirmwareTableEntry> entries;
  if (image.size() < kAfterTable + kEntryHeader) return entries;
  uint64_t end = image.size() - kAfterTable;
  const auto footer = HeaderBefore(image, end);
  if (!footer || footer->guid != kFooter) return entries;
  // The footer's length is that of the whole table, itself included.
  if (footer->length < kEntryHeader || footer->length > end) {
    return InvalidArgument("the firmware's table of GUIDs says that it is " + std::to_string(footer->length) +
                           " bytes long");
  }
  const uint64_t begin = end - footer->length;
  end -= kEntryHeader;
  while (end > begin) {
    const auto header = HeaderBefore(image, end);
    if (!header || header->length < kEntryHeader || header->length > end - begin) {
      return InvalidArgument("the firmware's table of GUIDs has an entry that does not fit, " +
                             std::to_string(image.size() - end) + " bytes before the image's end");
    }
    entries.push_back({header->guid, image.subspan(end - header->length, header->length - kEntryHeader)});
    end -= header->length;
  }
  return entries;
}

std::optional<uint32_t> FirmwareTableValue(const std::vector<FirmwareTableEntry>& table, const Guid& guid) {
  auto found = std::find_if(table.begin(), table.end(),
                            [&](const FirmwareTableEntry& entry) { return entry.guid == guid; });
  return found == table.end() ? std::nullopt : ReadAt<uint32_t>(found->data, 0);
}

}  // namespace berth::vmm
