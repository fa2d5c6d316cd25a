#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>

namespace berth::vmm {

// A value of `T` at an offset of untrusted bytes, or nothing when it does not lie inside of them.
template <class T>
std::optional<T> ReadAt(std::span<const uint8_t> bytes, uint64_t offset) {
  static_assert(std::is_trivially_copyable_v<T>);
  if (offset > bytes.size() || bytes.size() - offset < sizeof(T)) return std::nullopt;
  T value;
  std::memcpy(&value, bytes.data() + offset, sizeof value);
  return value;
}

// The bytes of a value, for hashing and for images.
template <class T>
std::span<const uint8_t> BytesOf(const T& value) {
  static_assert(std::is_trivially_copyable_v<T>);
  return {reinterpret_cast<const uint8_t*>(&value), sizeof value};  // SAFETY: any object may be read as bytes
}

// "00a1ff": two digits for each byte.
inline std::string HexText(std::span<const uint8_t> bytes) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  for (uint8_t byte : bytes) {
    text += kDigits[byte >> 4];
    text += kDigits[byte & 15];
  }
  return text;
}

// The other way round; nothing unless the text has exactly two hexadecimal digits for each byte.
template <size_t kSize>
std::optional<std::array<uint8_t, kSize>> ParseHex(std::string_view text) {
  if (text.size() != 2 * kSize) return std::nullopt;
  std::array<uint8_t, kSize> bytes{};
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
    if (c >= 'A' && c <= 'F') digit = c - 'A' + 10;
    if (digit < 0) return std::nullopt;
    bytes[i / 2] = static_cast<uint8_t>(bytes[i / 2] << 4 | digit);
  }
  return bytes;
}

}  // namespace berth::vmm
