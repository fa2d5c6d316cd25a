#include "placement/rest/microversion.h"

#include <charconv>
#include <optional>
#include <vector>

#include "common/http/message.h"
#include "placement/rest/text.h"

namespace berth::placement::rest {
namespace {

// The version of the service "placement", "" when the header names none.
std::string_view FindService(std::string_view header) {
  std::vector<std::string_view> values = Split(header, ',');
  for (auto at = values.rbegin(); at != values.rend(); ++at) {
    std::string_view value = Strip(*at);
    size_t blank = value.find_first_of(" \t");
    if (blank == std::string_view::npos) continue;
    if (http::EqualsIgnoreCase(value.substr(0, blank), "placement")) return Strip(value.substr(blank));
  }
  return {};
}

std::optional<int> Number(std::string_view text) {
  text = Strip(text);
  if (text.starts_with('+')) text.remove_prefix(1);
  int value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

}  // namespace

AskedVersion ParseVersionHeader(std::string_view header) {
  std::string_view text = FindService(header);
  if (text.empty()) return {};
  if (text == "latest") return {.version = kMaxMicroversion, .reason = {}};
  size_t dot = text.find('.');
  std::optional<int> major = Number(text.substr(0, dot));
  std::optional<int> minor = dot == std::string_view::npos ? std::nullopt : Number(text.substr(dot + 1));
  if (!major || !minor) {
    return {.kind = AskedVersion::Kind::kMalformed,
            .reason = "Invalid microversion: invalid version string: " + std::string(text) +
                      "; expected two numbers, X.Y"};
  }
  Microversion version{*major, *minor};
  if (version < kMinMicroversion || version > kMaxMicroversion) {
    return {.kind = AskedVersion::Kind::kUnacceptable,
            .reason = "Invalid microversion: Unacceptable version header: " + std::string(text)};
  }
  return {.version = version, .reason = {}};
}

}  // namespace berth::placement::rest
