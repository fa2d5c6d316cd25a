#include "vmm/cvm/igvm.h"

#include <algorithm>
#include <cstdio>
#include <map>
#include <string>

#include "vmm/cvm/bytes.h"

namespace berth::vmm {
namespace {

constexpr uint32_t kMagic = 0x4d564749;  // "IGVM"
constexpr uint64_t kPage = 4096, kLargePage = uint64_t{2} << 20;
constexpr uint64_t kMaxGpa = uint64_t{1} << 52;
constexpr size_t kMaxHeaders = 1 << 20;
constexpr uint64_t kMaxArea = 16 << 20;
constexpr uint32_t kOptional = uint32_t{1} << 31;

enum HeaderType : uint32_t {
  kSupportedPlatform = 0x1,
  kGuestPolicy = 0x101,
  kRelocatableRegion = 0x102,
  kPageTableRelocation = 0x103,
  kParameterArea = 0x301,
  kPageData = 0x302,
  kParameterInsert = 0x303,
  kVpContext = 0x304,
  kRequiredMemory = 0x305,
  kVpCount = 0x307,
  kSrat = 0x308,
  kMadt = 0x309,
  kMmioRanges = 0x30a,
  kSnpIdBlock = 0x30b,
  kMemoryMap = 0x30c,
  kErrorRange = 0x30d,
  kCommandLine = 0x30e,
  kSlit = 0x30f,
  kPptt = 0x310,
  kVbsMeasurement = 0x311,
  kDeviceTree = 0x312,
  kEnvironment = 0x313,
};

struct FixedHeader {
  uint32_t magic, version, headers_offset, headers_size, file_size, checksum;
};
struct VariableHeader {
  uint32_t type, length;
};
struct PlatformHeader {
  uint32_t mask;
  uint8_t highest_vtl, type;
  uint16_t version;
  uint64_t shared_gpa_boundary;
};
struct PolicyHeader {
  uint64_t policy;
  uint32_t mask, reserved;
};
struct AreaHeader {
  uint64_t bytes;
  uint32_t index, file_offset;
};
struct PageHeader {
  uint64_t gpa;
  uint32_t mask, file_offset, flags;
  uint16_t type, reserved;
};
struct InsertHeader {
  uint64_t gpa;
  uint32_t mask, area;
};
#pragma pack(push, 4)
struct VpHeader {
  uint64_t gpa;
  uint32_t mask, file_offset;
  uint16_t index, reserved;
};
#pragma pack(pop)
struct MemoryHeader {
  uint64_t gpa;
  uint32_t mask, bytes, flags, reserved;
};
struct ParameterHeader {
  uint32_t area, offset;
};
struct IdBlockHeader {
  uint32_t mask;
  uint8_t author_key_enabled, reserved[3];
  std::array<uint8_t, 48> digest;
  std::array<uint8_t, 16> family_id, image_id;
  uint32_t version, svn;
};
static_assert(sizeof(FixedHeader) == 24 && sizeof(PlatformHeader) == 16 && sizeof(PageHeader) == 24 &&
              sizeof(VpHeader) == 20 && sizeof(MemoryHeader) == 24 && sizeof(IdBlockHeader) == 96);

std::string Hex(uint64_t value) {
  char text[24];
  std::snprintf(text, sizeof text, "%#llx", static_cast<unsigned long long>(value));
  return text;
}

std::optional<IgvmFile::Parameter::Kind> ParameterKind(uint32_t type) {
  using Kind = IgvmFile::Parameter::Kind;
  switch (type) {
    case kVpCount:
      return Kind::kVpCount;
    case kSrat:
      return Kind::kSrat;
    case kMadt:
      return Kind::kMadt;
    case kMmioRanges:
      return Kind::kMmioRanges;
    case kMemoryMap:
      return Kind::kMemoryMap;
    case kCommandLine:
      return Kind::kCommandLine;
    case kSlit:
      return Kind::kSlit;
    case kPptt:
      return Kind::kPptt;
    case kDeviceTree:
      return Kind::kDeviceTree;
    case kEnvironment:
      return Kind::kEnvironment;
    default:
      return std::nullopt;
  }
}

class Reader {
 public:
  Reader(std::span<const uint8_t> file, IgvmFile::Platform platform) : file_(file), platform_(platform) {}

