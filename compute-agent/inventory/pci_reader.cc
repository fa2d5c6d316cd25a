#include "compute-agent/inventory/pci_reader.h"

#include <algorithm>
#include <cstdio>
#include <map>
#include <set>
#include <string>

#include "compute-agent/inventory/sysfs_values.h"

namespace berth::agent {
namespace {

using placement::DeviceType;

std::string FourDigits(uint32_t id) {
  char text[5];
  std::snprintf(text, sizeof(text), "%04x", id & 0xffff);
  return text;
}

// A file that may be absent: empty then, and with a warning if it is there but wrong.
template <class Parse>
auto ReadOptional(const Folder& folder, std::string_view name, Parse parse, Warnings& warnings)
    -> std::optional<typename decltype(parse(std::string_view()))::value_type> {
  Result<std::string> text = folder.Read(name);
  if (!text.has_value()) {
    warnings.AddUnlessMissing(text.error());
    return std::nullopt;
  }
  auto value = parse(*text);
  if (!value.has_value()) {
    warnings.AddBadContent(folder.PathOf(name), value.error());
    return std::nullopt;
  }
  return *std::move(value);
}

Result<uint32_t> ReadHexId(const Folder& folder, std::string_view name, size_t digits) {
  TRY_ASSIGN(std::string text, folder.Read(name));
  Result<uint32_t> id = ParseHexId(text, digits);
  if (!id.has_value()) return std::move(id).error().WithContext(folder.PathOf(name));
  return id;
}

// The address that a link such as `physfn` leads to; empty without a link.
std::optional<PciAddress> ReadAddressLink(const Folder& folder, std::string_view name, Warnings& warnings) {
  Result<std::string> target = folder.LinkName(name);
  if (!target.has_value()) {
    warnings.AddUnlessMissing(target.error());
    return std::nullopt;
  }
  Result<PciAddress> address = PciAddress::Parse(*target);
  if (!address.has_value()) {
    warnings.Add(folder.PathOf(name) + ": leads to \"" + Excerpt(*target) + "\", which is no PCI address");
    return std::nullopt;
  }
  return *address;
}

// Interfaces are in `net`, or below the virtio device on the function.
void AddNetdevs(const Folder& folder, std::vector<std::string>& netdevs, Warnings& warnings) {
  Result<Folder> net = folder.Open("net");
  if (!net.has_value()) return warnings.AddUnlessMissing(net.error());
  Result<std::vector<std::string>> names = net->List();
  if (!names.has_value()) return warnings.Add(names.error().message());
  for (const std::string& name : *names) netdevs.push_back(CleanText(name));
}

void ReadDriverAndGroup(const Folder& folder, PciDeviceInfo& device, Warnings& warnings) {
  if (Result<std::string> driver = folder.LinkName("driver"); driver.has_value()) {
    device.driver = CleanText(*driver);
  } else {
    warnings.AddUnlessMissing(driver.error());
  }
  Result<std::string> group = folder.LinkName("iommu_group");
  if (!group.has_value()) return warnings.AddUnlessMissing(group.error());
  Result<uint64_t> number = ParseUnsigned(*group, UINT32_MAX);
  if (!number.has_value()) return warnings.AddBadContent(folder.PathOf("iommu_group"), number.error());
  device.iommu_group = static_cast<uint32_t>(*number);
}

void ReadSriov(const Folder& folder, const std::map<uint32_t, std::string>& virtfns, bool has_physfn,
               PciDeviceInfo& device, Warnings& warnings) {
  auto count = [](std::string_view text) { return ParseUnsigned(text, UINT16_MAX); };
  uint64_t total = ReadOptional(folder, "sriov_totalvfs", count, warnings).value_or(0);
  uint64_t enabled = ReadOptional(folder, "sriov_numvfs", count, warnings).value_or(0);
  device.sriov_total_vfs = static_cast<uint32_t>(total);
  device.sriov_num_vfs = static_cast<uint32_t>(enabled);
  for (const auto& [index, name] : virtfns) {
    if (std::optional<PciAddress> vf = ReadAddressLink(folder, name, warnings)) {
      device.virtual_functions.push_back(*vf);
    }
  }
  if (has_physfn) {
    device.type = DeviceType::kVf;
    device.parent = ReadAddressLink(folder, "physfn", warnings);
  } else if (total > 0 || !device.virtual_functions.empty()) {
    device.type = DeviceType::kPf;
  }
}

// The header's first 16 bytes are read: a VF's identification alone reads as ones even when it is well
// (SR-IOV 1.1, 3.4.1.1), its command and class do not. Each byte costs a request to the device, so no more
// are.
bool IsOffBus(const Folder& folder) {
  constexpr size_t kBytes = 16;
  Result<std::string> start = folder.ReadStart("config", kBytes);
  return start.has_value() && *start == std::string(kBytes, '\xff');
}

Result<PciDeviceInfo> ReadDevice(const Folder& folder, const PciAddress& address, Warnings& warnings) {
  PciDeviceInfo device;
  device.address = address;
  TRY_ASSIGN(uint32_t vendor, ReadHexId(folder, "vendor", 4));
  TRY_ASSIGN(uint32_t product, ReadHexId(folder, "device", 4));
  TRY_ASSIGN(device.class_code, ReadHexId(folder, "class", 6));
  device.vendor_id = FourDigits(vendor);
  device.product_id = FourDigits(product);
  TRY_ASSIGN(std::vector<std::string> names, folder.List());
  bool has_physfn = false;
  std::map<uint32_t, std::string> virtfns;
  for (const std::string& name : names) {
    if (name == "physfn") has_physfn = true;
    if (name == "net") AddNetdevs(folder, device.netdevs, warnings);
    if (std::optional<uint32_t> index = NumberAfter(name, "virtfn")) virtfns[*index] = name;
    if (NumberAfter(name, "virtio").has_value()) {
      if (Result<Folder> virtio = folder.Open(name); virtio.has_value()) {
        AddNetdevs(*virtio, device.netdevs, warnings);
      } else {
        warnings.Add(virtio.error().message());
      }
    }
  }
  std::sort(device.netdevs.begin(), device.netdevs.end());
  for (const std::string& name : names) {
    if (name == "config") device.off_bus = IsOffBus(folder);
    // Only functions with Advanced Error Reporting have it.
    if (name == "aer_dev_fatal")
      device.fatal_errors = ReadOptional(folder, name, ParseFatalErrors, warnings).value_or(0);
  }
  device.numa_node = ReadOptional(folder, "numa_node", ParseOptionalId, warnings).value_or(std::nullopt);
  ReadDriverAndGroup(folder, device, warnings);
  ReadSriov(folder, virtfns, has_physfn, device, warnings);
  return device;
}

// "../../../devices/pci0000:00/0000:00:01.0/0000:01:00.0": the addresses between the root bus and the device.
std::vector<PciAddress> BridgesOf(std::string_view target) {
  std::vector<PciAddress> addresses;
  bool below_root = false;
  while (!target.empty()) {
    size_t slash = target.find('/');
    std::string part(target.substr(0, slash));
    target.remove_prefix(slash == std::string_view::npos ? target.size() : slash + 1);
    if (part.starts_with("pci")) {
      below_root = true;
      addresses.clear();
    } else if (below_root) {
      if (auto address = PciAddress::Parse(part); address.has_value()) addresses.push_back(*address);
    }
  }
  if (!addresses.empty()) addresses.pop_back();  // the device itself
  return addresses;
}

// A VF needs its PF; what the two sides say of each other is compared.
void CheckParents(const std::vector<PciDeviceInfo>& devices, Warnings& warnings) {
  std::map<PciAddress, const PciDeviceInfo*> by_address;
  for (const PciDeviceInfo& device : devices) by_address[device.address] = &device;
  for (const PciDeviceInfo& device : devices) {
    std::string path = "/sys/bus/pci/devices/" + device.address.ToString();
    if (device.type == DeviceType::kVf) {
      if (!device.parent.has_value()) {
        warnings.Add(path + "/physfn: the VF's PF is unknown");
      } else if (!by_address.contains(*device.parent)) {
        warnings.Add(path + "/physfn: the VF's PF " + device.parent->ToString() + " was not found");
      }
    }
    for (const PciAddress& vf : device.virtual_functions) {
      if (!by_address.contains(vf)) warnings.Add(path + ": its VF " + vf.ToString() + " was not found");
    }
  }
}

}  // namespace

std::vector<PciDeviceInfo> ReadPciDevices(const Root& root, Warnings& warnings) {
  constexpr const char* kDevices = "sys/bus/pci/devices";
  std::vector<PciDeviceInfo> devices;
  Result<Folder> folder = root.OpenFolder(kDevices);
  if (!folder.has_value()) {
    warnings.AddUnlessMissing(folder.error());  // a machine without PCI
    return devices;
  }
  Result<std::vector<std::string>> names = folder->List();
  if (!names.has_value()) {
    warnings.Add(names.error().message());
    return devices;
  }
  std::sort(names->begin(), names->end());
  std::set<PciAddress> seen;
  for (const std::string& name : *names) {
    std::string path = folder->PathOf(Excerpt(name));
    Result<PciAddress> address = PciAddress::Parse(name);
    if (!address.has_value()) {
      warnings.Add(path + ": device ignored: " + address.error().message());
      continue;
    }
    if (!seen.insert(*address).second) {
      warnings.Add(path + ": device ignored: the address is there twice");
      continue;
    }
    Result<Folder> one = root.OpenFolder(std::string(kDevices) + "/" + name);
    Result<PciDeviceInfo> device =
        one.has_value() ? ReadDevice(*one, *address, warnings) : Result<PciDeviceInfo>(one.error());
    if (!device.has_value()) {
      warnings.Add("PCI device " + address->ToString() + " ignored: " + device.error().message());
      continue;
    }
    // A recorded tree may have folders where the kernel has links.
    if (auto target = folder->LinkTarget(name); target.has_value()) device->bridges = BridgesOf(*target);
    devices.push_back(*std::move(device));
  }
  std::sort(devices.begin(), devices.end(),
            [](const PciDeviceInfo& a, const PciDeviceInfo& b) { return a.address < b.address; });
  CheckParents(devices, warnings);
  return devices;
}

}  // namespace berth::agent
