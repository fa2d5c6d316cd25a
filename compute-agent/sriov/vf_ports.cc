#include "compute-agent/sriov/vf_ports.h"

#include <algorithm>
#include <filesystem>
#include <optional>
#include <system_error>
#include <utility>
#include <vector>

#include "common/file.h"

namespace berth::agent {
namespace {

namespace fs = std::filesystem;

std::vector<std::string> Entries(const fs::path& folder) {
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error)) {
    names.push_back(entry->path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

std::string LinkTarget(const fs::path& link) {
  std::error_code error;
  return fs::read_symlink(link, error).filename().string();
}

// In switchdev mode a PF has an interface for each VF beside its own; those are named "pf0vf3".
bool IsRepresentor(const fs::path& interface) {
  Result<std::string> port = ReadFile((interface / "phys_port_name").string());
  return port.has_value() && port->find("vf") != std::string::npos;
}

std::optional<uint32_t> NumberOf(const fs::path& pf, const std::string& vf) {
  constexpr std::string_view kPrefix = "virtfn";
  for (const std::string& name : Entries(pf)) {
    if (!name.starts_with(kPrefix) || LinkTarget(pf / name) != vf) continue;
    std::string digits = name.substr(kPrefix.size());
    if (digits.empty() || digits.size() > 5 || digits.find_first_not_of("0123456789") != std::string::npos)
      continue;
    return static_cast<uint32_t>(std::stoul(digits));
  }
  return std::nullopt;
}

}  // namespace

VfPorts::VfPorts(std::string root, VfLinks& links) : links_(links) {
  while (root.ends_with('/')) root.pop_back();
  devices_ = std::move(root) + "/sys/bus/pci/devices";
}

Result<VfPlace> VfPorts::Find(const PciAddress& vf) const {
  const fs::path device = fs::path(devices_) / vf.ToString();
  std::error_code error;
  if (!fs::exists(device, error)) return NotFound("there is no PCI device " + vf.ToString());
  std::string pf = LinkTarget(device / "physfn");
  if (pf.empty()) return FailedPrecondition("device " + vf.ToString() + " is no VF");
  const fs::path pf_folder = fs::path(devices_) / pf;
  std::optional<uint32_t> number = NumberOf(pf_folder, vf.ToString());
  if (!number) return FailedPrecondition("PF " + pf + " does not list its VF " + vf.ToString());
  for (const std::string& netdev : Entries(pf_folder / "net")) {
    if (!IsRepresentor(pf_folder / "net" / netdev)) return VfPlace{netdev, *number};
  }
  return FailedPrecondition("PF " + pf + " of VF " + vf.ToString() +
                            " has no network interface: its driver is not bound, or it is no network card");
}

Status VfPorts::Apply(const PciAddress& vf, const placement::PortSettings& settings) const {
  TRY_ASSIGN(VfPlace place, Find(vf));
  TRY_ASSIGN(VfState now, links_.Read(place.netdev, place.number));
  placement::PortSettings change;
  if (settings.mac && now.mac != settings.mac) change.mac = settings.mac;
  change.vlan = settings.vlan;
  bool set_vlan = now.vlan.value_or(0) != settings.vlan;
  // A driver that does not know trust or spoof check is asked only for what the port asks for.
  auto differs = [](std::optional<bool> wanted, std::optional<bool> have, bool otherwise) {
    return have.has_value() ? have != wanted.value_or(otherwise) : wanted.has_value();
  };
  if (differs(settings.trusted, now.trusted, false)) change.trusted = settings.trusted.value_or(false);
  if (differs(settings.spoof_check, now.spoof_check, true))
    change.spoof_check = settings.spoof_check.value_or(true);
  if (!set_vlan && !change.mac && !change.trusted && !change.spoof_check) return OkStatus();
  return links_.Change(place.netdev, place.number, change, set_vlan);
}

Status VfPorts::Reset(const PciAddress& vf) const {
  Result<VfPlace> place = Find(vf);
  if (!place.has_value() && place.error().code() == StatusCode::kNotFound) return OkStatus();
  // All zeros: the driver chooses an address again.
  return Apply(vf, placement::PortSettings{.mac = MacAddress{}});
}

}  // namespace berth::agent
