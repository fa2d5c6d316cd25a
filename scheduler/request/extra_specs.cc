#include "scheduler/request/extra_specs.h"

#include <algorithm>
#include <charconv>
#include <initializer_list>

#include "common/byte_size.h"
#include "common/yaml.h"
#include "scheduler/request/group_key.h"

namespace berth::scheduler {
namespace {

constexpr uint64_t kMaxGuestCpu = 4095;
constexpr uint64_t kMaxAliasCount = 1024;

const std::vector<std::string_view>& KnownSpecs() {
  static const std::vector<std::string_view> names = {
      "hw:numa_nodes",
      "hw:numa_cpus.0",
      "hw:numa_mem.0",
      "hw:cpu_policy",
      "hw:cpu_thread_policy",
      "hw:cpu_dedicated_mask",
      "hw:emulator_threads_policy",
      "hw:mem_page_size",
      "hw:pci_numa_affinity_policy",
      "pci_passthrough:alias",
      "group_policy",
      "resources:VCPU",
      "resources:PCPU",
      "trait:HW_CPU_HYPERTHREADING",
      "hw:mem_encryption",
      "hw:mem_encryption_model",
      "hw:viommu_model",
      "resources:MEMORY_MB",
      "resources:DISK_GB",
      "resources:MEM_ENCRYPTION_CONTEXT",
      "required",
      "forbidden",
      "berth:same_domain",
  };
  return names;
}

const std::vector<std::string_view>& KnownImageProperties() {
  static const std::vector<std::string_view> names = {
      "hw_numa_nodes",     "hw_cpu_policy",           "hw_cpu_thread_policy",
      "hw_numa_cpus.0",    "hw_architecture",         "hw_hypervisor_type",
      "hw_numa_mem.0",     "hw_mem_page_size",        "hw_pci_numa_affinity_policy",
      "hw_mem_encryption", "hw_mem_encryption_model", "hw_viommu_model"};
  return names;
}

bool StartsWithAny(std::string_view name, std::initializer_list<std::string_view> prefixes) {
  return std::any_of(prefixes.begin(), prefixes.end(),
                     [&](std::string_view prefix) { return name.starts_with(prefix); });
}

// Families of names that Nova reads and this version does not, whatever follows the prefix.
bool IsOpenFamily(std::string_view name) {
  return StartsWithAny(name, {"resources", "trait", "required", "in_tree",
                              "quota:", "accel:", "os:", "powervm:", "vmware:", "hw_rng:", "capabilities:"});
}

// Families in which a name may also be a typing error of a supported one.
bool IsKnownFamily(std::string_view name) {
  return IsOpenFamily(name) || StartsWithAny(name, {"hw:", "hw_", "pci_passthrough:"});
}

const std::vector<std::string_view>& LaterSpecs() {
  static const std::vector<std::string_view> names = {"hw:locked_memory",      "hw:pmem",
                                                      "hw:cpu_realtime",       "hw:cpu_realtime_mask",
                                                      "hw:cpu_sockets",        "hw:cpu_cores",
                                                      "hw:cpu_threads",        "hw:cpu_max_sockets",
                                                      "hw:cpu_max_cores",      "hw:cpu_max_threads",
                                                      "hw:maxphysaddr_mode",   "hw:maxphysaddr_bits",
                                                      "hw:pci_numa_affinity",  "hw:watchdog_action",
                                                      "hw:boot_menu",          "hw:vif_multiqueue_enabled",
                                                      "hw:serial_port_count",  "hw:tpm_model",
                                                      "hw:tpm_version",        "hw:hide_hypervisor_id",
                                                      "hw:virtio_packed_ring", "hw_rng:allowed",
                                                      "os:secure_boot"};
  return names;
}

bool IsNumbered(std::string_view name, std::string_view stem) {
  if (!name.starts_with(stem)) return false;
  return ParseWhole(name.substr(stem.size()), 0, 127).has_value();
}

bool IsNamed(std::string_view name, std::string_view prefix) {
  return name.starts_with(prefix) && name.size() > prefix.size();
}

// Of which there is no list. N: any suffix of letters, digits, _ and -.
constexpr std::string_view kSpecFamilies =
    " trait:NAME traitN:NAME resources:CLASS resourcesN:CLASS requiredN aggregate_instance_extra_specs:KEY";

Status Refuse(const std::string& name, const std::string& value, const std::string& field,
              const std::vector<std::string_view>& known, const std::vector<std::string_view>& later,
              std::string_view families) {
  std::string what = "\"" + name + "\" with value \"" + value + "\"";
  bool named = std::find(later.begin(), later.end(), name) != later.end();
  std::string_view nearest = NearestName(name, known);
  if (!named && !IsOpenFamily(name) && !nearest.empty()) {
    return InvalidArgument("unknown name " + what, field, "did you mean \"" + std::string(nearest) + "\"?");
  }
  std::string supported = "supported:";
  for (std::string_view one : known) supported += " " + std::string(one);
  supported += families;
  if (named || IsKnownFamily(name)) {
    return InvalidArgument(what + " is not supported by this version", field, supported);
  }
  return InvalidArgument("unknown name " + what, field, supported);
}

}  // namespace

bool IsKnownExtraSpec(std::string_view name) {
  const auto& known = KnownSpecs();
  return std::find(known.begin(), known.end(), name) != known.end() || IsNumbered(name, "hw:numa_cpus.") ||
         IsNumbered(name, "hw:numa_mem.") || GroupKey::Parse(name).has_value() || IsNamed(name, "trait:") ||
         IsNamed(name, "aggregate_instance_extra_specs:");
}

bool IsKnownImageProperty(std::string_view name) {
  const auto& known = KnownImageProperties();
  return std::find(known.begin(), known.end(), name) != known.end() || IsNumbered(name, "hw_numa_cpus.") ||
         IsNumbered(name, "hw_numa_mem.");
}

std::vector<Status> UnknownExtraSpecs(const Properties& specs) {
  std::vector<Status> errors;
  for (const auto& [name, value] : specs) {
    if (IsKnownExtraSpec(name)) continue;
    errors.push_back(Refuse(name, value, "extra_specs." + name, KnownSpecs(), LaterSpecs(), kSpecFamilies));
  }
  return errors;
}

Status CheckExtraSpecNames(const Properties& specs) {
  std::vector<Status> errors = UnknownExtraSpecs(specs);
  return errors.empty() ? OkStatus() : std::move(errors.front());
}

Status CheckImagePropertyNames(const Properties& properties) {
  const auto& known = KnownImageProperties();
  for (const auto& [name, value] : properties) {
    if (!name.starts_with("hw_") || IsKnownImageProperty(name)) continue;
    return Refuse(name, value, "image_properties." + name, known, {}, "");
  }
  return OkStatus();
}

Result<uint64_t> ParseWhole(std::string_view text, uint64_t min, uint64_t max) {
  uint64_t value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  bool good = error == std::errc() && end == text.data() + text.size() && value >= min && value <= max;
  if (!good) {
    return InvalidArgument("\"" + std::string(text) + "\" must be a whole number from " +
                           std::to_string(min) + " to " + std::to_string(max));
  }
  return value;
}

namespace {

std::string_view Strip(std::string_view text) {
  size_t first = text.find_first_not_of(" \t");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

// "3" or "3-5" into `set`.
Status AddRange(std::string_view part, CpuSet& set) {
  size_t dash = part.find('-');
  TRY_ASSIGN(uint64_t first, ParseWhole(Strip(part.substr(0, dash)), 0, kMaxGuestCpu));
  uint64_t last = first;
  if (dash != std::string_view::npos) {
    TRY_ASSIGN(last, ParseWhole(Strip(part.substr(dash + 1)), 0, kMaxGuestCpu));
    if (last < first) return InvalidArgument("\"" + std::string(part) + "\" ends before it begins");
  }
  set |= CpuSet::Range(static_cast<uint32_t>(first), static_cast<uint32_t>(last));
  return OkStatus();
}

}  // namespace

Result<CpuSet> ParseCpuSpec(std::string_view text) {
  CpuSet wanted;
  CpuSet excluded;
  while (true) {
    size_t comma = text.find(',');
    std::string_view part = Strip(text.substr(0, comma));
    if (part.starts_with('^')) {
      TRY(AddRange(Strip(part.substr(1)), excluded));
    } else {
      TRY(AddRange(part, wanted));
    }
    if (comma == std::string_view::npos) break;
    text.remove_prefix(comma + 1);
  }
  return wanted - excluded;
}

Result<PageRequest> ParsePageSize(std::string_view text) {
  using Kind = PageRequest::Kind;
  if (text == "small") return PageRequest{Kind::kSmall, 0};
  if (text == "large") return PageRequest{Kind::kLarge, 0};
  if (text == "any") return PageRequest{Kind::kAny, 0};
  Status invalid = InvalidArgument("MemoryPageSizeInvalid: page size \"" + std::string(text) +
                                   "\" must be small, large, any, a number of KiB, or a size such as 2MB");
  if (auto kib = ParseWhole(text, 1, uint64_t{1} << 40)) return PageRequest{Kind::kExact, *kib << 10};
  // "2MB" is binary, as in Nova: the letter before B decides.
  std::string unit(text);
  if (unit.size() < 2 || unit.find_first_not_of("0123456789") == 0) return invalid;
  if (unit.back() == 'B' || unit.back() == 'b') unit.pop_back();
  if (unit.back() == 'i') unit.pop_back();
  if (unit.empty() || std::string_view("KMGkmg").find(unit.back()) == std::string_view::npos) return invalid;
  auto size = ByteSize::Parse(unit);
  if (!size.has_value() || size->bytes() == 0) return invalid;
  return PageRequest{Kind::kExact, size->bytes()};
}

Result<AliasItems> ParseAliasItems(std::string_view text) {
  AliasItems items;
  while (true) {
    size_t comma = text.find(',');
    std::string_view item = Strip(text.substr(0, comma));
    size_t colon = item.rfind(':');
    if (colon == std::string_view::npos || colon == 0) {
      return InvalidArgument("\"" + std::string(item) + "\" must be NAME:COUNT");
    }
    auto count = ParseWhole(item.substr(colon + 1), 1, kMaxAliasCount);
    if (!count.has_value()) {
      return InvalidArgument("count of \"" + std::string(item) + "\" must be a whole number from 1 to " +
                             std::to_string(kMaxAliasCount));
    }
    items.emplace_back(std::string(item.substr(0, colon)), static_cast<uint32_t>(*count));
    if (comma == std::string_view::npos) return items;
    text.remove_prefix(comma + 1);
  }
}

}  // namespace berth::scheduler
