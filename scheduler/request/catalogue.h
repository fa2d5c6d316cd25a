#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "common/status.h"
#include "common/yaml.h"
#include "scheduler/request/alias.h"
#include "scheduler/request/resolve.h"

namespace berth::scheduler {

// Everything that operators define for instances. Immutable after loading, so shared without locks.
struct Catalogue {
  std::map<std::string, Flavor, std::less<>> flavors;
  AliasTable aliases;
};

// One YAML document and where it came from. Top-level keys: `flavors` and `aliases`, lists, both optional:
//   flavors: [{name, vcpus, memory_mib, disk_gib, extra_specs: {KEY: VALUE}}]
//   aliases: [{name, vendor_id, product_id, device_type, numa_policy, resource_class, traits}]
struct CatalogueSource {
  std::string name;  // the file's path
  YamlNode root;
};

// Builds and validates the whole: every flavor is resolved against the aliases. All errors are told at once,
// one line each, "FILE:LINE: FIELD: message (hint)"; kInvalidArgument. The field of the Status is that of the
// first error.
Result<Catalogue> BuildCatalogue(const std::vector<CatalogueSource>& sources);

// From text (one document) and from files. A file that can not be read or parsed counts as one error of all.
Result<Catalogue> ParseCatalogue(std::string_view yaml, std::string_view name);
Result<Catalogue> LoadCatalogue(const std::vector<std::string>& paths);
// The files of a folder whose names match flavors*.yaml and aliases*.yaml, in the order of their names.
// kNotFound when the folder does not exist; no such file is an empty catalogue.
Result<Catalogue> LoadCatalogueFolder(const std::string& folder);

}  // namespace berth::scheduler
