#pragma once

#include <compare>
#include <cstdint>
#include <string>
#include <string_view>

namespace berth::placement::rest {

// A version of the API, X.Y. Only major version 1 exists, so a bare minor is enough in the code: `At(28)`.
struct Microversion {
  int major = 1;
  int minor = 0;

  // True from 1.`minor` on.
  bool At(int since) const { return minor >= since; }
  std::string ToString() const { return std::to_string(major) + "." + std::to_string(minor); }

  friend auto operator<=>(const Microversion&, const Microversion&) = default;
};

inline constexpr Microversion kMinMicroversion{1, 0};
inline constexpr Microversion kMaxMicroversion{1, 39};

// What the header "OpenStack-API-Version" asks for.
struct AskedVersion {
  enum class Kind {
    kFound,         // `version` holds it; without a header it is the smallest one
    kUnacceptable,  // a version, but none of ours: 406
    kMalformed,     // no version at all: 400
  };
  Kind kind = Kind::kFound;
  Microversion version = kMinMicroversion;
  std::string reason;  // the API's text, unless kFound
};
// `header`: the value, several joined by commas; the last "placement X.Y" (or "placement latest") counts.
AskedVersion ParseVersionHeader(std::string_view header);

}  // namespace berth::placement::rest
