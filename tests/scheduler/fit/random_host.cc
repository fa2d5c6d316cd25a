#include "tests/scheduler/fit/random_host.h"

#include <algorithm>
#include <map>

namespace berth::scheduler {
namespace {

constexpr uint64_t kMib = uint64_t{1} << 20;

}  // namespace

void RandomCase::AddCores(FitCell& cell, const CpuSet& cpus) {
  bool smt = Chance(50);
  std::vector<uint32_t> all = cpus.ToVector();
  for (size_t i = 0; i < all.size(); ++i) {
    CpuSet core{all[i]};
    if (smt && i + 1 < all.size() && Chance(85)) core.Add(all[++i]);
    cell.siblings.push_back(core);
  }
}

FitCell RandomCase::Cell(NumaNode id, uint32_t& cpu) {
  FitCell cell;
  cell.id = id;
  uint32_t shared = Below(4);
  uint32_t dedicated = Below(6);
  CpuSet all = CpuSet::Range(cpu, cpu + shared + dedicated);
  cell.single_pool = Chance(25);
  if (cell.single_pool) {
    cell.shared_cpus = cell.free_dedicated = CpuSet::Range(cpu, cpu + 4);
    all = cell.shared_cpus;
  } else {
    if (shared > 0) cell.shared_cpus = CpuSet::Range(cpu, cpu + shared - 1);
    if (dedicated > 0) cell.free_dedicated = CpuSet::Range(cpu + shared, cpu + shared + dedicated - 1);
  }
  cpu += 12;
  AddCores(cell, all);
  for (uint32_t used : cell.free_dedicated.ToVector()) {
    if (Chance(20)) cell.free_dedicated.Remove(used);
  }
  cell.shared_vcpus = Below(4);
  cell.memory_bytes = (4 + Below(12)) * kMib;
  cell.memory_used_bytes = Below(6) * kMib;
  uint64_t total = (1 + Below(3)) * 512;
  cell.pages.push_back({4096, total, Below(static_cast<uint32_t>(total) + 1)});
  if (Chance(70)) cell.pages.push_back({2 * kMib, 4, Below(5)});
  if (Chance(30)) cell.pages.push_back({4 * kMib, 2, Below(3)});
  return cell;
}

FitDevice RandomCase::Device(const FitHost& host, PciAddress address, DeviceKind kind) {
  FitDevice device;
  device.address = address;
  device.kind = kind;
  device.vendor_id = "8086";
  device.product_id = kind == DeviceKind::kPf ? "00f0" : Chance(60) ? "00a0" : "00b0";
  if (Chance(85))
    device.numa_node = Chance(90) ? host.cells[Below(static_cast<uint32_t>(host.cells.size()))].id : 99;
  if (Chance(30)) device.network = Chance(50) ? "red" : "blue";
  if (Chance(30)) device.trusted = Chance(70);
  if (kind != DeviceKind::kPci || Chance(30)) device.remote_managed = Chance(10);
  device.resource_class = "CUSTOM_PCI_8086_" + device.product_id;
  if (Chance(30)) device.traits = {"CUSTOM_FAST"};
  return device;
}

void RandomCase::AddCard(FitHost& host, uint8_t bus) {
  FitDevice pf = Device(host, {0, bus, 0, 0}, DeviceKind::kPf);
  uint32_t vfs = 1 + Below(3);
  bool vf_used = Chance(25);
  for (uint32_t i = 0; i < vfs; ++i) {
    FitDevice vf =
        Device(host, {0, bus, 2, static_cast<uint8_t>(i)}, Chance(93) ? DeviceKind::kVf : DeviceKind::kVdpa);
    if (Chance(90)) vf.numa_node = pf.numa_node;
    vf.parent = pf.address;
    host.devices.push_back(std::move(vf));
  }
  if (!vf_used && Chance(75)) host.devices.push_back(std::move(pf));
}

FitHost RandomCase::Host() {
  FitHost host;
  host.cpu_ratio = Chance(50) ? 1.0 : 2.5;
  host.ram_ratio = Chance(50) ? 1.0 : 1.5;
  uint32_t cells = 1 + Below(4);
  uint32_t cpu = 0;
  bool sockets = Chance(80);
  for (uint32_t i = 0; i < cells; ++i) {
    FitCell cell = Cell(i * 2, cpu);
    if (sockets) cell.socket = Chance(90) ? i / 2 : 7;
    host.cells.push_back(std::move(cell));
  }
  uint32_t cards = Below(3);
  for (uint32_t i = 0; i < cards; ++i) AddCard(host, static_cast<uint8_t>(0x10 + i));
  uint32_t singles = Below(4);
  for (uint32_t i = 0; i < singles; ++i) {
    host.devices.push_back(Device(host, {0, static_cast<uint8_t>(0x40 + i), 0, 0}, DeviceKind::kPci));
  }
  Prepare(host);
  return host;
}

DeviceMatch RandomCase::Match(bool port) {
  DeviceMatch match;
  if (port) {
    match.network = NetworkMatch{};
    if (Chance(60)) match.network->name = Chance(50) ? "red" : "blue";
    match.remote_managed = Chance(10);
    if (Chance(20)) match.trusted = Chance(70);
    if (Chance(20)) match.kind = Chance(70) ? DeviceKind::kPf : DeviceKind::kVdpa;
    return match;
  }
  match.vendor_id = "8086";
  bool pf = Chance(30);
  match.product_id = pf ? "00f0" : Chance(60) ? "00a0" : "00b0";
  if (pf) match.kind = DeviceKind::kPf;
  if (!pf && Chance(40)) match.kind = Chance(60) ? DeviceKind::kVf : DeviceKind::kPci;
  if (Chance(15)) match.traits = {"CUSTOM_FAST"};
  if (Chance(15)) match.off_networks = true;
  if (Chance(15)) match.resource_class = "CUSTOM_PCI_8086_" + match.product_id;
  return match;
}

PciRequest RandomCase::Pci(uint32_t number) {
  PciRequest request;
  request.name = "r" + std::to_string(number);
  request.from_port = Chance(30);
  request.count = request.from_port ? 1 : 1 + Below(2);
  request.policy = static_cast<AffinityPolicy>(Below(4));
  request.alternatives.push_back(Match(request.from_port));
  if (!request.from_port && Chance(30)) request.alternatives.push_back(Match(false));
  return request;
}

RequestSpec RandomCase::Request() {
  RequestSpec spec;
  uint32_t cells = Chance(10) ? 0 : 1 + Below(3);
  spec.cpu_policy = static_cast<CpuPolicy>(Below(3));
  if (spec.cpu_policy != CpuPolicy::kShared) {
    spec.thread_policy = static_cast<ThreadPolicy>(Below(4));
    if (Chance(30)) spec.emulator_policy = EmulatorPolicy::kIsolate;
  }
  if (Chance(50)) {
    spec.pages.kind = static_cast<PageRequest::Kind>(Below(5));
    if (spec.pages.kind == PageRequest::Kind::kExact) spec.pages.size_bytes = Chance(50) ? 2 * kMib : 4096;
  }
  for (uint32_t i = 0; i < cells; ++i) {
    GuestCell cell;
    uint32_t vcpus = 1 + Below(3);
    cell.vcpus = CpuSet::Range(spec.vcpus, spec.vcpus + vcpus - 1);
    for (uint32_t vcpu : cell.vcpus.ToVector()) {
      bool pinned =
          spec.cpu_policy == CpuPolicy::kDedicated || (spec.cpu_policy == CpuPolicy::kMixed && Chance(50));
      if (pinned) cell.pinned.Add(vcpu);
    }
    cell.memory_bytes = (1 + Below(4)) * kMib;
    spec.vcpus += vcpus;
    spec.memory_bytes += cell.memory_bytes;
    spec.cells.push_back(std::move(cell));
  }
  if (cells == 0) spec.vcpus = 1;
  uint32_t requests = Below(4);
  for (uint32_t i = 0; i < requests; ++i) spec.pci.push_back(Pci(i));
  spec.isolate_groups = Chance(30);
  return spec;
}

FitHost Renumbered(const FitHost& host, std::mt19937& random) {
  FitHost out = host;
  std::vector<NumaNode> ids;
  for (const FitCell& cell : host.cells) ids.push_back(cell.id);
  std::shuffle(ids.begin(), ids.end(), random);
  std::map<NumaNode, NumaNode> renamed;
  for (size_t i = 0; i < ids.size(); ++i) renamed[host.cells[i].id] = ids[i];
  for (FitCell& cell : out.cells) cell.id = renamed.at(cell.id);
  // Addresses change but families stay together: buses are permuted.
  std::vector<uint8_t> buses;
  for (uint32_t bus = 0; bus < 256; ++bus) buses.push_back(static_cast<uint8_t>(bus));
  std::shuffle(buses.begin(), buses.end(), random);
  for (FitDevice& device : out.devices) {
    device.address.bus = buses[device.address.bus];
    if (device.parent) device.parent->bus = buses[device.parent->bus];
    if (device.numa_node && renamed.contains(*device.numa_node))
      device.numa_node = renamed.at(*device.numa_node);
  }
  std::shuffle(out.cells.begin(), out.cells.end(), random);
  std::shuffle(out.devices.begin(), out.devices.end(), random);
  for (FitCell& cell : out.cells)
    std::shuffle(cell.siblings.Own().begin(), cell.siblings.Own().end(), random);
  Prepare(out);
  return out;
}

RequestSpec Reordered(const RequestSpec& spec, std::mt19937& random) {
  RequestSpec out = spec;
  std::shuffle(out.pci.begin(), out.pci.end(), random);
  // The emulator's CPU belongs to guest cell 0.
  size_t first = spec.emulator_policy == EmulatorPolicy::kIsolate && !spec.cells.empty() ? 1 : 0;
  std::shuffle(out.cells.begin() + static_cast<ptrdiff_t>(first), out.cells.end(), random);
  return out;
}

}  // namespace berth::scheduler
