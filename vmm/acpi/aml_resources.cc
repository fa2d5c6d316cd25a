#include "common/status.h"
#include "vmm/acpi/aml.h"

// Resource descriptors, ACPI 6.5, 6.4.
namespace berth::vmm::acpi::aml {
namespace {

enum class AddressType : uint8_t { kMemory = 0, kIo = 1, kBus = 2 };

constexpr uint8_t kConsumer = 1 << 0;  // general flags (6.4.3.5.5)
constexpr uint8_t kMinFixed = 1 << 2;
constexpr uint8_t kMaxFixed = 1 << 3;
constexpr uint8_t kReadWrite = 1 << 0;    // memory; not cacheable
constexpr uint8_t kEntireRange = 3 << 0;  // I/O

// The address space descriptors of 16, 32 and 64 bits differ only in the width of their five numbers:
// granularity, first, last, translation, length.
Bytes AddressSpace(size_t width, AddressType type, uint8_t general, uint8_t specific, uint64_t first,
                   uint64_t last) {
  CHECK(first <= last);
  uint8_t tag = width == 2 ? 0x88 : width == 4 ? 0x87 : 0x8a;
  ByteWriter writer;
  writer.U8(tag).U16(3 + 5 * width).U8(static_cast<uint8_t>(type)).U8(general).U8(specific);
  for (uint64_t value : {uint64_t{0}, first, last, uint64_t{0}, last - first + 1}) {
    if (width == 2) writer.U16(value);
    if (width == 4) writer.U32(value);
    if (width == 8) writer.U64(value);
  }
  return writer.Take();
}

}  // namespace

Bytes ResourceTemplate(const Bytes& descriptors) {
  constexpr uint8_t kEndTag = 0x79;
  constexpr uint8_t kNoChecksum = 0;
  return Buffer(Join({descriptors, {kEndTag, kNoChecksum}}));
}

Bytes IoPorts(uint16_t base, uint8_t size) {
  constexpr uint8_t kTag = 0x47;
  constexpr uint8_t kDecode16 = 1;
  return ByteWriter().U8(kTag).U8(kDecode16).U16(base).U16(base).U8(1).U8(size).Take();
}

Bytes FixedMemory32(uint32_t base, uint32_t size) {
  constexpr uint8_t kTag = 0x86;
  return ByteWriter().U8(kTag).U16(9).U8(kReadWrite).U32(base).U32(size).Take();
}

Bytes ConsumedMemory64(uint64_t base, uint64_t size) {
  return AddressSpace(8, AddressType::kMemory, kConsumer | kMinFixed | kMaxFixed, kReadWrite, base,
                      base + size - 1);
}

Bytes BusWindow(uint16_t first, uint16_t last) {
  return AddressSpace(2, AddressType::kBus, kMinFixed | kMaxFixed, 0, first, last);
}

Bytes IoWindow(uint16_t first, uint16_t last) {
  return AddressSpace(2, AddressType::kIo, kMinFixed | kMaxFixed, kEntireRange, first, last);
}

Bytes MemoryWindow32(uint32_t first, uint32_t last) {
  return AddressSpace(4, AddressType::kMemory, kMinFixed | kMaxFixed, kReadWrite, first, last);
}

Bytes MemoryWindow64(uint64_t first, uint64_t last) {
  return AddressSpace(8, AddressType::kMemory, kMinFixed | kMaxFixed, kReadWrite, first, last);
}

Bytes EdgeInterrupt(uint32_t gsi) {
  constexpr uint8_t kTag = 0x89;
  constexpr uint8_t kEdge = 1 << 1;
  return ByteWriter().U8(kTag).U16(6).U8(kConsumer | kEdge).U8(1).U32(gsi).Take();
}

}  // namespace berth::vmm::acpi::aml
