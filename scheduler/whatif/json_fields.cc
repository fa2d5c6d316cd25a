#include "scheduler/whatif/json_fields.h"

#include <charconv>
#include <cmath>

namespace berth::scheduler::whatif {
namespace {

std::string_view Strip(std::string_view text) {
  size_t first = text.find_first_not_of(" \t");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

template <class T>
std::optional<T> ParseNumber(std::string_view text) {
  text = Strip(text);
  T value{};
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

constexpr int64_t kMaxWhole = int64_t{1} << 53;

}  // namespace

void JsonFields::Fail(std::string_view where, std::string_view what) {
  if (error_.empty()) error_ = std::string(where) + ": " + std::string(what);
}

std::optional<int64_t> JsonFields::ToWhole(const Json& value, const char* key) {
  std::optional<int64_t> out;
  if (value.IsInt64()) {
    out = value.GetInt64();
  } else if (value.IsString()) {
    out = ParseNumber<int64_t>(TextOf(value));
  } else if (value.IsDouble()) {  // 2.0, 1e3
    double number = value.GetDouble();
    if (std::floor(number) == number && std::abs(number) <= static_cast<double>(kMaxWhole)) {
      out = static_cast<int64_t>(number);
    }
  }
  if (out && *out > kMaxWhole) out.reset();
  if (!out) Fail(key, "must be a whole number up to 2^53");
  return out;
}

uint64_t JsonFields::Whole(const Json& object, const char* key, uint64_t fallback) {
  const Json* value = Find(object, key);
  if (value == nullptr) return fallback;
  auto number = ToWhole(*value, key);
  if (number && *number < 0) Fail(key, "must not be negative");
  return number && *number >= 0 ? static_cast<uint64_t>(*number) : fallback;
}

uint64_t JsonFields::WholeRequired(const Json& object, const char* key) {
  if (Find(object, key) == nullptr) Fail(key, "is missing");
  return Whole(object, key, 0);
}

std::optional<uint32_t> JsonFields::Number(const Json& object, const char* key) {
  const Json* value = Find(object, key);
  if (value == nullptr) return std::nullopt;
  auto number = ToWhole(*value, key);
  if (number && *number > UINT32_MAX) Fail(key, "must be less than 2^32");
  if (!number || *number < 0 || *number > UINT32_MAX) return std::nullopt;
  return static_cast<uint32_t>(*number);
}

double JsonFields::Ratio(const Json& object, const char* key) {
  const Json* value = Find(object, key);
  if (value == nullptr) return 1.0;
  std::optional<double> number;
  if (value->IsNumber()) number = value->GetDouble();
  if (value->IsString()) number = ParseNumber<double>(TextOf(*value));
  if (number && std::isfinite(*number) && *number >= 0) return *number;
  Fail(key, "must be a number of at least 0");
  return 1.0;
}

bool JsonFields::Bool(const Json& object, const char* key, bool fallback) {
  const Json* value = Find(object, key);
  if (value == nullptr) return fallback;
  if (value->IsBool()) return value->IsTrue();
  if (value->IsString() || value->IsNumber()) {
    std::string text = ToText(*value);
    if (text == "true" || text == "True" || text == "1") return true;
    if (text == "false" || text == "False" || text == "0") return false;
  }
  Fail(key, "must be true or false");
  return fallback;
}

std::string JsonFields::Text(const Json& object, const char* key) {
  const Json* value = Find(object, key);
  return value == nullptr ? std::string() : ToText(*value);
}

CpuSet JsonFields::Cpus(const Json& object, const char* key) {
  const Json* value = Find(object, key);
  return value == nullptr ? CpuSet() : CpusOf(*value, key);
}

CpuSet JsonFields::CpusOf(const Json& value, const char* key) {
  CpuSet out;
  if (value.IsString()) {
    auto parsed = CpuSet::Parse(TextOf(value));
    if (parsed.has_value()) return *std::move(parsed);
    Fail(key, parsed.error().message());
  } else if (value.IsArray()) {
    for (const Json& item : value.GetArray()) {
      auto cpu = ToWhole(item, key);
      if (!cpu) return out;
      if (*cpu < 0 || *cpu > CpuSet::kMaxCpu) {
        Fail(key, "CPU numbers are 0 to 65535");
        return out;
      }
      out.Add(static_cast<uint32_t>(*cpu));
    }
  } else {
    Fail(key, "must be a list of CPUs such as \"0-3,8\" or [0,1]");
  }
  return out;
}

const Json* JsonFields::Array(const Json& object, const char* key) {
  const Json* value = Find(object, key);
  if (value == nullptr) return nullptr;
  if (value->IsArray()) return value;
  Fail(key, "must be a list");
  return nullptr;
}

std::string ToText(const Json& value) {
  if (value.IsString()) return std::string(TextOf(value));
  if (value.IsBool()) return value.IsTrue() ? "true" : "false";
  if (value.IsInt64()) return std::to_string(value.GetInt64());
  if (value.IsUint64()) return std::to_string(value.GetUint64());
  if (!value.IsDouble()) return {};
  char text[32];
  std::string out(text, std::to_chars(text, text + sizeof text, value.GetDouble()).ptr);
  return out.find_first_of(".e") == std::string::npos ? out + ".0" : out;
}

}  // namespace berth::scheduler::whatif
