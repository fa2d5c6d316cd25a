#include "compute-agent/instances/used_devices.h"

#include <filesystem>

#include "common/file.h"

namespace berth::agent {

Status UsedDevices::Mark(const PciAddress& address) const {
  std::error_code error;
  std::filesystem::create_directories(folder_, error);
  if (error) return ErrnoStatus("make " + folder_, error.value());
  std::string path = folder_ + "/" + address.ToString();
  if (std::filesystem::exists(path, error)) return OkStatus();
  return WriteFileAtomically(path, "");
}

Result<std::set<PciAddress>> UsedDevices::Read() const {
  std::set<PciAddress> used;
  std::error_code error;
  std::filesystem::directory_iterator entries(folder_, error);
  if (error == std::errc::no_such_file_or_directory) return used;
  if (error) return ErrnoStatus(folder_, error.value());
  for (const auto& entry : entries) {
    Result<PciAddress> address = PciAddress::Parse(entry.path().filename().string());
    if (address.has_value()) used.insert(*address);  // else a temporary file of a Mark that was cut off
  }
  return used;
}

}  // namespace berth::agent
