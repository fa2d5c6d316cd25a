#include "scheduler/request/alias.h"

#include <algorithm>
#include <array>
#include <cctype>

#include "common/yaml.h"

namespace berth::scheduler {
namespace {

constexpr size_t kMaxName = 255;

const std::vector<std::string_view>& AliasKeys() {
  static const std::vector<std::string_view> keys = {"name",           "vendor_id",       "product_id",
                                                     "device_type",    "capability_type", "numa_policy",
                                                     "resource_class", "traits"};
  return keys;
}

Status Invalid(const std::string& key, const std::string& value, const std::string& allowed) {
  return InvalidArgument("PciInvalidAlias: " + key + " is \"" + value + "\", must be " + allowed, key);
}

Status ParseHexId(const std::string& key, const std::string& value, std::string& out) {
  std::string_view digits = value;
  if (digits.starts_with("0x") || digits.starts_with("0X")) digits.remove_prefix(2);
  bool hex = !digits.empty() && digits.size() <= 4 &&
             std::all_of(digits.begin(), digits.end(), [](unsigned char c) { return std::isxdigit(c); });
  if (!hex) return Invalid(key, value, "one to four hexadecimal digits");
  out.assign(4 - digits.size(), '0');
  for (unsigned char c : digits) out += static_cast<char>(std::tolower(c));
  return OkStatus();
}

std::string Capitals(std::string_view name) {
  std::string out;
  for (unsigned char c : name) {
    bool good = std::isalnum(c) || c == '_';
    if (good) {
      out += static_cast<char>(std::toupper(c));
    } else if (out.empty() || out.back() != '_') {
      out += '_';
    }
  }
  return out;
}

std::string_view Strip(std::string_view text) {
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.front()))) text.remove_prefix(1);
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.back()))) text.remove_suffix(1);
  return text;
}

Status SetField(const std::string& key, const std::string& value, AliasEntry& entry) {
  if (key == "name") {
    if (value.empty() || value.size() > kMaxName || value.find_first_of(":,") != std::string::npos) {
      return Invalid(key, value, "1 to 255 characters without colon and comma");
    }
    entry.name = value;
  } else if (key == "vendor_id") {
    TRY(ParseHexId(key, value, entry.vendor_id));
  } else if (key == "product_id") {
    TRY(ParseHexId(key, value, entry.product_id));
  } else if (key == "device_type") {
    entry.device_type = ParseDeviceKind(value);
    if (!entry.device_type || entry.device_type == DeviceKind::kVdpa) {
      return Invalid(key, value, "type-PCI, type-PF or type-VF");
    }
  } else if (key == "numa_policy") {
    entry.numa_policy = ParseAffinityPolicy(value);
    if (!entry.numa_policy) return Invalid(key, value, "required, socket, preferred or legacy");
  } else if (key == "capability_type") {
    if (value != "pci") return Invalid(key, value, "pci");
  } else if (key == "resource_class") {
    if (value.empty() || value.size() > kMaxName) return Invalid(key, value, "1 to 255 characters");
    entry.resource_class = NormalizeResourceClass(value);
  } else if (key == "traits") {
    entry.traits = NormalizeTraits(value);
  } else {
    std::string_view nearest = NearestName(key, AliasKeys());
    std::string hint = nearest.empty() ? "known keys: name vendor_id product_id device_type capability_type "
                                         "numa_policy resource_class traits"
                                       : "did you mean \"" + std::string(nearest) + "\"?";
    return InvalidArgument("PciInvalidAlias: unknown key \"" + key + "\" with value \"" + value + "\"", key,
                           hint);
  }
  return OkStatus();
}

}  // namespace

Result<AliasEntry> MakeAliasEntry(const std::vector<AliasField>& fields) {
  AliasEntry entry;
  for (const auto& [key, value] : fields) TRY(SetField(key, value, entry));
  if (entry.name.empty()) return InvalidArgument("PciInvalidAlias: name is missing", "name");
  if ((entry.vendor_id.empty() || entry.product_id.empty()) && entry.resource_class.empty()) {
    return InvalidArgument("PciInvalidAlias: alias \"" + entry.name + "\" names no device",
                           entry.vendor_id.empty() ? "vendor_id" : "product_id",
                           "give vendor_id and product_id, or resource_class");
  }
  return entry;
}

Status AddAliasEntry(AliasEntry entry, AliasTable& table) {
  std::vector<AliasEntry>& entries = table[entry.name];
  if (!entries.empty() && entries.front().device_type != entry.device_type) {
    return InvalidArgument("PciInvalidAlias: entries of alias \"" + entry.name + "\" differ in device_type",
                           "device_type", "alternatives must have the same device_type");
  }
  if (!entries.empty() && entries.front().numa_policy != entry.numa_policy) {
    return InvalidArgument("PciInvalidAlias: entries of alias \"" + entry.name + "\" differ in numa_policy",
                           "numa_policy", "alternatives must have the same numa_policy");
  }
  entries.push_back(std::move(entry));
  return OkStatus();
}

std::string NormalizeResourceClass(std::string_view name) {
  static constexpr std::array<std::string_view, 16> kStandard = {
      "VCPU",         "PCPU",        "MEMORY_MB",         "DISK_GB",        "PCI_DEVICE",
      "SRIOV_NET_VF", "NUMA_SOCKET", "NUMA_CORE",         "NUMA_THREAD",    "VGPU",
      "PGPU",         "FPGA",        "VGPU_DISPLAY_HEAD", "NUMA_MEMORY_MB", "MEM_ENCRYPTION_CONTEXT",
      "IPV4_ADDRESS"};
  std::string out = Capitals(Strip(name));
  if (out.empty() || out.starts_with("CUSTOM_")) return out;
  if (std::find(kStandard.begin(), kStandard.end(), out) != kStandard.end()) return out;
  return "CUSTOM_" + out;
}

std::string NormalizeTrait(std::string_view name) {
  std::string out = Capitals(Strip(name));
  for (std::string_view prefix : {"CUSTOM_", "HW_", "COMPUTE_", "MISC_", "STORAGE_", "OWNER_"}) {
    if (out.starts_with(prefix)) return out;
  }
  return out.empty() ? out : "CUSTOM_" + out;
}

std::vector<std::string> NormalizeTraits(std::string_view list) {
  std::vector<std::string> out;
  while (!list.empty()) {
    size_t comma = std::min(list.find(','), list.size());
    if (std::string trait = NormalizeTrait(list.substr(0, comma)); !trait.empty()) out.push_back(trait);
    list.remove_prefix(std::min(comma + 1, list.size()));
  }
  std::sort(out.begin(), out.end());
  out.erase(std::unique(out.begin(), out.end()), out.end());
  return out;
}

}  // namespace berth::scheduler