  Result<IgvmFile> Read() {
    TRY(ReadFixedHeader());
    TRY(ForEachHeader(
        [this](uint32_t type, std::span<const uint8_t> body) { return FindPlatform(type, body); }));
    if (mask_ == 0) {
      return InvalidArgument("the IGVM file is not made for this platform (type " +
                             std::to_string(static_cast<int>(platform_)) + ")");
    }
    TRY(ForEachHeader(
        [this](uint32_t type, std::span<const uint8_t> body) { return ReadHeader(type, body); }));
    TRY(CheckParameters());
    TRY(CheckOverlaps());
    return std::move(result_);
  }

 private:
  Status Bad(const std::string& what) const {
    return InvalidArgument("IGVM file, header at " + Hex(at_) + ": " + what);
  }

  Status ReadFixedHeader() {
    const auto fixed = ReadAt<FixedHeader>(file_, 0);
    if (!fixed || fixed->magic != kMagic) return InvalidArgument("not an IGVM file");
    if (fixed->version != 1 && fixed->version != 2) {
      return InvalidArgument("the IGVM file has format version " + std::to_string(fixed->version) +
                             ", 1 and 2 are known");
    }
    const uint64_t fixed_size = fixed->version == 1 ? sizeof(FixedHeader) : sizeof(FixedHeader) + 8;
    if (fixed->version == 2) {
      const auto architecture = ReadAt<uint32_t>(file_, sizeof(FixedHeader));
      const auto page_size = ReadAt<uint32_t>(file_, sizeof(FixedHeader) + 4);
      if (!architecture || !page_size || *architecture != 0 || *page_size != kPage) {
        return InvalidArgument("the IGVM file is not for x86-64 with pages of 4 KiB");
      }
    }
    if (fixed->file_size > file_.size()) {
      return InvalidArgument("the IGVM file is cut off: " + std::to_string(file_.size()) + " of " +
                             std::to_string(fixed->file_size) + " bytes");
    }
    file_ = file_.first(fixed->file_size);
    if (fixed->headers_offset < fixed_size || fixed->headers_offset > file_.size() ||
        fixed->headers_size > file_.size() - fixed->headers_offset) {
      return InvalidArgument("the IGVM file's headers lie outside of it");
    }
    headers_offset_ = fixed->headers_offset;
    headers_ = file_.subspan(fixed->headers_offset, fixed->headers_size);
    // Over the fixed header, with a checksum of 0, and the variable ones.
    std::vector<uint8_t> covered(file_.begin(), file_.begin() + static_cast<ptrdiff_t>(fixed_size));
    std::fill_n(covered.begin() + 20, 4, uint8_t{0});
    covered.insert(covered.end(), headers_.begin(), headers_.end());
    if (const uint32_t sum = IgvmChecksum(covered); sum != fixed->checksum) {
      return InvalidArgument("the IGVM file's checksum is " + Hex(sum) + ", its header says " +
                             Hex(fixed->checksum));
    }
    return OkStatus();
  }

  template <class Visit>
  Status ForEachHeader(Visit visit) {
    uint64_t offset = 0;
    size_t count = 0;
    while (offset < headers_.size()) {
      at_ = headers_offset_ + offset;
      const auto header = ReadAt<VariableHeader>(headers_, offset);
      if (!header || header->length > headers_.size() - offset - sizeof(VariableHeader))
        return Bad("is cut off");
      if (++count > kMaxHeaders) return Bad("is one too many");
      TRY(visit(header->type, headers_.subspan(offset + sizeof(VariableHeader), header->length)));
      // Every header starts at a multiple of 8.
      offset += sizeof(VariableHeader) + (uint64_t{header->length} + 7) / 8 * 8;
    }
    return OkStatus();
  }

  template <class T>
  Result<T> Body(std::span<const uint8_t> body) const {
    const auto value = ReadAt<T>(body, 0);
    if (!value)
      return Bad("has " + std::to_string(body.size()) + " bytes, needs " + std::to_string(sizeof(T)));
    return *value;
  }

  // Up to `most` bytes of the file; none at offset 0.
  Result<std::span<const uint8_t>> Data(uint32_t offset, uint64_t most) const {
    if (offset == 0) return std::span<const uint8_t>();
    if (offset >= file_.size()) return Bad("has its data outside of the file");
    return file_.subspan(offset, std::min<uint64_t>(most, file_.size() - offset));
  }

