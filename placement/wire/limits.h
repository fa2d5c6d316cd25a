#pragma once

#include <cstddef>

// What a message from outside may hold at most. Far above real machines, low enough that a hostile message
// cannot take much memory or time.
namespace berth::wire {

inline constexpr size_t kMaxName = 255;         // bytes: hosts, instances, aliases, traits, classes, networks
inline constexpr size_t kMaxText = 4096;        // bytes: paths, command lines, warnings, details
inline constexpr size_t kMaxCpuList = 1 << 18;  // bytes of one CPU list
inline constexpr int kMaxHostCells = 1024;      // Linux: MAX_NUMNODES
inline constexpr int kMaxCores = 16384;         // of one host, over its cells
inline constexpr int kMaxPagePools = 16;        // page sizes of one cell
inline constexpr int kMaxDevices = 16384;       // of one host
inline constexpr int kMaxTraits = 256;          // of one device; domains likewise
inline constexpr int kMaxWarnings = 1000;
inline constexpr int kMaxGuestCells = 128;     // Nova: hw:numa_nodes <= 128
inline constexpr int kMaxPins = 65536;         // of one guest cell
inline constexpr int kMaxClaimDevices = 1024;  // of one claim
inline constexpr uint32_t kMaxPerHost = 1024;  // members of a server group on one host
inline constexpr int kMaxClaims = 4096;        // of one CreateClaims
inline constexpr int kMaxOptions = 256;        // disks or nets of one instance

}  // namespace berth::wire
