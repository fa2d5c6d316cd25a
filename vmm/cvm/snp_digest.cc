#include "vmm/cvm/snp_digest.h"

#include <cstring>

#include "common/status.h"
#include "vmm/cvm/bytes.h"
#include "vmm/kvm/confidential_abi.h"

namespace berth::vmm {
namespace {

constexpr uint64_t kPage = 4096;
// Where the firmware's page map has VMSAs, which have no guest-physical address.
constexpr uint64_t kVmsaGpa = 0xfffffffff000;

struct PageInfo {
  Sha384Digest digest;
  Sha384Digest contents;
  uint16_t length;
  uint8_t type;
  uint8_t imi;             // migration images: never
  uint8_t permissions[4];  // of the lower privilege levels: none
  uint64_t gpa;
};
static_assert(sizeof(PageInfo) == 112);

}  // namespace

void SnpDigest::Add(uint8_t type, uint64_t gpa, const Sha384Digest& contents) {
  PageInfo info{};
  info.digest = value_;
  info.contents = contents;
  info.length = sizeof info;
  info.type = type;
  info.gpa = gpa;
  value_ = Sha384::Of(BytesOf(info));
}

void SnpDigest::AddNormal(uint64_t gpa, std::span<const uint8_t> page) {
  CHECK(page.size() == kPage);
  Add(abi::kSnpPageNormal, gpa, Sha384::Of(page));
}

void SnpDigest::AddZero(uint64_t gpa, uint64_t size) {
  for (uint64_t offset = 0; offset < size; offset += kPage) Add(abi::kSnpPageZero, gpa + offset, {});
}

void SnpDigest::AddUnmeasured(uint64_t gpa, uint64_t size) {
  for (uint64_t offset = 0; offset < size; offset += kPage) Add(abi::kSnpPageUnmeasured, gpa + offset, {});
}

void SnpDigest::AddSecrets(uint64_t gpa) {
  Add(abi::kSnpPageSecrets, gpa, {});
}

void SnpDigest::AddCpuid(uint64_t gpa) {
  Add(abi::kSnpPageCpuid, gpa, {});
}

void SnpDigest::AddVmsa(std::span<const uint8_t> page) {
  CHECK(page.size() == kPage);
  Add(abi::kSnpPageVmsa, kVmsaGpa, Sha384::Of(page));
}

SnpDigest SnpDigest::StartingAt(const Sha384Digest& value) {
  SnpDigest digest;
  digest.value_ = value;
  return digest;
}

std::array<uint8_t, 4096> BuildVmsa(const SnpVcpuState& state) {
  std::array<uint8_t, 4096> page{};
  auto put = [&page](size_t offset, uint64_t value, size_t size) {
    for (size_t i = 0; i < size; ++i) page[offset + i] = static_cast<uint8_t>(value >> (8 * i));
  };
  // Segments of 16 bytes: selector, attributes, limit, base.
  auto segment = [&put](size_t index, uint16_t selector, uint16_t attributes, uint64_t base) {
    put(16 * index, selector, 2);
    put(16 * index + 2, attributes, 2);
    put(16 * index + 4, 0xffff, 4);
    put(16 * index + 8, base, 8);
  };
  constexpr uint16_t kCode = 0x9b, kData = 0x93, kLdt = 0x82, kTask = 0x8b;
  segment(0, 0, kData, 0);                                   // ES
  segment(1, 0xf000, kCode, state.reset_eip & 0xffff0000u);  // CS
  for (size_t index : {2, 3, 4, 5}) segment(index, 0, kData, 0);
  segment(6, 0, 0, 0);                      // GDTR
  segment(7, 0, kLdt, 0);                   // LDTR
  segment(8, 0, 0, 0);                      // IDTR
  segment(9, 0, kTask, 0);                  // TR
  put(0xd0, 0x1000, 8);                     // EFER: SVME, which KVM sets
  put(0x148, 0x40, 8);                      // CR4: MCE, likewise
  put(0x158, 0x10, 8);                      // CR0: ET
  put(0x160, 0x400, 8);                     // DR7
  put(0x168, 0xffff0ff0, 8);                // DR6
  put(0x170, 2, 8);                         // RFLAGS
  put(0x178, state.reset_eip & 0xffff, 8);  // RIP
  put(0x268, 0x0007040600070406, 8);        // PAT
  put(0x310, state.signature, 8);           // RDX
  put(0x3b0, state.sev_features, 8);        // SEV_FEATURES
  put(0x3e8, 1, 8);                         // XCR0: x87
  put(0x408, 0x1f80, 4);                    // MXCSR
  put(0x410, 0x37f, 2);                     // x87 control word
  return page;
}

}  // namespace berth::vmm
