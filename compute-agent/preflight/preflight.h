#pragma once

#include <map>
#include <string>
#include <vector>

#include "compute-agent/inventory/host_inventory.h"
#include "compute-agent/preflight/confidential_config.h"
#include "compute-agent/preflight/host_settings.h"

namespace berth::agent {

enum class Severity {
  kOk,       // as needed
  kInfo,     // cannot be seen from here, or a choice
  kWarning,  // works, but worse or less safely
  kHard,     // what depends on it is not offered
};
const char* SeverityName(Severity severity);  // "ok", "info", "warning", "error"

// What a check is about.
enum class Scope { kGuests, kDevices, kConfidential };
const char* ScopeName(Scope scope);  // "guests", "devices", "confidential"

// The result of one check. Texts are for people; `id` is stable.
struct Finding {
  std::string id;  // "kvm", "K1" (docs/confidential-hosts.md)
  Scope scope = Scope::kGuests;
  Severity severity = Severity::kOk;
  std::string found;   // what is there
  std::string needed;  // what should be
  std::string repair;  // the command or firmware setting; empty when nothing is to be done
};

struct PreflightInput {
  const HostInventory& inventory;
  const HostSettings& settings;
  const ConfidentialConfig& confidential;
  double cpu_allocation_ratio = 1.0;
  double ram_allocation_ratio = 1.0;
  // Of each node what the host keeps for itself, bytes.
  std::map<placement::NumaNode, uint64_t> reserved_memory = {};
  bool devices_configured = false;  // device_spec has entries
};

struct PreflightReport {
  ConfidentialKind kind = ConfidentialKind::kNone;
  SecureMemory secure;  // what would be offered if no check were hard
  std::vector<Finding> findings;

  // No hard finding of this scope; confidential guests need what guests need.
  bool Passed(Scope scope) const;
};

// Every check, the passed ones too: guests first, then devices, then the confidential ones (only where the
// host shows or the configuration wants confidential guests). Pure.
PreflightReport CheckHost(const PreflightInput& input);

}  // namespace berth::agent
