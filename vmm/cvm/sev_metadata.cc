#include "vmm/cvm/sev_metadata.h"

#include <string>

#include "vmm/cvm/bytes.h"
#include "vmm/cvm/firmware_table.h"

namespace berth::vmm {
namespace {

constexpr Guid kMetadata = MakeGuid("dc886566-984a-4798-a75e-5585a7bf67cc");
constexpr Guid kResetBlock = MakeGuid("00f771de-1a7e-4fcb-890e-68c77e2fb44e");
constexpr uint32_t kSignature = 0x56455341;  // "ASEV"
constexpr uint32_t kMaxSections = 64;
constexpr uint32_t kPage = 4096;

struct Header {
  uint32_t signature;
  uint32_t length;
  uint32_t version;
  uint32_t count;
};
struct RawSection {
  uint32_t gpa;
  uint32_t size;
  uint32_t type;
};

bool IsKnown(uint32_t type) {
  return (type >= 1 && type <= 4) || type == static_cast<uint32_t>(SevSection::Type::kKernelHashes);
}

}  // namespace

Result<SevMetadata> ParseSevMetadata(std::span<const uint8_t> image) {
  TRY_ASSIGN(auto table, ReadFirmwareTable(image));
  const auto from_end = FirmwareTableValue(table, kMetadata);
  if (!from_end) return InvalidArgument("the firmware has no SEV metadata: it is not made for SEV-SNP");
  if (*from_end > image.size()) return InvalidArgument("the SEV metadata lies outside of the firmware");
  const uint64_t at = image.size() - *from_end;
  const auto header = ReadAt<Header>(image, at);
  if (!header || header->signature != kSignature || header->version != 1) {
    return InvalidArgument("the firmware's SEV metadata has no signature, or a version other than 1");
  }
  if (header->count > kMaxSections || header->length < sizeof(Header) + header->count * sizeof(RawSection)) {
    return InvalidArgument("the firmware's SEV metadata has " + std::to_string(header->count) +
                           " sections in " + std::to_string(header->length) + " bytes");
  }
  SevMetadata metadata;
  for (uint32_t i = 0; i < header->count; ++i) {
    const auto raw = ReadAt<RawSection>(image, at + sizeof(Header) + i * sizeof(RawSection));
    const std::string which = "section " + std::to_string(i) + " of the firmware's SEV metadata ";
    if (!raw) return InvalidArgument(which + "lies outside of the image");
    if (!IsKnown(raw->type))
      return InvalidArgument(which + "has the unknown type " + std::to_string(raw->type));
    if (raw->gpa % kPage != 0 || raw->size % kPage != 0 || raw->size == 0 ||
        raw->size > UINT32_MAX - raw->gpa) {
      return InvalidArgument(which + "is not whole pages");
    }
    const auto type = static_cast<SevSection::Type>(raw->type);
    const bool one_page = type != SevSection::Type::kMemory;
    if (one_page && raw->size != kPage) return InvalidArgument(which + "must be one page");
    metadata.sections.push_back({type, raw->gpa, raw->size});
  }
  if (auto eip = FirmwareTableValue(table, kResetBlock)) metadata.reset_eip = *eip;
  return metadata;
}

}  // namespace berth::vmm
