#include "compute-agent/devices/host_config.h"

#include <string>

#include "common/byte_size.h"

namespace berth::agent {
namespace {

constexpr int64_t kMaxNode = 4095;
constexpr double kMinRatio = 0.0625;
constexpr double kMaxRatio = 64;

std::optional<CpuSet> ReadCpuSet(const YamlNode& map, const char* key, ErrorList& errors) {
  const YamlNode* node = map.Find(key);
  if (node == nullptr || node->is_null()) return std::nullopt;
  std::optional<std::string> text = errors.Take(YamlString(*node, key));
  if (!text.has_value()) return std::nullopt;
  Result<CpuSet> set = CpuSet::Parse(*text);
  if (set.has_value()) return *std::move(set);
  errors.Add(std::move(set).error().WithField(key));
  return std::nullopt;
}

double ReadRatio(const YamlNode& map, const char* key, ErrorList& errors) {
  const YamlNode* node = map.Find(key);
  if (node == nullptr) return 1.0;
  return errors.Take(YamlDouble(*node, key, kMinRatio, kMaxRatio)).value_or(1.0);
}

std::optional<uint64_t> ReadBytes(const YamlNode& map, const std::string& field, const char* key,
                                  ErrorList& errors) {
  std::string at = field.empty() ? std::string(key) : field + "." + key;
  const YamlNode* node = map.Find(key);
  if (node == nullptr) {
    errors.Add(InvalidArgument("is missing", at, "for example 512M"));
    return std::nullopt;
  }
  std::optional<std::string> text = errors.Take(YamlString(*node, at));
  if (!text.has_value()) return std::nullopt;
  Result<ByteSize> size = ByteSize::Parse(*text);
  if (size.has_value()) return size->bytes();
  errors.Add(std::move(size).error().WithField(at));
  return std::nullopt;
}

std::optional<int64_t> ReadInt(const YamlNode& map, const std::string& field, const char* key, int64_t max,
                               ErrorList& errors) {
  std::string at = field.empty() ? std::string(key) : field + "." + key;
  if (const YamlNode* node = map.Find(key)) return errors.Take(YamlInt(*node, at, 0, max));
  errors.Add(InvalidArgument("is missing", at));
  return std::nullopt;
}

// Calls `read(entry, field)` for each map of the sequence `key`, whose keys are checked.
template <class Read>
void ForEachEntry(const YamlNode& map, const char* key, const std::vector<std::string_view>& allowed,
                  ErrorList& errors, Read read) {
  const YamlNode* list = map.Find(key);
  if (list == nullptr || list->is_null()) return;
  if (!list->is_sequence()) {
    errors.Add(InvalidArgument("is not a list (line " + std::to_string(list->line) + ")", key));
    return;
  }
  for (size_t i = 0; i < list->items.size(); ++i) {
    std::string field = std::string(key) + "[" + std::to_string(i) + "]";
    Status keys = CheckYamlKeys(list->items[i], field, allowed);
    if (keys.ok()) {
      read(list->items[i], field);
    } else {
      errors.Add(std::move(keys));
    }
  }
}

void CheckSecureSize(uint64_t size, const std::string& at, ErrorList& errors) {
  if (size >= kMinSecureGuest && size % kSecureGranule == 0) return;
  errors.Add(InvalidArgument(
      "secure memory of " + ByteSize(size).ToString() + " is not a multiple of 2 MiB of at least 1 GiB", at));
}

void CheckNoOvercommitment(const HostConfig& config, ErrorList& errors) {
  if (config.confidential.kind.value_or(ConfidentialKind::kNone) == ConfidentialKind::kNone) return;
  for (auto [key, ratio] : {std::pair("cpu_allocation_ratio", config.cpu_allocation_ratio),
                            std::pair("ram_allocation_ratio", config.ram_allocation_ratio)}) {
    if (ratio == 1.0) continue;
    errors.Add(InvalidArgument("is not 1.0 although confidential.type is " +
                                   std::string(ConfidentialKindName(*config.confidential.kind)) +
                                   ": CPU or memory overcommitment is not supported there",
                               key, "take it out, or set confidential.type to none"));
  }
}

ConfidentialConfig ReadConfidential(const YamlNode& map, ErrorList& errors) {
  ConfidentialConfig config;
  const YamlNode* node = map.Find("confidential");
  if (node == nullptr || node->is_null()) return config;
  if (!node->is_map()) {
    errors.Add(InvalidArgument("is not a map (line " + std::to_string(node->line) + ")", "confidential"));
    return config;
  }
  errors.Add(
      CheckYamlKeys(*node, "confidential",
                    {"type", "secure_memory", "nonsecure_headroom", "symmetry_percent", "required_os"}));
  if (const YamlNode* type = node->Find("type")) {
    std::optional<std::string> text = errors.Take(YamlString(*type, "confidential.type"));
    if (text.has_value() && *text != "auto") {
      config.kind = ParseConfidentialKind(*text);
      if (!config.kind.has_value()) {
        errors.Add(InvalidArgument("\"" + *text + "\" is unknown", "confidential.type",
                                   "auto, none, virtcca, tdx, sev-snp or sw-protected"));
      }
    }
  }
  ForEachEntry(*node, "secure_memory", {"node", "size"}, errors,
               [&](const YamlNode& entry, const std::string& field) {
                 std::string at = "confidential." + field;
                 auto id = ReadInt(entry, at, "node", kMaxNode, errors);
                 auto size = ReadBytes(entry, at, "size", errors);
                 if (!id || !size) return;
                 CheckSecureSize(*size, at + ".size", errors);
                 config.secure_memory[static_cast<placement::NumaNode>(*id)] = *size;
               });
  if (config.kind == ConfidentialKind::kVirtcca && !config.secure_memory.empty()) {
    errors.Add(InvalidArgument("is set although type is virtcca: the firmware divides the memory",
                               "confidential.secure_memory", "take it out"));
  }
  if (node->Find("nonsecure_headroom") != nullptr) {
    config.nonsecure_headroom_bytes = ReadBytes(*node, "confidential", "nonsecure_headroom", errors)
                                          .value_or(config.nonsecure_headroom_bytes);
  }
  if (const YamlNode* percent = node->Find("symmetry_percent")) {
    config.symmetry_percent =
        errors.Take(YamlDouble(*percent, "confidential.symmetry_percent", 0, 100)).value_or(2.0);
  }
  if (const YamlNode* os = node->Find("required_os"); os != nullptr) {
    config.required_os =
        os->is_null() ? "" : errors.Take(YamlString(*os, "confidential.required_os")).value_or("");
  }
  return config;
}

// {"clique:0": ["0000:81:00.0", ...]}
void ReadDomains(const YamlNode& map, ConfiguredDomains& domains, ErrorList& errors) {
  const YamlNode* node = map.Find("domains");
  if (node == nullptr || node->is_null()) return;
  if (!node->is_map()) {
    errors.Add(InvalidArgument("must be a map of lists", "domains"));
    return;
  }
  for (const auto& [name, list] : node->entries) {
    const std::string at = "domains." + name;
    if (!IsDomainName(name)) {
      errors.Add(InvalidArgument("\"" + name + "\" must be KIND:NAME, for example clique:0", at));
      continue;
    }
    if (!list.is_sequence()) {
      errors.Add(InvalidArgument("must be a list of PCI addresses", at));
      continue;
    }
    for (const YamlNode& item : list.items) {
      std::optional<std::string> text = errors.Take(YamlString(item, at));
      if (!text.has_value()) continue;
      Result<PciAddress> address = PciAddress::Parse(*text);
      if (address.has_value()) {
        domains[name].push_back(*address);
      } else {
        errors.Add(std::move(address).error().WithField(at));
      }
    }
  }
}

}  // namespace

const std::vector<std::string_view>& HostConfig::Keys() {
  static const std::vector<std::string_view> keys = {"cpu_shared_set",
                                                     "cpu_dedicated_set",
                                                     "cpu_allocation_ratio",
                                                     "ram_allocation_ratio",
                                                     "reserved_memory",
                                                     "reserved_huge_pages",
                                                     "device_spec",
                                                     "confidential",
                                                     "sriov",
                                                     "domains",
                                                     "disk_size"};
  return keys;
}

HostConfig ParseHostConfig(const YamlNode& map, ErrorList& errors) {
  HostConfig config;
  config.cpu_shared_set = ReadCpuSet(map, "cpu_shared_set", errors);
  config.cpu_dedicated_set = ReadCpuSet(map, "cpu_dedicated_set", errors);
  if (config.cpu_shared_set && config.cpu_dedicated_set &&
      config.cpu_shared_set->Intersects(*config.cpu_dedicated_set)) {
    errors.Add(InvalidArgument("shares the CPUs " +
                                   (*config.cpu_shared_set & *config.cpu_dedicated_set).ToString() +
                                   " with cpu_shared_set",
                               "cpu_dedicated_set", "leave both out to use every CPU for both"));
  }
  config.cpu_allocation_ratio = ReadRatio(map, "cpu_allocation_ratio", errors);
  config.ram_allocation_ratio = ReadRatio(map, "ram_allocation_ratio", errors);
  if (map.Find("reserved_memory") != nullptr) config.reserved_memory.emplace();
  ForEachEntry(map, "reserved_memory", {"node", "size"}, errors,
               [&](const YamlNode& entry, const std::string& at) {
                 auto node = ReadInt(entry, at, "node", kMaxNode, errors);
                 auto size = ReadBytes(entry, at, "size", errors);
                 if (node && size) (*config.reserved_memory)[static_cast<placement::NumaNode>(*node)] = *size;
               });
  ForEachEntry(map, "reserved_huge_pages", {"node", "page_size", "count"}, errors,
               [&](const YamlNode& entry, const std::string& at) {
                 auto node = ReadInt(entry, at, "node", kMaxNode, errors);
                 auto size = ReadBytes(entry, at, "page_size", errors);
                 auto count = ReadInt(entry, at, "count", int64_t{1} << 32, errors);
                 if (!node || !size || !count) return;
                 config.reserved_huge_pages[{static_cast<placement::NumaNode>(*node), *size}] =
                     static_cast<uint64_t>(*count);
               });
  ForEachEntry(map, "sriov", {"address", "vfs"}, errors, [&](const YamlNode& entry, const std::string& at) {
    auto vfs = ReadInt(entry, at, "vfs", 65535, errors);
    const YamlNode* node = entry.Find("address");
    if (node == nullptr) {
      errors.Add(InvalidArgument("is missing", at + ".address", "the PF's address, 0000:41:00.0"));
      return;
    }
    std::optional<std::string> text = errors.Take(YamlString(*node, at + ".address"));
    if (!text.has_value()) return;
    Result<PciAddress> address = PciAddress::Parse(*text);
    if (!address.has_value()) {
      errors.Add(std::move(address).error().WithField(at + ".address"));
    } else if (vfs.has_value()) {
      config.sriov.push_back({*address, static_cast<uint32_t>(*vfs)});
    }
  });
  ReadDomains(map, config.domains, errors);
  if (map.Find("disk_size") != nullptr)
    config.disk_bytes = ReadBytes(map, "", "disk_size", errors).value_or(0);
  config.confidential = ReadConfidential(map, errors);
  CheckNoOvercommitment(config, errors);
  if (const YamlNode* node = map.Find("device_spec")) {
    if (auto spec = errors.Take(ParseDeviceSpec(*node, "device_spec"))) config.device_spec = *std::move(spec);
  }
  return config;
}

}  // namespace berth::agent
