#include "placement/device_spec/address_pattern.h"

#include <re2/re2.h>

#include <charconv>
#include <cstdio>
#include <vector>

namespace berth::placement {
namespace {

struct FieldLimit {
  const char* name;
  uint32_t max;
  int digits;
};
// Seed 002, "Limitations".
constexpr FieldLimit kFields[4] = {
    {"domain", 0xffff, 4}, {"bus", 0xff, 2}, {"slot", 0x1f, 2}, {"function", 7, 1}};
constexpr size_t kMaxExpression = 128;

std::string Hex(uint32_t value, int digits) {
  char text[16];
  std::snprintf(text, sizeof text, "%0*x", digits, value);
  return text;
}

std::optional<uint32_t> ParseHex(std::string_view text) {
  uint32_t value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, 16);
  if (text.empty() || error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

Status CheckLimit(const FieldLimit& field, uint32_t value) {
  if (value <= field.max) return OkStatus();
  return OutOfRange("the " + std::string(field.name) + " " + Hex(value, 1) + " is out of range, 0 to " +
                    Hex(field.max, 1) + " are allowed");
}

Result<std::optional<uint32_t>> GlobField(const FieldLimit& field, std::string_view text) {
  if (text.empty() || text == "*") return std::optional<uint32_t>();
  std::optional<uint32_t> value = ParseHex(text);
  if (!value.has_value()) {
    return InvalidArgument("the " + std::string(field.name) + " \"" + std::string(text) +
                           "\" is neither a hexadecimal number nor \"*\"");
  }
  TRY(CheckLimit(field, *value));
  return value;
}

uint32_t FieldOf(const PciAddress& address, size_t index) {
  const uint32_t fields[4] = {address.domain, address.bus, address.slot, address.function};
  return fields[index];
}

std::optional<PciAddress> Exact(const std::array<std::optional<uint32_t>, 4>& numbers) {
  for (const std::optional<uint32_t>& number : numbers) {
    if (!number.has_value()) return std::nullopt;
  }
  return PciAddress{static_cast<uint16_t>(*numbers[0]), static_cast<uint8_t>(*numbers[1]),
                    static_cast<uint8_t>(*numbers[2]), static_cast<uint8_t>(*numbers[3])};
}

}  // namespace

Result<AddressPattern> AddressPattern::FromGlob(std::string_view text) {
  std::string_view fields[4];
  std::string_view rest = text;
  if (size_t dot = rest.find('.'); dot != std::string_view::npos) {
    fields[3] = rest.substr(dot + 1);
    rest = rest.substr(0, dot);
  }
  // The fields before the dot are counted from the right: slot, bus, domain.
  size_t index = 3;
  while (true) {
    size_t colon = rest.rfind(':');
    fields[--index] = colon == std::string_view::npos ? rest : rest.substr(colon + 1);
    if (colon == std::string_view::npos) break;
    rest = rest.substr(0, colon);
    if (index == 0) {
      return InvalidArgument("\"" + std::string(text) + "\" has more than three fields before the dot", "",
                             "[[[[domain]:]bus]:][slot][.[function]]");
    }
  }
  AddressPattern pattern;
  for (size_t i = 0; i < 4; ++i) {
    TRY_ASSIGN(pattern.numbers_[i], GlobField(kFields[i], fields[i]));
  }
  pattern.exact_ = Exact(pattern.numbers_);
  return pattern;
}

Result<AddressPattern> AddressPattern::FromRegex(const Fields& fields) {
  const std::string* texts[4] = {&fields.domain, &fields.bus, &fields.slot, &fields.function};
  RE2::Options options;
  options.set_log_errors(false);
  options.set_max_mem(1 << 20);
  options.set_never_capture(true);
  AddressPattern pattern;
  std::array<std::optional<uint32_t>, 4> numbers;
  for (size_t i = 0; i < 4; ++i) {
    const std::string& text = *texts[i];
    if (text.empty()) continue;
    if (text.size() > kMaxExpression) {
      return InvalidArgument("the expression has " + std::to_string(text.size()) + " characters, at most " +
                                 std::to_string(kMaxExpression) + " are allowed",
                             kFields[i].name);
    }
    if (std::optional<uint32_t> value = ParseHex(text); value.has_value()) {
      TRY(CheckLimit(kFields[i], *value).WithField(kFields[i].name));
      if (text.size() == static_cast<size_t>(kFields[i].digits)) numbers[i] = value;
    }
    auto expression = std::make_shared<const RE2>(text, options);
    if (!expression->ok()) {
      return InvalidArgument("\"" + text + "\" is no regular expression: " + expression->error(),
                             kFields[i].name);
    }
    pattern.expressions_[i] = std::move(expression);
  }
  pattern.exact_ = Exact(numbers);
  return pattern;
}

bool AddressPattern::Matches(const PciAddress& address) const {
  for (size_t i = 0; i < 4; ++i) {
    uint32_t value = FieldOf(address, i);
    if (numbers_[i].has_value() && *numbers_[i] != value) return false;
    if (expressions_[i] != nullptr) {
      std::string text = Hex(value, kFields[i].digits);
      if (!expressions_[i]->Match(text, 0, text.size(), RE2::ANCHOR_START, nullptr, 0)) return false;
    }
  }
  return true;
}

}  // namespace berth::placement
