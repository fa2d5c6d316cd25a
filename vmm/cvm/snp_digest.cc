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

}  // namespace berth::vmm