  Status FindPlatform(uint32_t type, std::span<const uint8_t> body) {
    if (type != kSupportedPlatform) return OkStatus();
    TRY_ASSIGN(auto header, Body<PlatformHeader>(body));
    if (header.mask == 0 || (header.mask & (header.mask - 1)) != 0) return Bad("has not one platform bit");
    if (header.type != static_cast<uint8_t>(platform_)) return OkStatus();
    if (header.version != 1)
      return Bad("has platform version " + std::to_string(header.version) + ", must be 1");
    if (mask_ != 0) return Bad("names the platform a second time");
    mask_ = header.mask;
    result_.shared_gpa_boundary = header.shared_gpa_boundary;
    return OkStatus();
  }

  bool Ours(uint32_t mask) const { return (mask & mask_) != 0; }

  Status ReadHeader(uint32_t type, std::span<const uint8_t> body) {
    if (auto kind = ParameterKind(type)) {
      TRY_ASSIGN(auto header, Body<ParameterHeader>(body));
      result_.parameters.push_back({*kind, header.area, header.offset});
      return OkStatus();
    }
    switch (type) {
      case kSupportedPlatform:
      case kErrorRange:
      case kVbsMeasurement:
        return OkStatus();
      case kGuestPolicy:
        return ReadPolicy(body);
      case kParameterArea:
        return ReadArea(body);
      case kPageData:
        return ReadPage(body);
      case kParameterInsert:
        return ReadInsert(body);
      case kVpContext:
        return ReadVpContext(body);
      case kRequiredMemory:
        return ReadMemory(body);
      case kSnpIdBlock:
        return ReadIdBlock(body);
      case kRelocatableRegion:
      case kPageTableRelocation:
        return OkStatus();  // permissions to move what we leave where it is
      default:
        if ((type & kOptional) != 0) return OkStatus();
        return Bad("has the unknown type " + Hex(type));
    }
  }

  Status ReadPolicy(std::span<const uint8_t> body) {
    TRY_ASSIGN(auto header, Body<PolicyHeader>(body));
    if (!Ours(header.mask)) return OkStatus();
    if (result_.policy) return Bad("is a second guest policy");
    result_.policy = header.policy;
    return OkStatus();
  }

  Status ReadArea(std::span<const uint8_t> body) {
    TRY_ASSIGN(auto header, Body<AreaHeader>(body));
    if (header.bytes == 0 || header.bytes % kPage != 0 || header.bytes > kMaxArea) {
      return Bad("is a parameter area of " + std::to_string(header.bytes) + " bytes");
    }
    if (!area_of_.emplace(header.index, result_.areas.size()).second) return Bad("repeats a parameter area");
    TRY_ASSIGN(auto data, Data(header.file_offset, header.bytes));
    result_.areas.push_back({header.bytes, header.index, data, std::nullopt});
    return OkStatus();
  }

  Status ReadPage(std::span<const uint8_t> body) {
    TRY_ASSIGN(auto header, Body<PageHeader>(body));
    if (!Ours(header.mask)) return OkStatus();
    constexpr uint32_t kLarge = 1, kUnmeasured = 2, kShared = 4;
    if ((header.flags & ~(kLarge | kUnmeasured | kShared)) != 0) return Bad("has unknown flags");
    if (header.type > 3) return Bad("has the unknown page type " + std::to_string(header.type));
    IgvmFile::Page page;
    page.kind = static_cast<IgvmFile::Page::Kind>(header.type);
    page.gpa = header.gpa;
    page.size = (header.flags & kLarge) != 0 ? kLargePage : kPage;
    page.unmeasured = (header.flags & kUnmeasured) != 0;
    page.shared = (header.flags & kShared) != 0;
    if (page.gpa % page.size != 0 || page.gpa >= kMaxGpa) return Bad("has the address " + Hex(page.gpa));
    if (page.kind != IgvmFile::Page::Kind::kNormal && page.size != kPage) return Bad("must be a small page");
    TRY_ASSIGN(page.data, Data(header.file_offset, page.size));
    result_.steps.push_back({IgvmFile::Step::What::kPage, result_.pages.size()});
    result_.pages.push_back(page);
    return OkStatus();
  }

  Status ReadInsert(std::span<const uint8_t> body) {
    TRY_ASSIGN(auto header, Body<InsertHeader>(body));
    if (!Ours(header.mask)) return OkStatus();
    auto area = area_of_.find(header.area);
    if (area == area_of_.end())
      return Bad("inserts parameter area " + std::to_string(header.area) + ", unknown");
    IgvmFile::ParameterArea& target = result_.areas[area->second];
    if (target.inserted_at) return Bad("inserts a parameter area a second time");
    if (header.gpa % kPage != 0 || header.gpa >= kMaxGpa) return Bad("has the address " + Hex(header.gpa));
    target.inserted_at = header.gpa;
    result_.steps.push_back({IgvmFile::Step::What::kInsertArea, area->second});
    return OkStatus();
  }

