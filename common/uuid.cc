#include "common/uuid.h"

#include <sys/random.h>

namespace berth {
namespace {

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

void SetVersion(Uuid& uuid, uint8_t version) {
  uuid.bytes[6] = static_cast<uint8_t>((uuid.bytes[6] & 0x0F) | version << 4);
  uuid.bytes[8] = static_cast<uint8_t>((uuid.bytes[8] & 0x3F) | 0x80);
}

// FNV-1a over two lanes with different seeds: not cryptographic, stable for ever.
uint64_t Fnv(uint64_t hash, std::string_view text) {
  for (char c : text) hash = (hash ^ static_cast<uint8_t>(c)) * 0x100000001b3ULL;
  return hash;
}

}  // namespace

Result<Uuid> Uuid::Parse(std::string_view text) {
  Uuid uuid;
  bool dashed = text.size() == 36;
  size_t digits = 0;
  bool good = dashed || text.size() == 32;
  for (size_t i = 0; good && i < text.size(); ++i) {
    if (dashed && (i == 8 || i == 13 || i == 18 || i == 23)) {
      good = text[i] == '-';
      continue;
    }
    int digit = HexDigit(text[i]);
    good = digit >= 0;
    if (good) uuid.bytes[digits / 2] = static_cast<uint8_t>(uuid.bytes[digits / 2] << 4 | digit);
    ++digits;
  }
  if (!good || digits != 32) {
    return InvalidArgument("\"" + std::string(text.substr(0, 64)) + "\" is not a UUID", {},
                           "expected 8-4-4-4-12 hexadecimal digits");
  }
  return uuid;
}

Uuid Uuid::Random() {
  Uuid uuid;
  size_t filled = 0;
  while (filled < uuid.bytes.size()) {
    ssize_t n = getrandom(uuid.bytes.data() + filled, uuid.bytes.size() - filled, 0);
    if (n > 0) filled += static_cast<size_t>(n);
  }
  SetVersion(uuid, 4);
  return uuid;
}

Uuid Uuid::FromName(const Uuid& name_space, std::string_view name) {
  std::string_view space(reinterpret_cast<const char*>(name_space.bytes.data()), name_space.bytes.size());
  uint64_t lanes[2] = {Fnv(Fnv(0xcbf29ce484222325ULL, space), name),
                       Fnv(Fnv(0x9ae16a3b2f90404fULL, name), space)};
  Uuid uuid;
  for (size_t i = 0; i < 16; ++i) uuid.bytes[i] = static_cast<uint8_t>(lanes[i / 8] >> (8 * (i % 8)));
  SetVersion(uuid, 8);  // RFC 9562: vendor-specific content
  return uuid;
}

std::string Uuid::ToString() const {
  constexpr std::string_view kHex = "0123456789abcdef";
  std::string text;
  text.reserve(36);
  for (size_t i = 0; i < bytes.size(); ++i) {
    if (i == 4 || i == 6 || i == 8 || i == 10) text += '-';
    text += kHex[bytes[i] >> 4];
    text += kHex[bytes[i] & 15];
  }
  return text;
}

}  // namespace berth
