#include "tests/scheduler/judge/naive.h"

#include <algorithm>
#include <cctype>
#include <map>
#include <set>
#include <vector>

namespace berth::scheduler {
namespace {

CpuSet CoreOf(const FitCell& cell, uint32_t cpu) {
  for (const CpuSet& core : cell.siblings) {
    if (core.Contains(cpu)) return core;
  }
  return CpuSet{cpu};
}

bool HasSmt(const FitCell& cell) {
  for (const CpuSet& core : cell.siblings) {
    if (core.Count() > 1) return true;
  }
  return false;
}

// R3 for concrete CPUs: `pins` for the vCPUs, `emulator` for the emulator if it takes one.
bool PinsAllowed(const FitCell& cell, ThreadPolicy policy, const std::vector<uint32_t>& pins,
                 std::optional<uint32_t> emulator) {
  std::set<uint32_t> all(pins.begin(), pins.end());
  if (all.size() != pins.size()) return false;
  if (emulator && !all.insert(*emulator).second) return false;
  for (uint32_t cpu : all) {
    if (!cell.free_dedicated.Contains(cpu)) return false;
  }
  if (pins.empty()) return true;
  if (policy == ThreadPolicy::kRequire) {
    if (!HasSmt(cell)) return false;
    for (uint32_t cpu : pins) {
      if ((CoreOf(cell, cpu) & cell.free_dedicated).Count() < 2) return false;
    }
  }
  if (policy == ThreadPolicy::kIsolate && HasSmt(cell)) {
    if (!cell.single_pool) return false;
    std::set<uint32_t> cores;
    for (uint32_t cpu : pins) {
      CpuSet core = CoreOf(cell, cpu);
      if (!cell.free_dedicated.Contains(core) || !cores.insert(core.First()).second) return false;
    }
    if (emulator && cores.contains(CoreOf(cell, *emulator).First())) return false;
  }
  return true;
}

// Some CPUs that serve, by trying every subset.
bool SomePins(const FitCell& cell, ThreadPolicy policy, size_t wanted, bool emulator) {
  std::vector<uint32_t> free = cell.free_dedicated.ToVector();
  for (uint32_t mask = 0; mask < (1u << free.size()); ++mask) {
    std::vector<uint32_t> pins;
    for (size_t i = 0; i < free.size(); ++i) {
      if ((mask >> i & 1) != 0) pins.push_back(free[i]);
    }
    if (pins.size() != wanted) continue;
    if (!emulator && PinsAllowed(cell, policy, pins, std::nullopt)) return true;
    for (uint32_t cpu : free) {
      if (emulator && PinsAllowed(cell, policy, pins, cpu)) return true;
    }
  }
  return false;
}

bool WantsEmulator(const RequestSpec& spec, size_t guest) {
  return guest == 0 && spec.emulator_policy == EmulatorPolicy::kIsolate;
}

// R4.
bool SharedFits(const FitHost& host, const RequestSpec& spec, const GuestCell& guest, const FitCell& cell) {
  size_t floating = guest.vcpus.Count() - guest.pinned.Count();
  size_t shared = cell.shared_cpus.Count();
  if (floating > 0) {
    if (floating > shared) return false;
    double ratio = spec.encrypted() ? std::min(1.0, host.cpu_ratio) : host.cpu_ratio;
    if (static_cast<double>(cell.shared_vcpus + floating) > static_cast<double>(shared) * ratio) return false;
  }
  if (spec.cpu_policy == CpuPolicy::kDedicated || spec.encrypted()) return true;
  return static_cast<double>(cell.memory_used_bytes + guest.memory_bytes) <=
         static_cast<double>(cell.memory_bytes) * host.ram_ratio;
}

bool SizeAllowed(const PageRequest& pages, uint64_t size, uint64_t smallest) {
  switch (pages.kind) {
    case PageRequest::Kind::kSmall:
      return size == smallest;
    case PageRequest::Kind::kLarge:
      return size != smallest;
    case PageRequest::Kind::kAny:
      return true;
    case PageRequest::Kind::kExact:
      return size == pages.size_bytes;
    case PageRequest::Kind::kNotAsked:
      return false;
  }
  return false;
}

// R11.
bool SecureFits(const RequestSpec& spec, size_t guest, const FitCell& cell) {
  constexpr uint64_t kStep = uint64_t{2} << 20;
  uint64_t steps = (spec.cells[guest].memory_bytes + kStep - 1) / kStep;
  if (steps * kStep > cell.secure_room_bytes) return false;
  return guest != 0 || cell.nonsecure_room_bytes >= spec.swiotlb_bytes;
}

// R5. `chosen`: only this size may be used; 0: none was asked for.
bool PagesFit(const RequestSpec& spec, const GuestCell& guest, const FitCell& cell,
              std::optional<uint64_t> chosen) {
  if (cell.pages.empty()) {
    // Nobody counted the pages: base pages exist where memory does.
    if (spec.pages.kind != PageRequest::Kind::kNotAsked || guest.memory_bytes % 4096 != 0) return false;
    uint64_t total = cell.memory_bytes / 4096;
    uint64_t used = std::min(total, cell.memory_used_bytes / 4096);
    return guest.memory_bytes / 4096 <= (spec.cpu_policy == CpuPolicy::kDedicated ? total - used : total);
  }
  uint64_t smallest = cell.pages[0].size_bytes;
  for (const FitPages& pages : cell.pages) smallest = std::min(smallest, pages.size_bytes);
  bool asked = spec.pages.kind != PageRequest::Kind::kNotAsked;
  if (chosen && (*chosen != 0) != asked) return false;
  for (const FitPages& pages : cell.pages) {
    if (guest.memory_bytes % pages.size_bytes != 0) continue;
    uint64_t needed = guest.memory_bytes / pages.size_bytes;
    if (!asked) {
      if (pages.size_bytes != smallest) continue;
      return needed <= (spec.cpu_policy == CpuPolicy::kDedicated ? pages.free : pages.total);
    }
    if (chosen && *chosen != pages.size_bytes) continue;
    if (SizeAllowed(spec.pages, pages.size_bytes, smallest) && needed <= pages.free) return true;
  }
  return false;
}

bool CellFits(const FitHost& host, const RequestSpec& spec, size_t guest, const FitCell& cell) {
  const GuestCell& asked = spec.cells[guest];
  return SomePins(cell, spec.thread_policy, asked.pinned.Count(), WantsEmulator(spec, guest)) &&
         SharedFits(host, spec, asked, cell) &&
         (spec.encrypted() ? SecureFits(spec, guest, cell) : PagesFit(spec, asked, cell, std::nullopt));
}

std::optional<std::string> Lower(std::optional<std::string> text) {
  if (!text) return text;
  for (char& c : *text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return text;
}

// R6, R7, R10.
bool Serves(const FitDevice& device, const PciRequest& request) {
  for (const DeviceMatch& match : request.alternatives) {
    bool good = (match.vendor_id.empty() || match.vendor_id == device.vendor_id) &&
                (match.product_id.empty() || match.product_id == device.product_id);
    bool special = device.kind == DeviceKind::kPf || device.kind == DeviceKind::kVdpa;
    if (match.kind ? *match.kind != device.kind : special) good = false;
    if (match.network && Lower(match.network->name) != Lower(device.network)) good = false;
    if (match.off_networks && device.network) good = false;
    if (match.trusted && match.trusted != device.trusted) good = false;
    if (match.remote_managed ? match.remote_managed != device.remote_managed
                             : device.remote_managed == true) {
      good = false;
    }
    if (!match.resource_class.empty() && match.resource_class != device.resource_class) good = false;
    for (const std::string& trait : match.traits) {
      if (std::find(device.traits.begin(), device.traits.end(), trait) == device.traits.end()) good = false;
    }
    if (good) return true;
  }
  return false;
}

std::optional<std::optional<uint32_t>> SocketOf(const FitHost& host, NumaNode node) {
  for (const FitCell& cell : host.cells) {
    if (cell.id == node) return cell.socket;
  }
  return std::nullopt;
}

// R8. `nodes` are the guest's host cells; empty: no topology.
bool Near(const FitHost& host, const std::set<NumaNode>& nodes, AffinityPolicy policy,
          const FitDevice& device) {
  if (nodes.empty() || policy == AffinityPolicy::kPreferred) return true;
  if (!device.numa_node) return policy == AffinityPolicy::kLegacy;
  if (nodes.contains(*device.numa_node)) return true;
  if (policy != AffinityPolicy::kSocket) return false;
  for (const FitCell& cell : host.cells) {
    if (!cell.socket) return false;
  }
  auto socket = SocketOf(host, *device.numa_node);
  if (!socket) return false;
  for (NumaNode node : nodes) {
    if (SocketOf(host, node) == socket) return true;
  }
  return false;
}

bool Excludes(const FitDevice& a, const FitDevice& b) {
  return a.parent == b.address || b.parent == a.address;
}

PciAddress ProviderOf(const FitDevice& device) {
  return device.parent.value_or(device.address);
}

bool IsFar(const std::set<NumaNode>& nodes, const FitDevice& device) {
  return !nodes.empty() && !(device.numa_node && nodes.contains(*device.numa_node));
}

bool InOneDomain(const std::string& kind, const std::vector<const FitDevice*>& devices) {
  if (devices.empty()) return true;
  for (const std::string& domain : devices[0]->domains) {
    if (domain.rfind(kind + ":", 0) != 0) continue;
    bool all = std::all_of(devices.begin(), devices.end(), [&](const FitDevice* device) {
      return std::find(device->domains.begin(), device->domains.end(), domain) != device->domains.end();
    });
    if (all) return true;
  }
  return false;
}

// Where some host cell is tied to a network of the guest, the guest uses such a cell.
bool NetworksReached(const FitHost& host, const RequestSpec& spec, const std::set<NumaNode>& nodes) {
  auto reached = [&](auto&& tied) {
    bool any = false;
    for (const FitCell& cell : host.cells) {
      if (!tied(cell)) continue;
      if (nodes.contains(cell.id)) return true;
      any = true;
    }
    return !any;
  };
  if (nodes.empty()) return true;
  for (const std::string& name : spec.physical_networks) {
    bool good = reached([&](const FitCell& cell) {
      return std::count(cell.physical_networks.begin(), cell.physical_networks.end(), name) > 0;
    });
    if (!good) return false;
  }
  return !spec.tunneled || reached([](const FitCell& cell) { return cell.tunneled; });
}

// R9 by trying every device for every unit of every request.
class DeviceSearch {
 public:
  DeviceSearch(const FitHost& host, const RequestSpec& spec, const std::set<NumaNode>& nodes)
      : host_(host), spec_(spec), nodes_(nodes) {}

  std::optional<uint32_t> Run() {
    Place(0, 0, 0, 0);
    return best_;
  }

 private:
  bool Compatible(const FitDevice& device, size_t request) const {
    for (auto [index, other] : taken_) {
      const FitDevice& used = host_.devices[index];
      if (used.address == device.address || Excludes(used, device)) return false;
      bool aliases = !spec_.pci[other].from_port && !spec_.pci[request].from_port;
      if (spec_.isolate_groups && aliases && ProviderOf(used) == ProviderOf(device)) return false;
    }
    return true;
  }

  bool ShareDomain(const DomainGroup& group) const {
    std::vector<const FitDevice*> members;
    for (auto [index, request] : taken_) {
      if ((group.requests >> request & 1) != 0) members.push_back(&host_.devices[index]);
    }
    return InOneDomain(group.kind, members);
  }

  void Place(size_t request, uint32_t unit, size_t from, uint32_t far) {
    if (best_ && far >= *best_) return;
    if (request == spec_.pci.size()) {
      for (const DomainGroup& group : spec_.domains) {
        if (!ShareDomain(group)) return;
      }
      best_ = far;
      return;
    }
    const PciRequest& asked = spec_.pci[request];
    if (unit == asked.count) return Place(request + 1, 0, 0, far);
    for (size_t i = from; i < host_.devices.size(); ++i) {
      const FitDevice& device = host_.devices[i];
      if (!Serves(device, asked) || !Near(host_, nodes_, asked.policy, device) ||
          !Compatible(device, request))
        continue;
      taken_.emplace_back(i, request);
      Place(request, unit + 1, i + 1, far + (IsFar(nodes_, device) ? 1 : 0));
      taken_.pop_back();
    }
  }

  const FitHost& host_;
  const RequestSpec& spec_;
  const std::set<NumaNode>& nodes_;
  std::vector<std::pair<size_t, size_t>> taken_;
  std::optional<uint32_t> best_;
};

// Every injective map of guest cells to host cells (R2), as the sets of nodes that they reach.
void CollectSets(const FitHost& host, const RequestSpec& spec, size_t guest, std::set<NumaNode>& nodes,
                 std::set<std::set<NumaNode>>& out) {
  if (guest == spec.cells.size()) {
    out.insert(nodes);
    return;
  }
  for (const FitCell& cell : host.cells) {
    if (nodes.contains(cell.id) || !CellFits(host, spec, guest, cell)) continue;
    nodes.insert(cell.id);
    CollectSets(host, spec, guest + 1, nodes, out);
    nodes.erase(cell.id);
  }
}

std::string CheckOneCell(const FitHost& host, const RequestSpec& spec, const CellAssignment& one) {
  std::string where = "guest cell " + std::to_string(one.guest) + ": ";
  const GuestCell& guest = spec.cells[one.guest];
  auto cell =
      std::find_if(host.cells.begin(), host.cells.end(), [&](const FitCell& c) { return c.id == one.host; });
  if (cell == host.cells.end()) return where + "no such host cell";
  std::vector<uint32_t> pins;
  CpuSet pinned;
  for (auto [vcpu, cpu] : one.pinning) {
    pinned.Add(vcpu);
    pins.push_back(cpu);
    if (one.reserved.Contains(cpu)) return where + "a CPU is pinned and reserved";
  }
  if (pinned != guest.pinned || pins.size() != guest.pinned.Count()) return where + "wrong vCPUs pinned";
  if (!cell->free_dedicated.Contains(one.reserved)) return where + "reserved CPUs are not free";
  // Some reserved CPU is the emulator's; the others are siblings of pinned ones or of the emulator's.
  bool good = !WantsEmulator(spec, one.guest) && PinsAllowed(*cell, spec.thread_policy, pins, std::nullopt);
  for (uint32_t cpu : one.reserved.ToVector()) {
    if (WantsEmulator(spec, one.guest) && PinsAllowed(*cell, spec.thread_policy, pins, cpu)) good = true;
  }
  if (!good) return where + "CPUs against R3";
  if (!SharedFits(host, spec, guest, *cell)) return where + "against R4";
  if (spec.encrypted()) return SecureFits(spec, one.guest, *cell) ? "" : where + "against R11";
  if (!PagesFit(spec, guest, *cell, one.page_size_bytes)) return where + "pages against R5";
  return "";
}

std::string CheckDevices(const FitHost& host, const RequestSpec& spec, const std::set<NumaNode>& nodes,
                         const Assignment& assignment) {
  std::map<uint32_t, uint32_t> counts;
  std::vector<std::pair<const FitDevice*, uint32_t>> taken;
  uint32_t far = 0;
  for (const DeviceAssignment& one : assignment.devices) {
    auto device = std::find_if(host.devices.begin(), host.devices.end(),
                               [&](const FitDevice& d) { return d.address == one.address; });
    std::string name = one.address.ToString();
    if (device == host.devices.end() || one.request >= spec.pci.size()) return name + ": no such free device";
    if (device->numa_node != one.numa_node) return name + ": wrong node";
    const PciRequest& request = spec.pci[one.request];
    if (!Serves(*device, request)) return name + ": does not match";
    if (!Near(host, nodes, request.policy, *device)) return name + ": against the policy";
    for (auto [other, owner] : taken) {
      if (other == &*device || Excludes(*other, *device)) return name + ": given twice, or PF and VF";
      bool aliases = !request.from_port && !spec.pci[owner].from_port;
      if (spec.isolate_groups && aliases && ProviderOf(*other) == ProviderOf(*device))
        return name + ": not isolated";
    }
    taken.emplace_back(&*device, one.request);
    ++counts[one.request];
    if (IsFar(nodes, *device)) ++far;
  }
  for (const DomainGroup& group : spec.domains) {
    std::vector<const FitDevice*> members;
    for (auto [device, owner] : taken) {
      if ((group.requests >> owner & 1) != 0) members.push_back(device);
    }
    if (!InOneDomain(group.kind, members)) return "domain " + group.kind + " is not shared";
  }
  for (uint32_t r = 0; r < spec.pci.size(); ++r) {
    if (counts[r] != spec.pci[r].count) return "request " + std::to_string(r) + ": wrong number of devices";
  }
  return far == assignment.non_local ? "" : "non_local is told wrongly";
}

}  // namespace

std::string FindFault(const FitHost& host, const RequestSpec& spec, const Assignment& assignment) {
  if (assignment.cells.size() != spec.cells.size()) return "wrong number of cells";
  std::set<NumaNode> nodes;
  for (size_t i = 0; i < assignment.cells.size(); ++i) {
    if (assignment.cells[i].guest != i) return "guest cells out of order";
    if (!nodes.insert(assignment.cells[i].host).second) return "two guest cells on one host cell";
    if (std::string fault = CheckOneCell(host, spec, assignment.cells[i]); !fault.empty()) return fault;
  }
  if (!NetworksReached(host, spec, nodes)) return "a network is on another node";
  return CheckDevices(host, spec, nodes, assignment);
}

std::optional<uint32_t> SolveByBruteForce(const FitHost& host, const RequestSpec& spec) {
  bool smt = std::any_of(host.cells.begin(), host.cells.end(), HasSmt);
  if (spec.smt != SmtTrait::kAny && smt != (spec.smt == SmtTrait::kRequired)) return std::nullopt;
  std::set<std::set<NumaNode>> sets;
  std::set<NumaNode> nodes;
  CollectSets(host, spec, 0, nodes, sets);
  std::optional<uint32_t> best;
  for (const auto& one : sets) {
    if (!NetworksReached(host, spec, one)) continue;
    auto far = DeviceSearch(host, spec, one).Run();
    if (far) best = std::min(best.value_or(*far), *far);
  }
  return best;
}

}  // namespace berth::scheduler
