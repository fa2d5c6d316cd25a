#include "cli/host_picture.h"

#include <algorithm>
#include <map>
#include <optional>
#include <set>

#include "cli/pci_names.h"
#include "cli/table.h"
#include "cli/text.h"
#include "common/cpu_set.h"
#include "common/pci_address.h"
#include "placement/model/names.h"

namespace berth::cli {
namespace {

using Tone = TreeItem::Tone;
using Names = std::map<std::string, std::string>;  // consumer UUID -> instance name

constexpr size_t kBarWidth = 20;
enum Kind { kNodeLine = 1, kCpus, kPages, kDevice };

CpuSet ParseCpus(const std::string& list) {
  return CpuSet::Parse(list).value_or(CpuSet());
}

std::string Share(uint64_t used, uint64_t total) {
  return BytesText(used) + " of " + BytesText(total) + " in use";
}

std::string Headline(const v1::Host& host) {
  std::vector<std::string> parts = {host.name()};
  if (!host.os_name().empty()) parts.push_back(host.os_name());
  if (!host.kernel_release().empty()) parts.push_back("Linux " + host.kernel_release());
  parts.push_back(host.can_run_guests() ? "KVM" : "no KVM");
  if (IsDrained(host)) parts.push_back("drained");
  return Join(parts, " · ");
}

std::string Summary(const v1::GetHostResponse& response) {
  const v1::Host& host = response.host();
  uint64_t total = 0;
  uint64_t used = host.floating_memory_bytes();
  CpuSet pinned;
  uint64_t floating = host.floating_vcpus();
  CpuSet dedicated;
  for (const v1::Cell& cell : host.cells()) {
    total += cell.memory_bytes();
    used += cell.usage().memory_bytes();
    floating += cell.usage().shared_vcpus();
    pinned |= ParseCpus(cell.usage().pinned_cpus());
    dedicated |= ParseCpus(cell.dedicated_cpus());
  }
  std::vector<std::string> parts = {
      Count(static_cast<uint64_t>(response.claims_size()), "instance"),
      std::to_string(pinned.Count()) + " of " + std::to_string(dedicated.Count()) + " dedicated CPUs pinned",
      Count(floating, "floating vCPU"), Share(used, total)};
  return Join(parts, " · ");
}

// The CPUs of a cell by who has them, one line an owner.
void AddCpus(const v1::GetHostResponse& response, const v1::Cell& cell, TreeItem& node) {
  CpuSet dedicated = ParseCpus(cell.dedicated_cpus());
  CpuSet taken;
  std::vector<std::string> floating;
  for (const v1::Claim& claim : response.claims()) {
    for (const v1::CellBinding& binding : claim.cells()) {
      if (binding.host_cell() != cell.id()) continue;
      CpuSet hosts;
      CpuSet guests;
      for (const v1::Pin& pin : binding.pinning()) {
        if (pin.host() <= CpuSet::kMaxCpu) hosts.Add(pin.host());
        if (pin.guest() <= CpuSet::kMaxCpu) guests.Add(pin.guest());
      }
      if (!hosts.empty()) {
        node.Add(TreeItem({Numbers("CPU", hosts), claim.name(), Numbers("vCPU", guests) + " pinned"},
                          Tone::kBusy, kCpus));
      }
      CpuSet reserved = ParseCpus(binding.reserved());
      if (!reserved.empty()) {
        node.Add(TreeItem({Numbers("CPU", reserved), claim.name(), "kept free for it"}, Tone::kBusy, kCpus));
      }
      taken |= hosts | reserved;
      CpuSet afloat = ParseCpus(binding.vcpus()) - guests;
      if (!afloat.empty()) floating.push_back(claim.name() + " (" + Count(afloat.Count(), "vCPU") + ")");
    }
  }
  CpuSet shared = ParseCpus(cell.shared_cpus()) - taken;
  CpuSet free_dedicated = dedicated - taken - shared;
  if (!shared.empty()) {
    std::string who = floating.empty() ? "nobody floats here" : Join(floating, ", ");
    std::string also = dedicated.Intersects(shared) ? "shared or pinned" : "shared";
    node.Add(
        TreeItem({Numbers("CPU", shared), also, who}, floating.empty() ? Tone::kPlain : Tone::kBusy, kCpus));
  }
  if (!free_dedicated.empty()) {
    node.Add(TreeItem({Numbers("CPU", free_dedicated), "free", ""}, Tone::kPlain, kCpus));
  }
}

std::string DeviceState(const v1::Device& device, const Names& names) {
  if (!device.consumer().empty()) {
    auto found = names.find(device.consumer());
    return found == names.end() ? device.consumer() : found->second;
  }
  if (device.blocked()) return "blocked";
  return device.assignable() ? "free" : "not assignable";
}

Tone DeviceTone(const v1::Device& device) {
  if (!device.consumer().empty()) return Tone::kBusy;
  return device.assignable() && !device.blocked() ? Tone::kPlain : Tone::kQuiet;
}

std::string AddressesText(const std::string& first, const std::string& last) {
  Result<PciAddress> from = PciAddress::Parse(first);
  Result<PciAddress> to = PciAddress::Parse(last);
  if (!from.has_value() || !to.has_value()) return first == last ? first : first + " … " + last;
  return AddressRangeText(*from, *to);
}

// VFs below their PF; neighbours in the same state share a line.
void AddVfs(const std::vector<const v1::Device*>& vfs, const Names& names, TreeItem& pf) {
  for (size_t i = 0; i < vfs.size();) {
    std::string state = DeviceState(*vfs[i], names);
    size_t end = i + 1;
    while (end < vfs.size() && DeviceState(*vfs[end], names) == state &&
           vfs[end]->product_id() == vfs[i]->product_id()) {
      ++end;
    }
    pf.Add(TreeItem({AddressesText(vfs[i]->address(), vfs[end - 1]->address()),
                     vfs[i]->vendor_id() + ":" + vfs[i]->product_id(), Count(end - i, "VF"), state},
                    DeviceTone(*vfs[i]), kDevice));
    i = end;
  }
}

void AddDevices(const v1::Host& host, const Names& names, std::optional<uint32_t> node,
                const std::set<uint32_t>& cells, TreeItem& parent) {
  std::map<std::string, std::vector<const v1::Device*>> vfs;
  std::set<std::string> known;
  for (const v1::Device& device : host.devices()) {
    known.insert(device.address());
    if (!device.parent().empty()) vfs[device.parent()].push_back(&device);
  }
  for (const v1::Device& device : host.devices()) {
    std::optional<uint32_t> on;
    if (device.has_numa_node() && cells.contains(device.numa_node())) on = device.numa_node();
    if (on != node || known.contains(device.parent())) continue;
    std::string what = PciClassName(device.class_code());
    if (device.type() == v1::DEVICE_TYPE_PF) what += " PF";
    if (device.type() == v1::DEVICE_TYPE_VF) what += " VF";
    TreeItem& item = parent.Add(TreeItem(
        {device.address(), device.vendor_id() + ":" + device.product_id(), what, DeviceState(device, names)},
        DeviceTone(device), kDevice));
    if (auto found = vfs.find(device.address()); found != vfs.end()) AddVfs(found->second, names, item);
  }
}

TreeItem CellItem(const v1::GetHostResponse& response, const v1::Cell& cell, const Names& names,
                  const std::set<uint32_t>& cells) {
  TreeItem item(
      {"node " + std::to_string(cell.id()), Bar(cell.usage().memory_bytes(), cell.memory_bytes(), kBarWidth),
       Share(cell.usage().memory_bytes(), cell.memory_bytes())},
      Tone::kPlain, kNodeLine);
  AddCpus(response, cell, item);
  for (int i = 1; i < cell.pages_size(); ++i) {  // the first pool is the base page size: ordinary memory
    const v1::PagePool& pool = cell.pages(i);
    uint64_t usable = pool.total() - std::min(pool.total(), pool.reserved());
    if (pool.total() == 0) continue;
    item.Add(TreeItem({PageSizeText(pool.size_bytes()) + " pages", Bar(pool.used(), usable, kBarWidth),
                       std::to_string(pool.used()) + " of " + std::to_string(usable) + " in use"},
                      pool.used() > 0 ? Tone::kBusy : Tone::kPlain, kPages));
  }
  if (cell.secure_memory_bytes() > 0) {
    item.Add(TreeItem(
        {"secure memory", Bar(cell.usage().secure_memory_bytes(), cell.secure_memory_bytes(), kBarWidth),
         Share(cell.usage().secure_memory_bytes(), cell.secure_memory_bytes())},
        Tone::kPlain, kPages));
  }
  AddDevices(response.host(), names, cell.id(), cells, item);
  return item;
}

}  // namespace

bool IsDrained(const v1::Host& host) {
  return std::find(host.traits().begin(), host.traits().end(), placement::kHostDisabledTrait) !=
         host.traits().end();
}

TreeItem HostPicture(const v1::GetHostResponse& response) {
  const v1::Host& host = response.host();
  Names names;
  for (const v1::Claim& claim : response.claims()) names[claim.consumer()] = claim.name();
  std::set<uint32_t> cells;
  std::map<uint32_t, std::vector<const v1::Cell*>> by_socket;
  std::vector<const v1::Cell*> without_socket;
  for (const v1::Cell& cell : host.cells()) {
    cells.insert(cell.id());
    (cell.has_socket() ? by_socket[cell.socket()] : without_socket).push_back(&cell);
  }
  TreeItem root({Headline(host)}, Tone::kTitle);
  root.Add(TreeItem({Summary(response)}));
  for (const auto& [socket, list] : by_socket) {
    TreeItem& item = root.Add(TreeItem({"socket " + std::to_string(socket)}, Tone::kTitle));
    for (const v1::Cell* cell : list) item.Add(CellItem(response, *cell, names, cells));
  }
  for (const v1::Cell* cell : without_socket) root.Add(CellItem(response, *cell, names, cells));
  TreeItem elsewhere({"devices without a NUMA node"}, Tone::kTitle);
  AddDevices(host, names, std::nullopt, cells, elsewhere);
  if (!elsewhere.children.empty()) root.Add(std::move(elsewhere));
  std::vector<std::string> floating;
  for (const v1::Claim& claim : response.claims()) {
    if (claim.cells_size() > 0) continue;
    floating.push_back(claim.name() + " (" + Count(claim.spec().vcpus(), "vCPU") + ", " +
                       BytesText(claim.spec().memory_bytes()) + ")");
  }
  if (!floating.empty()) {
    root.Add(TreeItem({"instances without NUMA topology", Join(floating, ", ")}, Tone::kBusy));
  }
  for (const std::string& warning : host.warnings()) {
    root.Add(TreeItem({"warning: " + warning}, Tone::kWarning));
  }
  return root;
}

}  // namespace berth::cli
