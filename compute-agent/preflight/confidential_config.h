#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "compute-agent/inventory/host_inventory.h"

namespace berth::agent {

// How a host protects its confidential guests.
enum class ConfidentialKind { kNone, kVirtcca, kTdx, kSevSnp, kSwProtected };
const char* ConfidentialKindName(
    ConfidentialKind kind);  // "none", "virtcca", "tdx", "sev-snp", "sw-protected"
std::optional<ConfidentialKind> ParseConfidentialKind(std::string_view name);

// What an operator says of confidential guests (agent.yaml, `confidential`).
struct ConfidentialConfig {
  // Empty ("auto"): what the hardware shows. kSwProtected is never found by itself.
  std::optional<ConfidentialKind> kind;
  // Set aside of each node's ordinary memory, multiples of 2 MiB from 1 GiB. Not for virtCCA, whose firmware
  // divides the memory.
  std::map<placement::NumaNode, uint64_t> secure_memory;
  // Ordinary memory that each node with secure memory must have for guests' bounce buffers and their VMMs.
  uint64_t nonsecure_headroom_bytes = uint64_t{256} << 20;
  double symmetry_percent = 2.0;                          // by which the nodes' memories may differ
  std::string required_os = "openEuler 24.03 (LTS-SP2)";  // of virtCCA hosts; empty: any
};

// What the hardware shows to be usable.
ConfidentialKind DetectedKind(const ConfidentialState& state);
inline ConfidentialKind ChosenKind(const ConfidentialConfig& config, const ConfidentialState& state) {
  return config.kind.value_or(DetectedKind(state));
}

inline constexpr uint64_t kSecureGranule = uint64_t{2} << 20;   // seed 000: "2 MB aligned"
inline constexpr uint64_t kMinSecureGuest = uint64_t{1} << 30;  // seed 000: "minimum ... of a cVM is 1 GB"

// Secure memory that guests may have, by node: nothing less than one smallest guest per node.
struct SecureMemory {
  std::map<placement::NumaNode, uint64_t> bytes;
  bool from_ordinary = false;  // taken off the node's ordinary memory
  std::vector<std::string> warnings;
};
SecureMemory FindSecureMemory(ConfidentialKind kind, const ConfidentialConfig& config,
                              const ConfidentialState& state);

}  // namespace berth::agent
