#include "compute-agent/preflight/confidential_config.h"

#include <algorithm>

#include "common/byte_size.h"

namespace berth::agent {
namespace {

// virtCCA takes its metadata out of the secure memory, 2 MiB at a time, as VMs come; so much is taken off
// beforehand that the inventory does not change with every VM.
constexpr uint64_t kMetadataReserve = uint64_t{64} << 20;

constexpr std::pair<ConfidentialKind, const char*> kNames[] = {
    {ConfidentialKind::kNone, "none"},
    {ConfidentialKind::kVirtcca, "virtcca"},
    {ConfidentialKind::kTdx, "tdx"},
    {ConfidentialKind::kSevSnp, "sev-snp"},
    {ConfidentialKind::kSwProtected, "sw-protected"}};

}  // namespace

const char* ConfidentialKindName(ConfidentialKind kind) {
  for (const auto& [known, name] : kNames) {
    if (known == kind) return name;
  }
  return "unknown";
}

std::optional<ConfidentialKind> ParseConfidentialKind(std::string_view name) {
  for (const auto& [kind, known] : kNames) {
    if (known == name) return kind;
  }
  return std::nullopt;
}

ConfidentialKind DetectedKind(const ConfidentialState& state) {
  if (state.virtcca == true && !state.secure_nodes.empty()) return ConfidentialKind::kVirtcca;
  if (state.tdx == true) return ConfidentialKind::kTdx;
  if (state.sev_snp == true && state.sev_device) return ConfidentialKind::kSevSnp;
  return ConfidentialKind::kNone;
}

SecureMemory FindSecureMemory(ConfidentialKind kind, const ConfidentialConfig& config,
                              const ConfidentialState& state) {
  SecureMemory found;
  if (kind == ConfidentialKind::kNone) return found;
  std::map<placement::NumaNode, uint64_t> raw;
  if (kind == ConfidentialKind::kVirtcca) {
    for (const SecureNode& node : state.secure_nodes) {
      uint64_t taken = std::max(node.metadata_bytes, std::min(kMetadataReserve, node.total_bytes));
      raw[node.id] = node.total_bytes - std::min(taken, node.total_bytes);
    }
  } else {
    found.from_ordinary = true;
    raw = config.secure_memory;
  }
  for (const auto& [node, bytes] : raw) {
    uint64_t aligned = bytes / kSecureGranule * kSecureGranule;
    if (aligned >= kMinSecureGuest) {
      found.bytes[node] = aligned;
    } else {
      found.warnings.push_back("node " + std::to_string(node) + " has " + ByteSize(bytes).ToHuman() +
                               " of secure memory for guests, the smallest confidential guest needs 1 GiB: "
                               "none is offered");
    }
  }
  return found;
}

}  // namespace berth::agent
