#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "common/status.h"

namespace berth::vmm {

// What an IGVM file (Independent Guest Virtual Machine, github.com/microsoft/igvm) says of one platform: the
// pages that the guest starts with, in the order in which they are measured.
struct IgvmFile {
  enum class Platform : uint8_t {
    kNative = 0,
    kVsmIsolation = 1,
    kSevSnp = 2,
    kTdx = 3,
    kSev = 4,
    kSevEs = 5
  };

  struct Page {
    enum class Kind { kNormal, kSecrets, kCpuid, kCpuidExtended };
    Kind kind = Kind::kNormal;
    uint64_t gpa = 0;
    uint64_t size = 4096;  // or 2 MiB
    bool unmeasured = false;
    bool shared = false;
    std::span<const uint8_t> data;  // in the file; at most `size`, zeros fill the rest
  };
  // A vCPU's initial state, in the platform's own form (a VMSA for SEV-SNP).
  struct VpContext {
    uint64_t gpa = 0;
    uint16_t index = 0;
    std::span<const uint8_t> data;
  };
  struct RequiredMemory {
    uint64_t gpa = 0;
    uint32_t size = 0;
  };
  // A parameter area that the VMM fills and puts at `gpa`, unmeasured.
  struct Parameter {
    enum class Kind {
      kVpCount,
      kSrat,
      kMadt,
      kMmioRanges,
      kMemoryMap,
      kCommandLine,
      kSlit,
      kPptt,
      kDeviceTree,
      kEnvironment
    };
    Kind kind = Kind::kVpCount;
    uint32_t area = 0;
    uint32_t offset = 0;
  };
  struct ParameterArea {
    uint64_t size = 0;
    uint32_t index = 0;
    std::span<const uint8_t> data;        // initial content
    std::optional<uint64_t> inserted_at;  // address
  };
  // In the order of the file, for the measurement: what is at `index` in the list of its kind.
  struct Step {
    enum class What { kPage, kVpContext, kInsertArea };
    What what = What::kPage;
    size_t index = 0;
  };
  struct IdBlock {
    bool author_key_enabled = false;
    std::array<uint8_t, 48> launch_digest{};
    std::array<uint8_t, 16> family_id{};
    std::array<uint8_t, 16> image_id{};
    uint32_t version = 0;
    uint32_t guest_svn = 0;
    std::span<const uint8_t> keys;  // algorithms, signatures and public keys, as in the file
  };

  uint64_t shared_gpa_boundary = 0;
  std::optional<uint64_t> policy;
  std::vector<Page> pages;
  std::vector<VpContext> vp_contexts;
  std::vector<RequiredMemory> required_memory;
  std::vector<Parameter> parameters;
  std::vector<ParameterArea> areas;
  std::vector<Step> steps;
  std::optional<IdBlock> id_block;
};

// Reads any bytes. kInvalidArgument says what is wrong and where: header, checksum, a header that is cut off
// or unknown (without the bit that makes it optional), data outside of the file, pages that overlap or are
// not aligned, parameters of an area that does not exist. The result points into `file`.
Result<IgvmFile> ParseIgvm(std::span<const uint8_t> file, IgvmFile::Platform platform);

// The checksum of an IGVM file's headers (CRC-32 of IEEE 802.3).
uint32_t IgvmChecksum(std::span<const uint8_t> bytes);

}  // namespace berth::vmm