  Status ReadVpContext(std::span<const uint8_t> body) {
    TRY_ASSIGN(auto header, Body<VpHeader>(body));
    if (!Ours(header.mask)) return OkStatus();
    if (header.gpa % kPage != 0) return Bad("has the address " + Hex(header.gpa));
    TRY_ASSIGN(auto data, Data(header.file_offset, kPage));
    if (data.empty()) return Bad("is a vCPU's state without data");
    for (const IgvmFile::VpContext& other : result_.vp_contexts) {
      if (other.index == header.index)
        return Bad("is a second state of vCPU " + std::to_string(header.index));
    }
    result_.steps.push_back({IgvmFile::Step::What::kVpContext, result_.vp_contexts.size()});
    result_.vp_contexts.push_back({header.gpa, header.index, data});
    return OkStatus();
  }

  Status ReadMemory(std::span<const uint8_t> body) {
    TRY_ASSIGN(auto header, Body<MemoryHeader>(body));
    if (!Ours(header.mask)) return OkStatus();
    if (header.gpa % kPage != 0 || header.bytes % kPage != 0 || header.gpa >= kMaxGpa) {
      return Bad("requires memory that is not whole pages");
    }
    result_.required_memory.push_back({header.gpa, header.bytes});
    return OkStatus();
  }

  Status ReadIdBlock(std::span<const uint8_t> body) {
    TRY_ASSIGN(auto header, Body<IdBlockHeader>(body));
    if (!Ours(header.mask)) return OkStatus();
    if (header.author_key_enabled > 1) return Bad("has an author key flag that is not 0 or 1");
    constexpr size_t kKeys = 4 + 4 + 2 * (144 + 152);
    if (body.size() < sizeof header + kKeys) return Bad("is an identity block without its keys");
    if (result_.id_block) return Bad("is a second identity block");
    result_.id_block = {header.author_key_enabled == 1,
                        header.digest,
                        header.family_id,
                        header.image_id,
                        header.version,
                        header.svn,
                        body.subspan(sizeof header, kKeys)};
    return OkStatus();
  }

  Status CheckParameters() const {
    for (const IgvmFile::Parameter& parameter : result_.parameters) {
      auto area = area_of_.find(parameter.area);
      if (area == area_of_.end()) {
        return InvalidArgument("IGVM file: a parameter goes to area " + std::to_string(parameter.area) +
                               ", which does not exist");
      }
      if (parameter.offset >= result_.areas[area->second].size) {
        return InvalidArgument("IGVM file: a parameter lies beyond its area");
      }
    }
    return OkStatus();
  }

  Status CheckOverlaps() const {
    std::vector<std::pair<uint64_t, uint64_t>> ranges;
    ranges.reserve(result_.pages.size() + result_.areas.size());
    for (const auto& page : result_.pages) ranges.emplace_back(page.gpa, page.gpa + page.size);
    for (const auto& area : result_.areas) {
      if (area.inserted_at) ranges.emplace_back(*area.inserted_at, *area.inserted_at + area.size);
    }
    std::sort(ranges.begin(), ranges.end());
    for (size_t i = 1; i < ranges.size(); ++i) {
      if (ranges[i].first < ranges[i - 1].second) {
        return InvalidArgument("IGVM file: the page at " + Hex(ranges[i].first) + " is there twice");
      }
    }
    return OkStatus();
  }

  std::span<const uint8_t> file_, headers_;
  const IgvmFile::Platform platform_;
  uint64_t headers_offset_ = 0, at_ = 0;
  uint32_t mask_ = 0;
  std::map<uint32_t, size_t> area_of_;
  IgvmFile result_;
};

}  // namespace

Result<IgvmFile> ParseIgvm(std::span<const uint8_t> file, IgvmFile::Platform platform) {
  return Reader(file, platform).Read();
}

uint32_t IgvmChecksum(std::span<const uint8_t> bytes) {
  uint32_t sum = ~uint32_t{0};
  for (uint8_t byte : bytes) {
    sum ^= byte;
    for (int bit = 0; bit < 8; ++bit) sum = sum >> 1 ^ ((sum & 1) != 0 ? 0xedb88320u : 0u);
  }
  return ~sum;
}

}  // namespace berth::vmm
