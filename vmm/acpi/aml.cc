#include "vmm/acpi/aml.h"

#include "common/status.h"

namespace berth::vmm::acpi::aml {
namespace {

// Opcodes, ACPI 6.5 table 20.2.
constexpr uint8_t kZero = 0x00;
constexpr uint8_t kOne = 0x01;
constexpr uint8_t kName = 0x08;
constexpr uint8_t kByte = 0x0a;
constexpr uint8_t kWord = 0x0b;
constexpr uint8_t kDword = 0x0c;
constexpr uint8_t kString = 0x0d;
constexpr uint8_t kQword = 0x0e;
constexpr uint8_t kScope = 0x10;
constexpr uint8_t kBuffer = 0x11;
constexpr uint8_t kPackage = 0x12;
constexpr uint8_t kMethod = 0x14;
constexpr uint8_t kDualName = 0x2e;
constexpr uint8_t kMultiName = 0x2f;
constexpr uint8_t kExtended = 0x5b;
constexpr uint8_t kExtRegion = 0x80;
constexpr uint8_t kExtField = 0x81;
constexpr uint8_t kExtDevice = 0x82;
constexpr uint8_t kExtMutex = 0x01;
constexpr uint8_t kExtAcquire = 0x23;
constexpr uint8_t kExtRelease = 0x27;
constexpr uint8_t kLocal0 = 0x60;
constexpr uint8_t kArg0 = 0x68;
constexpr uint8_t kIncrement = 0x75;
constexpr uint8_t kShiftLeft = 0x79;
constexpr uint8_t kCreateQword = 0x8f;
constexpr uint8_t kEqual = 0x93;
constexpr uint8_t kLess = 0x95;
constexpr uint8_t kWhile = 0xa2;
constexpr uint8_t kReturn = 0xa4;
constexpr uint8_t kStore = 0x70;
constexpr uint8_t kAnd = 0x7b;
constexpr uint8_t kNotify = 0x86;
constexpr uint8_t kIf = 0xa0;

// PkgLength (20.2.4) that counts itself (packages) or not (field widths).
Bytes PackageLength(size_t content, bool counts_itself = true) {
  constexpr size_t kMaxOneByte = 63;
  constexpr size_t kMax = (1 << 28) - 1;
  size_t extra = 0;  // bytes after the first
  auto total = [&] { return content + (counts_itself ? 1 + extra : 0); };
  if (total() > kMaxOneByte) {
    extra = 1;
    while (extra < 3 && total() >> (4 + 8 * extra) != 0) ++extra;
  }
  CHECK(total() <= kMax);
  ByteWriter writer;
  if (extra == 0) return writer.U8(total()).Take();
  writer.U8((extra << 6) | (total() & 0xf));
  for (size_t i = 0; i < extra; ++i) writer.U8(total() >> (4 + 8 * i));
  return writer.Take();
}

Bytes Packaged(std::initializer_list<uint8_t> opcode, const Bytes& content) {
  return ByteWriter().Append(Bytes(opcode)).Append(PackageLength(content.size())).Append(content).Take();
}

}  // namespace

Bytes Join(std::initializer_list<Bytes> terms) {
  ByteWriter writer;
  for (const Bytes& term : terms) writer.Append(term);
  return writer.Take();
}

Bytes Integer(uint64_t value) {
  if (value == 0) return {kZero};
  if (value == 1) return {kOne};
  if (value <= UINT8_MAX) return ByteWriter().U8(kByte).U8(value).Take();
  if (value <= UINT16_MAX) return ByteWriter().U8(kWord).U16(value).Take();
  if (value <= UINT32_MAX) return ByteWriter().U8(kDword).U32(value).Take();
  return ByteWriter().U8(kQword).U64(value).Take();
}

Bytes String(std::string_view text) {
  return ByteWriter().U8(kString).Text(text, text.size()).U8(0).Take();
}

Bytes EisaId(std::string_view id) {
  constexpr size_t kLength = 7;
  CHECK(id.size() == kLength);
  auto letter = [&](size_t i) { return static_cast<uint32_t>(id[i] - '@') & 0x1f; };
  auto digit = [&](size_t i) {
    return static_cast<uint32_t>(id[i] <= '9' ? id[i] - '0' : id[i] - 'A' + 10) & 0xf;
  };
  uint32_t vendor = letter(0) << 10 | letter(1) << 5 | letter(2);
  uint32_t product = digit(3) << 12 | digit(4) << 8 | digit(5) << 4 | digit(6);
  // Both halves stand with the high byte first.
  auto swapped = [](uint32_t half) { return (half >> 8 | half << 8) & 0xffff; };
  return ByteWriter().U8(kDword).U16(swapped(vendor)).U16(swapped(product)).Take();
}

Bytes Buffer(const Bytes& content) {
  return Packaged({kBuffer}, Join({Integer(content.size()), content}));
}

Bytes Package(const std::vector<Bytes>& elements) {
  CHECK(elements.size() <= UINT8_MAX);
  ByteWriter writer;
  writer.U8(elements.size());
  for (const Bytes& element : elements) writer.Append(element);
  return Packaged({kPackage}, writer.Take());
}

Bytes NameString(std::string_view path) {
  constexpr size_t kSegment = 4;
  ByteWriter writer;
  if (path.starts_with('\\')) {
    writer.U8('\\');
    path.remove_prefix(1);
  }
  CHECK((path.size() + 1) % (kSegment + 1) == 0);
  size_t segments = (path.size() + 1) / (kSegment + 1);
  CHECK(segments >= 1 && segments <= UINT8_MAX);
  if (segments == 2) writer.U8(kDualName);
  if (segments > 2) writer.U8(kMultiName).U8(segments);
  for (size_t i = 0; i < segments; ++i) writer.Text(path.substr(i * (kSegment + 1), kSegment), kSegment);
  return writer.Take();
}

Bytes Name(std::string_view path, const Bytes& data) {
  return Join({{kName}, NameString(path), data});
}

Bytes Scope(std::string_view path, const Bytes& content) {
  return Packaged({kScope}, Join({NameString(path), content}));
}

Bytes Device(std::string_view path, const Bytes& content) {
  return Packaged({kExtended, kExtDevice}, Join({NameString(path), content}));
}

Bytes Method(std::string_view path, uint8_t arguments, bool serialized, const Bytes& body) {
  uint8_t flags = static_cast<uint8_t>(arguments | (serialized ? 1 << 3 : 0));
  return Packaged({kMethod}, Join({NameString(path), {flags}, body}));
}

Bytes OperationRegion(std::string_view path, RegionSpace space, uint64_t address, uint64_t size) {
  return Join({{kExtended, kExtRegion},
               NameString(path),
               {static_cast<uint8_t>(space)},
               Integer(address),
               Integer(size)});
}

Bytes ByteField(std::string_view region, std::string_view unit, uint32_t bits) {
  constexpr uint8_t kByteAccessNoLockPreserve = 1;
  return Packaged({kExtended, kExtField}, Join({NameString(region),
                                                {kByteAccessNoLockPreserve},
                                                NameString(unit),
                                                PackageLength(bits, /*counts_itself=*/false)}));
}

Bytes Local(uint8_t number) {
  CHECK(number < 8);
  return {static_cast<uint8_t>(kLocal0 + number)};
}

Bytes Arg(uint8_t number) {
  CHECK(number < 7);
  return {static_cast<uint8_t>(kArg0 + number)};
}

Bytes Field(std::string_view region, FieldAccess access, const std::vector<FieldUnit>& units) {
  constexpr uint8_t kWriteAsZeros = 2 << 5;
  constexpr uint8_t kReserved = 0;
  ByteWriter content;
  content.Append(NameString(region)).U8(static_cast<uint8_t>(access) | kWriteAsZeros);
  for (const FieldUnit& unit : units) {
    if (unit.name.empty()) {
      content.U8(kReserved);
    } else {
      content.Append(NameString(unit.name));
    }
    content.Append(PackageLength(unit.bits, /*counts_itself=*/false));
  }
  return Packaged({kExtended, kExtField}, content.bytes());
}

Bytes Mutex(std::string_view path) {
  return Join({{kExtended, kExtMutex}, NameString(path), {0}});
}

Bytes Invoke(std::string_view method, const std::vector<Bytes>& arguments) {
  ByteWriter call;
  call.Append(NameString(method));
  for (const Bytes& argument : arguments) call.Append(argument);
  return call.Take();
}

Bytes Return(const Bytes& value) {
  return Join({{kReturn}, value});
}

Bytes While(const Bytes& condition, const Bytes& body) {
  return Packaged({kWhile}, Join({condition, body}));
}

Bytes Equal(const Bytes& a, const Bytes& b) {
  return Join({{kEqual}, a, b});
}

Bytes Less(const Bytes& a, const Bytes& b) {
  return Join({{kLess}, a, b});
}

Bytes Increment(const Bytes& target) {
  return Join({{kIncrement}, target});
}

Bytes ShiftLeft(const Bytes& value, const Bytes& count) {
  constexpr uint8_t kNoTarget = 0;
  return Join({{kShiftLeft}, value, count, {kNoTarget}});
}

Bytes Acquire(std::string_view mutex) {
  return Join({{kExtended, kExtAcquire}, NameString(mutex), {0xff, 0xff}});
}

Bytes Release(std::string_view mutex) {
  return Join({{kExtended, kExtRelease}, NameString(mutex)});
}

Bytes CreateQwordField(std::string_view buffer, uint64_t offset, std::string_view name) {
  return Join({{kCreateQword}, NameString(buffer), Integer(offset), NameString(name)});
}

Bytes Store(const Bytes& value, const Bytes& target) {
  return Join({{kStore}, value, target});
}

Bytes And(const Bytes& a, const Bytes& b) {
  constexpr uint8_t kNoTarget = 0;
  return Join({{kAnd}, a, b, {kNoTarget}});
}

Bytes If(const Bytes& condition, const Bytes& body) {
  return Packaged({kIf}, Join({condition, body}));
}

Bytes Notify(std::string_view object, uint8_t value) {
  return NotifyValue(object, Integer(value));
}

Bytes NotifyValue(std::string_view object, const Bytes& value) {
  return Join({{kNotify}, NameString(object), value});
}

}  // namespace berth::vmm::acpi::aml
