#include "vmm/cvm/mrtd.h"

#include <array>
#include <cstring>

#include "common/status.h"

namespace berth::vmm {
namespace {

constexpr uint64_t kPage = 4096;
constexpr uint64_t kChunk = 256;

// 128 bytes: the operation's name, at offset 16 the address.
std::array<uint8_t, 128> Record(const char* operation, uint64_t gpa) {
  std::array<uint8_t, 128> record{};
  std::memcpy(record.data(), operation, std::strlen(operation));
  for (size_t i = 0; i < 8; ++i) record[16 + i] = static_cast<uint8_t>(gpa >> (8 * i));
  return record;
}

}  // namespace

void MrtdBuilder::AddPage(uint64_t gpa) {
  hash_.Update(Record("MEM.PAGE.ADD", gpa));
}

void MrtdBuilder::ExtendPage(uint64_t gpa, std::span<const uint8_t> page) {
  CHECK(page.size() == kPage);
  for (uint64_t offset = 0; offset < kPage; offset += kChunk) {
    hash_.Update(Record("MR.EXTEND", gpa + offset));
    hash_.Update(page.subspan(offset, kChunk));
  }
}

}  // namespace berth::vmm
