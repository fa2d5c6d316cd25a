#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/error_list.h"
#include "common/status.h"
#include "scheduler/request/request_spec.h"

namespace berth::scheduler {

// One entry of Nova's [pci]alias. Entries with one name are alternatives (seed 002; docs/scheduling.md).
struct AliasEntry {
  std::string name;
  std::string vendor_id;   // four lower-case hexadecimal digits, or empty
  std::string product_id;  // likewise
  std::optional<DeviceKind> device_type;
  std::optional<AffinityPolicy> numa_policy;
  std::string resource_class;       // normalised, or empty
  std::vector<std::string> traits;  // normalised, sorted
  // true: only devices whose device_spec says so; false: only others.
  std::optional<bool> live_migratable;

  friend bool operator==(const AliasEntry&, const AliasEntry&) = default;
};

// Every alias by its name, entries in the order in which they were written.
using AliasTable = std::map<std::string, std::vector<AliasEntry>, std::less<>>;

// What the agent gives devices whose device_spec entry says live_migratable (as Nova does in Placement).
inline constexpr const char* kLiveMigratableTrait = "HW_PCI_LIVE_MIGRATABLE";

// One key of an alias entry as written. Values are text; `traits` is a comma-separated list.
using AliasField = std::pair<std::string, std::string>;

// Checks and normalises one entry; all of its errors are added. Errors: kInvalidArgument "PciInvalidAlias:
// ..." with the key as field. Known keys: name, vendor_id, product_id, device_type, capability_type,
// numa_policy, resource_class, traits, live_migratable.
AliasEntry ReadAliasEntry(const std::vector<AliasField>& fields, ErrorList& errors);
// Likewise, with the first error only.
Result<AliasEntry> MakeAliasEntry(const std::vector<AliasField>& fields);

// Adds an entry. Entries of one name must agree in device_type and numa_policy: PciInvalidAlias otherwise.
Status AddAliasEntry(AliasEntry entry, AliasTable& table);

}  // namespace berth::scheduler
