#include "common/byte_size.h"

#include <array>
#include <cctype>
#include <charconv>
#include <cstdio>

namespace berth {
namespace {

constexpr std::string_view kExpected = "expected a number with an optional suffix K, M, G or T, such as 512M";

int SuffixShift(std::string_view suffix) {
  std::string upper;
  for (char c : suffix) upper += static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  if (upper.empty() || upper == "B") return 0;
  constexpr std::string_view kUnits = "KMGT";
  size_t unit = kUnits.find(upper[0]);
  if (unit == std::string_view::npos) return -1;
  std::string_view tail = std::string_view(upper).substr(1);
  if (!tail.empty() && tail != "IB") return -1;
  return static_cast<int>(unit + 1) * 10;
}

}  // namespace

Result<ByteSize> ByteSize::Parse(std::string_view text) {
  std::string_view rest = text;
  while (!rest.empty() && std::isspace(static_cast<unsigned char>(rest.front())) != 0) rest.remove_prefix(1);
  while (!rest.empty() && std::isspace(static_cast<unsigned char>(rest.back())) != 0) rest.remove_suffix(1);
  uint64_t number = 0;
  auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), number);
  if (error == std::errc::result_out_of_range) {
    return OutOfRange("size \"" + std::string(text) + "\" is above 2^64 bytes");
  }
  if (error != std::errc()) {
    return InvalidArgument("\"" + std::string(text) + "\" is not a size", {}, std::string(kExpected));
  }
  int shift = SuffixShift(rest.substr(static_cast<size_t>(end - rest.data())));
  if (shift < 0)
    return InvalidArgument("\"" + std::string(text) + "\" is not a size", {}, std::string(kExpected));
  if (shift != 0 && number >> (64 - shift) != 0) {
    return OutOfRange("size \"" + std::string(text) + "\" is above 2^64 bytes");
  }
  return ByteSize(number << shift);
}

std::optional<ByteSize> ByteSize::Plus(ByteSize other) const {
  uint64_t sum = 0;
  if (__builtin_add_overflow(bytes_, other.bytes_, &sum)) return std::nullopt;
  return ByteSize(sum);
}

std::optional<ByteSize> ByteSize::Minus(ByteSize other) const {
  if (other.bytes_ > bytes_) return std::nullopt;
  return ByteSize(bytes_ - other.bytes_);
}

std::optional<ByteSize> ByteSize::Times(uint64_t factor) const {
  uint64_t product = 0;
  if (__builtin_mul_overflow(bytes_, factor, &product)) return std::nullopt;
  return ByteSize(product);
}

std::optional<ByteSize> ByteSize::RoundedUpTo(ByteSize unit) const {
  CHECK(unit.bytes_ != 0);
  uint64_t rest = bytes_ % unit.bytes_;
  return rest == 0 ? std::optional(*this) : Plus(ByteSize(unit.bytes_ - rest));
}

std::string ByteSize::ToString() const {
  constexpr std::string_view kUnits = "TGMK";
  for (int i = 0; i < 4; ++i) {
    int shift = 40 - 10 * i;
    if (bytes_ != 0 && bytes_ % (uint64_t{1} << shift) == 0)
      return std::to_string(bytes_ >> shift) + kUnits[i];
  }
  return std::to_string(bytes_);
}

std::string ByteSize::ToHuman() const {
  constexpr std::array<const char*, 7> kUnits = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  double value = static_cast<double>(bytes_);
  size_t unit = 0;
  while (value >= 1024 && unit + 1 < kUnits.size()) {
    value /= 1024;
    ++unit;
  }
  char text[32];
  if (unit == 0) {
    std::snprintf(text, sizeof text, "%llu B", static_cast<unsigned long long>(bytes_));
  } else {
    int decimals = 0;
    if (value < 10) {
      decimals = 2;
    } else if (value < 100) {
      decimals = 1;
    }
    std::snprintf(text, sizeof text, "%.*f %s", decimals, value, kUnits[unit]);
  }
  return text;
}

}  // namespace berth
