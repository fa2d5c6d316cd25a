#include "vmm/vfio/vfio_sysfs.h"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <system_error>
#include <utility>

#include "common/file.h"
#include "common/words.h"

namespace berth::vmm {
namespace {

std::string LinkName(const std::string& path) {
  std::error_code error;
  const std::filesystem::path target = std::filesystem::read_symlink(path, error);
  return error ? std::string() : target.filename().string();
}

std::optional<uint64_t> ParseNumber(std::string_view text, int base) {
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.remove_suffix(1);
  if (text.starts_with("0x")) text.remove_prefix(2);
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (error != std::errc() || end != text.data() + text.size() || text.empty()) return std::nullopt;
  return value;
}

std::vector<std::string> Names(const std::string& folder) {
  std::vector<std::string> names;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
    names.push_back(entry.path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace

VfioSysfs::VfioSysfs(std::string root) : root_(std::move(root)) {
  while (root_.ends_with('/')) root_.pop_back();
}

bool VfioSysfs::Exists(const std::string& address) const {
  std::error_code error;
  return std::filesystem::exists(Device(address), error);
}

std::string VfioSysfs::Driver(const std::string& address) const {
  return LinkName(Device(address) + "/driver");
}

Result<uint32_t> VfioSysfs::Group(const std::string& address) const {
  const std::optional<uint64_t> number = ParseNumber(LinkName(Device(address) + "/iommu_group"), 10);
  if (number.has_value()) return static_cast<uint32_t>(*number);
  return FailedPrecondition("device " + address + " is in no IOMMU group", "device",
                            "the host's IOMMU must be on (intel_iommu=on, amd_iommu=on)");
}

std::vector<std::string> VfioSysfs::GroupMembers(uint32_t group) const {
  return Names(root_ + "/sys/kernel/iommu_groups/" + std::to_string(group) + "/devices");
}

std::vector<VfioSysfs::Reserved> VfioSysfs::ReservedRegions(uint32_t group) const {
  std::vector<Reserved> regions;
  Result<std::string> text =
      ReadFile(root_ + "/sys/kernel/iommu_groups/" + std::to_string(group) + "/reserved_regions");
  if (!text.has_value()) return regions;
  for (std::string_view rest = *text; !rest.empty();) {
    const auto first = NextWord(rest), last = NextWord(rest), type = NextWord(rest);
    if (!type) break;
    const std::optional<uint64_t> from = ParseNumber(*first, 16);
    const std::optional<uint64_t> to = ParseNumber(*last, 16);
    if (from.has_value() && to.has_value()) regions.push_back({*from, *to, std::string(*type)});
  }
  return regions;
}

Result<std::string> VfioSysfs::DeviceFile(const std::string& address) const {
  for (const std::string& name : Names(Device(address) + "/vfio-dev")) {
    if (name.starts_with("vfio")) return name;
  }
  return NotFound("device " + address + " has no VFIO device file");
}

bool VfioSysfs::BoundToVfio(const std::string& address) const {
  const std::string driver = Driver(address);
  // Drivers made for one kind of device carry vfio in their names too.
  return driver.find("vfio") != std::string::npos || DeviceFile(address).has_value();
}

std::optional<uint32_t> VfioSysfs::AddressWidth(const std::string& address) const {
  Result<std::string> text = ReadFile(Device(address) + "/iommu/intel-iommu/cap");
  if (!text.has_value()) return std::nullopt;
  const std::optional<uint64_t> capability = ParseNumber(*text, 16);
  if (!capability.has_value()) return std::nullopt;
  return static_cast<uint32_t>(*capability >> 16 & 0x3f) + 1;  // MGAW
}

std::optional<uint64_t> VfioSysfs::DmaEntryLimit() const {
  Result<std::string> text = ReadFile(root_ + "/sys/module/vfio_iommu_type1/parameters/dma_entry_limit");
  return text.has_value() ? ParseNumber(*text, 10) : std::nullopt;
}

}  // namespace berth::vmm
