#include "vmm/cvm/tdvf.h"

#include <algorithm>
#include <string>

#include "vmm/cvm/bytes.h"
#include "vmm/cvm/firmware_table.h"

namespace berth::vmm {
namespace {

constexpr Guid kMetadataGuid = MakeGuid("e47a6535-984a-4798-865e-4685a7bf8ec2");
constexpr uint64_t kPage = 4096;
constexpr uint32_t kSignature = 0x46564454;  // "TDVF"
constexpr uint32_t kVersion = 1;
constexpr uint32_t kMaxSections = 64;
constexpr uint64_t kLegacyPointer = 0x20;               // before the image's end: the descriptor's offset
constexpr uint64_t kMaxLaunched = uint64_t{512} << 20;  // of one section
constexpr uint32_t kExtendMr = 1, kPageAug = 2;
constexpr uint64_t kMaxGpa = uint64_t{1} << 46;  // below any shared bit

struct Descriptor {
  uint32_t signature;
  uint32_t length;
  uint32_t version;
  uint32_t count;
};
struct RawSection {
  uint32_t data_offset;
  uint32_t raw_size;
  uint64_t gpa;
  uint64_t memory_size;
  uint32_t type;
  uint32_t attributes;
};
static_assert(sizeof(Descriptor) == 16 && sizeof(RawSection) == 32);

Status Bad(uint32_t index, const std::string& what) {
  return InvalidArgument("section " + std::to_string(index) + " of the firmware's TDVF metadata " + what);
}

Result<uint64_t> FindDescriptor(std::span<const uint8_t> image) {
  TRY_ASSIGN(auto table, ReadFirmwareTable(image));
  if (auto from_end = FirmwareTableValue(table, kMetadataGuid)) {
    if (*from_end > image.size()) return InvalidArgument("the TDVF metadata lies outside of the firmware");
    return image.size() - *from_end;
  }
  if (image.size() >= kLegacyPointer) {
    const auto offset = ReadAt<uint32_t>(image, image.size() - kLegacyPointer);
    const auto descriptor = ReadAt<Descriptor>(image, *offset);
    if (descriptor && descriptor->signature == kSignature) return *offset;
  }
  return InvalidArgument("the firmware has no TDVF metadata: it is not made for TDX");
}

Result<TdvfSection> ReadSection(std::span<const uint8_t> image, uint64_t offset, uint32_t index) {
  const auto raw = ReadAt<RawSection>(image, offset);
  if (!raw) return Bad(index, "lies outside of the image");
  if (raw->type > static_cast<uint32_t>(TdvfSection::Type::kPayloadParam)) {
    return Bad(index, "has the unknown type " + std::to_string(raw->type));
  }
  if ((raw->attributes & ~(kExtendMr | kPageAug)) != 0) {
    return Bad(index, "has unknown attributes " + std::to_string(raw->attributes));
  }
  TdvfSection section;
  section.type = static_cast<TdvfSection::Type>(raw->type);
  section.gpa = raw->gpa;
  section.memory_size = raw->memory_size;
  section.data_offset = raw->data_offset;
  section.data_size = raw->raw_size;
  section.measured = (raw->attributes & kExtendMr) != 0;
  section.added_later = (raw->attributes & kPageAug) != 0;
  if (section.gpa % kPage != 0 || section.memory_size % kPage != 0 || section.memory_size == 0) {
    return Bad(index, "is not whole pages");
  }
  if (section.gpa >= kMaxGpa || section.memory_size > kMaxGpa - section.gpa) {
    return Bad(index, "lies above the guest's addresses");
  }
  if (section.data_offset > image.size() || section.data_size > image.size() - section.data_offset) {
    return Bad(index, "has its data outside of the image");
  }
  if (section.data_size > section.memory_size) return Bad(index, "has more data than memory");
  const bool is_room =
      section.type == TdvfSection::Type::kTdHob || section.type == TdvfSection::Type::kTempMem;
  if (is_room && (section.data_size != 0 || section.measured)) return Bad(index, "is room, but has data");
  if (!section.added_later && section.memory_size > kMaxLaunched) {
    return Bad(index, "wants more than 512 MiB at launch");
  }
  if (section.added_later && section.measured) return Bad(index, "is measured, but not there at launch");
  return section;
}

Status CheckTogether(const std::vector<TdvfSection>& sections) {
  auto count = [&](TdvfSection::Type type) {
    return std::count_if(sections.begin(), sections.end(),
                         [type](const TdvfSection& section) { return section.type == type; });
  };
  for (auto type : {TdvfSection::Type::kBootFirmware, TdvfSection::Type::kTdHob}) {
    if (count(type) != 1) {
      return InvalidArgument("the firmware's TDVF metadata has " + std::to_string(count(type)) +
                             " sections " + TdvfSectionName(type) + ", must have one");
    }
  }
  std::vector<TdvfSection> sorted = sections;
  std::sort(sorted.begin(), sorted.end(),
            [](const TdvfSection& a, const TdvfSection& b) { return a.gpa < b.gpa; });
  for (size_t i = 1; i < sorted.size(); ++i) {
    if (sorted[i].gpa < sorted[i - 1].gpa + sorted[i - 1].memory_size) {
      return InvalidArgument("two sections of the firmware's TDVF metadata overlap");
    }
  }
  return OkStatus();
}

}  // namespace

const char* TdvfSectionName(TdvfSection::Type type) {
  constexpr const char* kNames[] = {"BFV",      "CFV",     "TD_HOB",       "TEMP_MEM",
                                    "PERM_MEM", "PAYLOAD", "PAYLOAD_PARAM"};
  return kNames[static_cast<uint32_t>(type)];
}

Result<std::vector<TdvfSection>> ParseTdvf(std::span<const uint8_t> image) {
  TRY_ASSIGN(const uint64_t at, FindDescriptor(image));
  const auto descriptor = ReadAt<Descriptor>(image, at);
  if (!descriptor || descriptor->signature != kSignature) {
    return InvalidArgument("the firmware's TDVF metadata has no signature");
  }
  if (descriptor->version != kVersion) {
    return InvalidArgument("the firmware's TDVF metadata has version " + std::to_string(descriptor->version) +
                           ", must be " + std::to_string(kVersion));
  }
  if (descriptor->count == 0 || descriptor->count > kMaxSections ||
      descriptor->length < sizeof(Descriptor) + descriptor->count * sizeof(RawSection)) {
    return InvalidArgument("the firmware's TDVF metadata has " + std::to_string(descriptor->count) +
                           " sections in " + std::to_string(descriptor->length) + " bytes");
  }
  std::vector<TdvfSection> sections;
  for (uint32_t i = 0; i < descriptor->count; ++i) {
    TRY_ASSIGN(TdvfSection section, ReadSection(image, at + sizeof(Descriptor) + i * sizeof(RawSection), i));
    sections.push_back(section);
  }
  TRY(CheckTogether(sections));
  return sections;
}

}  // namespace berth::vmm
