#pragma once

#include <cstdint>
#include <initializer_list>
#include <string_view>

#include "vmm/acpi/bytes.h"

// A small encoder of AML (ACPI 6.5, chapter 20): each function returns the bytes of one term, and terms are
// nested by calling. Names are four characters a segment ("_SB_"), segments joined by dots, a leading
// backslash means the root. Pure functions; names come from us, never from outside.
namespace berth::vmm::acpi::aml {

Bytes Join(std::initializer_list<Bytes> terms);

// Data objects.
Bytes Integer(uint64_t value);  // the shortest encoding
Bytes String(std::string_view text);
Bytes EisaId(std::string_view id);  // "PNP0A08"
Bytes Buffer(const Bytes& content);
Bytes Package(const std::vector<Bytes>& elements);  // at most 255

// Named objects.
Bytes NameString(std::string_view path);
Bytes Name(std::string_view path, const Bytes& data);
Bytes Scope(std::string_view path, const Bytes& content);
Bytes Device(std::string_view path, const Bytes& content);
Bytes Method(std::string_view path, uint8_t arguments, bool serialized, const Bytes& body);
enum class RegionSpace : uint8_t { kSystemMemory = 0, kSystemIo = 1 };
Bytes OperationRegion(std::string_view path, RegionSpace space, uint64_t address, uint64_t size);
// A field of one named unit of `bits` at the region's start, byte access, written bits preserved.
Bytes ByteField(std::string_view region, std::string_view unit, uint32_t bits);
// Units of a region one behind the other; a unit without name skips its bits. Bits of an access that belong
// to no written unit are written as zeros.
struct FieldUnit {
  std::string_view name;
  uint32_t bits;
};
enum class FieldAccess : uint8_t { kByte = 1, kDword = 3, kQword = 4 };
Bytes Field(std::string_view region, FieldAccess access, const std::vector<FieldUnit>& units);
Bytes Mutex(std::string_view path);

// Statements and expressions.
Bytes Local(uint8_t number);
Bytes Arg(uint8_t number);
Bytes Invoke(std::string_view method, const std::vector<Bytes>& arguments);
Bytes Return(const Bytes& value);
Bytes While(const Bytes& condition, const Bytes& body);
Bytes Equal(const Bytes& a, const Bytes& b);
Bytes Less(const Bytes& a, const Bytes& b);
Bytes Increment(const Bytes& target);
Bytes ShiftLeft(const Bytes& value, const Bytes& count);
Bytes Acquire(std::string_view mutex);  // waits for ever
Bytes Release(std::string_view mutex);
// Names eight bytes of a buffer at `offset`.
Bytes CreateQwordField(std::string_view buffer, uint64_t offset, std::string_view name);
Bytes Store(const Bytes& value, const Bytes& target);
Bytes And(const Bytes& a, const Bytes& b);
Bytes If(const Bytes& condition, const Bytes& body);
Bytes Notify(std::string_view object, uint8_t value);
Bytes NotifyValue(std::string_view object, const Bytes& value);

// Resource descriptors (ACPI 6.5, 6.4), to be joined and put into ResourceTemplate.
Bytes ResourceTemplate(const Bytes& descriptors);
Bytes IoPorts(uint16_t base, uint8_t size);
Bytes FixedMemory32(uint32_t base, uint32_t size);
Bytes ConsumedMemory64(uint64_t base, uint64_t size);
// Windows that a host bridge passes on. `last` is included.
Bytes BusWindow(uint16_t first, uint16_t last);
Bytes IoWindow(uint16_t first, uint16_t last);
Bytes MemoryWindow32(uint32_t first, uint32_t last);
Bytes MemoryWindow64(uint64_t first, uint64_t last);
// An interrupt by GSI: edge-triggered, active high, not shared.
Bytes EdgeInterrupt(uint32_t gsi);

}  // namespace berth::vmm::acpi::aml
