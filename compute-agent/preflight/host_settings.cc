#include "compute-agent/preflight/host_settings.h"

#include <algorithm>

#include "compute-agent/inventory/sysfs_values.h"
#include "compute-agent/inventory/warnings.h"

namespace berth::agent {
namespace {

// SMBIOS 3: type, length and handle, then fields at fixed offsets; strings follow the formatted part.
constexpr uint8_t kMemoryDevice = 17;
constexpr size_t kSizeOffset = 0x0c;
constexpr size_t kLocatorOffset = 0x10;
constexpr size_t kMaxSlots = 1024;

uint8_t ByteAt(std::string_view raw, size_t offset) {
  return static_cast<uint8_t>(raw[offset]);
}

// String number `index` (from 1) after the formatted part; empty if there is none.
std::string StringAt(std::string_view strings, uint8_t index) {
  for (uint8_t i = 1; index > 0 && !strings.empty(); ++i) {
    size_t end = strings.find('\0');
    if (i == index) return CleanText(strings.substr(0, end));
    if (end == std::string_view::npos) break;
    strings.remove_prefix(end + 1);
  }
  return {};
}

void ReadDimms(const Root& root, HostSettings& settings, Warnings& warnings) {
  Result<Folder> folder = root.OpenFolder("sys/firmware/dmi/entries");
  if (!folder.has_value()) return warnings.AddUnlessMissing(folder.error());
  Result<std::vector<std::string>> names = folder->List();
  if (!names.has_value()) return warnings.Add(names.error().message());
  std::sort(names->begin(), names->end());
  for (const std::string& name : *names) {
    if (!name.starts_with("17-") || settings.dimms.size() >= kMaxSlots) continue;
    Result<Folder> entry = folder->Open(name);
    Result<std::string> raw = entry.has_value() ? entry->Read("raw") : Result<std::string>(entry.error());
    // Only root may read them.
    if (!raw.has_value()) return warnings.AddUnlessMissing(raw.error());
    Result<DimmSlot> slot = ParseDimmSlot(*raw);
    if (slot.has_value()) {
      settings.dimms.push_back(*std::move(slot));
    } else {
      warnings.AddBadContent(entry->PathOf("raw"), slot.error());
    }
  }
}

}  // namespace

Result<DimmSlot> ParseDimmSlot(std::string_view raw) {
  if (raw.size() < 4 || ByteAt(raw, 0) != kMemoryDevice) return InvalidArgument("is no SMBIOS memory device");
  size_t length = ByteAt(raw, 1);
  if (length <= kLocatorOffset || raw.size() < length) {
    return InvalidArgument("a memory device of " + std::to_string(raw.size()) + " bytes is cut off");
  }
  DimmSlot slot;
  unsigned size = ByteAt(raw, kSizeOffset) | static_cast<unsigned>(ByteAt(raw, kSizeOffset + 1)) << 8;
  slot.filled = size != 0;
  slot.locator = StringAt(raw.substr(length), ByteAt(raw, kLocatorOffset));
  return slot;
}

Result<uint64_t> ParseMemlock(std::string_view limits) {
  constexpr std::string_view kName = "Max locked memory";
  size_t at = limits.find(kName);
  if (at == std::string_view::npos) return NotFound("no line \"Max locked memory\"");
  std::string_view rest = limits.substr(at + kName.size());
  size_t begin = rest.find_first_not_of(' ');
  if (begin == std::string_view::npos) return InvalidArgument("no value of \"Max locked memory\"");
  rest.remove_prefix(begin);
  std::string_view value = rest.substr(0, rest.find_first_of(" \n"));
  if (value == "unlimited") return UINT64_MAX;
  return ParseUnsigned(value);
}

HostSettings ReadHostSettings(const Root& root) {
  HostSettings settings;
  Warnings warnings;
  Result<std::string> limits = root.Read("proc/self/limits");
  if (limits.has_value()) {
    Result<uint64_t> memlock = ParseMemlock(*limits);
    if (memlock.has_value()) {
      settings.memlock_bytes = *memlock;
    } else {
      warnings.AddBadContent("/proc/self/limits", memlock.error());
    }
  } else {
    warnings.AddUnlessMissing(limits.error());
  }
  constexpr const char* kLimit = "sys/module/vfio_iommu_type1/parameters/dma_entry_limit";
  Result<std::string> limit = root.Read(kLimit);
  if (limit.has_value()) {
    Result<uint64_t> value = ParseUnsigned(*limit);
    if (value.has_value()) {
      settings.dma_entry_limit = *value;
    } else {
      warnings.AddBadContent(std::string("/") + kLimit, value.error());
    }
  } else {
    warnings.AddUnlessMissing(limit.error());
  }
  ReadDimms(root, settings, warnings);
  settings.warnings = std::move(warnings).Take();
  return settings;
}

}  // namespace berth::agent
