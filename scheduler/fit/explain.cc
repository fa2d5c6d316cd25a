#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "scheduler/fit/cell_fit.h"
#include "scheduler/fit/cell_sets.h"
#include "scheduler/fit/device_fit.h"
#include "scheduler/fit/device_match.h"
#include "scheduler/fit/device_pool.h"
#include "scheduler/fit/domain_choice.h"
#include "scheduler/fit/fit.h"
#include "scheduler/fit/totals.h"

namespace berth::scheduler {
namespace {

constexpr uint64_t kExplainBudget = 1'000'000;

struct LackText {
  const char* code;
  const char* what;  // of what there is too little
  bool bytes;
};

LackText TextOf(CellLack lack) {
  switch (lack) {
    case CellLack::kNothing:
      break;
    case CellLack::kDedicatedCpus:
      return {"cpus_dedicated", "free dedicated CPUs", false};
    case CellLack::kNoSmt:
      return {"cpu_threads", "threads per core for thread policy require", false};
    case CellLack::kPairedCpus:
      return {"cpu_threads", "free dedicated CPUs on cores with two free threads", false};
    case CellLack::kSmtPresent:
      return {"cpu_isolate", "threads per core where thread policy isolate allows one", false};
    case CellLack::kWholeCores:
      return {"cpu_isolate", "free cores for thread policy isolate", false};
    case CellLack::kSharedCpus:
      return {"cpus_shared", "shared CPUs", false};
    case CellLack::kSharedRoom:
      return {"cpus_shared", "floating vCPUs that the shared CPUs still carry", false};
    case CellLack::kMemory:
      return {"memory", "memory within the allocation ratio", true};
    case CellLack::kPageMultiple:
      return {"page_size", "pages of a size that divides the cell's memory", true};
    case CellLack::kPages:
      return {"pages", "free pages", true};
    case CellLack::kSecureMemory:
      return {"secure_memory", "secure memory", true};
    case CellLack::kBounceBuffer:
      return {"nonsecure_memory", "ordinary memory for the bounce buffer", true};
  }
  return {"", "", false};
}

std::string Size(uint64_t bytes) {
  return std::to_string(bytes >> 20) + " MiB";
}

// The host cell that comes nearest to taking the guest cell: the one whose lack is found last.
Reason ExplainCell(const FitHost& host, const RequestSpec& spec, uint32_t guest) {
  CellCheck nearest;
  size_t at = 0;
  for (size_t cell = 0; cell < host.cells.size(); ++cell) {
    CellCheck check = CheckCell(host, spec, guest, cell);
    bool better =
        cell == 0 || check.lack > nearest.lack || (check.lack == nearest.lack && check.have > nearest.have);
    if (better) {
      nearest = check;
      at = cell;
    }
  }
  LackText text = TextOf(nearest.lack);
  std::string have = text.bytes ? Size(nearest.have) : std::to_string(nearest.have);
  std::string need = text.bytes ? Size(nearest.need) : std::to_string(nearest.need);
  std::string where = "guest cell " + std::to_string(guest);
  std::string cell =
      host.cells.empty() ? "the host has no cells" : "host cell " + std::to_string(host.cells[at].id);
  std::string pages =
      nearest.page_size_bytes > 0 ? " of " + std::to_string(nearest.page_size_bytes >> 10) + " KiB" : "";
  return {text.code, have, need, where,
          where + " fits on no host cell; the nearest, " + cell + ", has " + have + " " + text.what + pages +
              ", it needs " + need};
}

// Whether the guest's cells, that could be placed, can not be beside the networks that they need.
std::optional<Reason> ExplainNetworks(const FitHost& host, const RequestSpec& spec,
                                      const CellMatrix& matrix) {
  StepBudget budget(kExplainBudget);
  std::vector<uint64_t> networks = NetworkCells(host, spec);
  if (networks.empty() || !ListCellSets(host, spec, matrix, budget).empty() || budget.exhausted())
    return std::nullopt;
  std::string wanted = std::to_string(networks.size());
  return Reason{"network", "", wanted, "host",
                "no host cells that hold the guest reach all " + wanted +
                    " of its networks that this host ties to NUMA nodes"};
}

std::optional<Reason> ExplainCells(const FitHost& host, const RequestSpec& spec) {
  std::string cells = std::to_string(host.cells.size());
  std::string wanted = std::to_string(spec.cells.size());
  if (host.cells.size() < spec.cells.size()) {
    return Reason{"cells", cells, wanted, "host",
                  "the guest has " + wanted + " NUMA cells, the host has " + cells};
  }
  CellMatrix matrix = BuildMatrix(host, spec);
  for (uint32_t guest = 0; guest < matrix.hosts.size(); ++guest) {
    if (matrix.hosts[guest] == 0) return ExplainCell(host, spec, guest);
  }
  if (matrix.Place(~uint64_t{0})) return ExplainNetworks(host, spec, matrix);
  // The largest number of guest cells that can be placed together.
  size_t placed = 0;
  CellMatrix some;
  for (uint64_t row : matrix.hosts) {
    some.hosts.push_back(row);
    if (some.Place(~uint64_t{0})) {
      ++placed;
    } else {
      some.hosts.pop_back();
    }
  }
  return Reason{"cells_distinct", std::to_string(placed), wanted, "host",
                "each guest cell fits on some host cell, but only " + std::to_string(placed) + " of " +
                    wanted + " fit on distinct ones"};
}

std::string NameOf(const PciRequest& request) {
  return (request.from_port ? "port " : "alias ") + request.name;
}

bool DevicesFit(const FitHost& host, const RequestSpec& spec, const Locality& locality) {
  StepBudget budget(kExplainBudget);
  return FitDevices(host, spec, BuildDevicePool(host, spec), locality, budget).verdict != Verdict::kNo;
}

bool DomainsAreMissing(const FitHost& host, const RequestSpec& spec) {
  StepBudget budget(kExplainBudget);
  for (const DomainChoice& domains : ListDomainChoices(host, spec, budget)) {
    DevicePool pool = BuildDevicePool(host, spec, domains);
    if (FitDevices(host, spec, pool, Locality{}, budget).verdict != Verdict::kNo) return false;
  }
  return !budget.exhausted();
}

RequestSpec Only(const RequestSpec& spec, size_t request) {
  RequestSpec one = spec;
  one.domains.clear();
  one.pci = {spec.pci[request]};
  return one;
}

// The most devices of one request that the guest could get, over the cell sets.
uint32_t MostDevices(const FitHost& host, const RequestSpec& one, const std::vector<Locality>& places) {
  RequestSpec fewer = one;
  auto fits = [&](uint32_t count) {
    fewer.pci[0].count = count;
    return std::any_of(places.begin(), places.end(),
                       [&](const Locality& place) { return DevicesFit(host, fewer, place); });
  };
  // Fewer devices always fit where more do.
  uint32_t most = 0;
  uint32_t above = one.pci[0].count + 1;
  while (above - most > 1) {
    uint32_t middle = most + (above - most) / 2;
    (fits(middle) ? most : above) = middle;
  }
  return most;
}

std::vector<Locality> Places(const FitHost& host, const RequestSpec& spec) {
  StepBudget budget(kExplainBudget);
  std::vector<Locality> places;
  for (const CellSet& one : ListCellSets(host, spec, BuildMatrix(host, spec), budget)) {
    std::vector<uint32_t> cells;
    for (uint32_t c = 0; c < host.cells.size(); ++c) {
      if ((one.set >> c & 1) != 0) cells.push_back(c);
    }
    places.push_back(MakeLocality(host, cells));
    if (places.size() >= 64) break;
  }
  return places;
}

Reason TooFew(const std::string& code, const PciRequest& request, uint32_t have, const std::string& what) {
  std::string need = std::to_string(request.count);
  return {code, std::to_string(have), need, NameOf(request),
          NameOf(request) + " needs " + need + " devices, the host has " + std::to_string(have) + " " + what};
}

Reason ExplainDevices(const FitHost& host, const RequestSpec& spec) {
  const Locality anywhere;
  for (size_t r = 0; r < spec.pci.size(); ++r) {
    RequestSpec one = Only(spec, r);
    if (DevicesFit(host, one, anywhere)) continue;
    return TooFew("devices", spec.pci[r], MostDevices(host, one, {anywhere}), "that match and are free");
  }
  if (!DevicesFit(host, spec, anywhere)) {
    return {"devices_together", "", "", "devices",
            "each PCI request alone could be served, all of them together can not: they compete for the same "
            "devices"};
  }
  if (!spec.domains.empty() && DomainsAreMissing(host, spec)) {
    std::string kinds;
    for (const DomainGroup& group : spec.domains) kinds += (kinds.empty() ? "" : ", ") + group.kind;
    return {"domain", "", "", "devices",
            "the PCI requests could be served, but not with devices that share a domain: " + kinds};
  }
  std::vector<Locality> places = Places(host, spec);
  for (size_t r = 0; r < spec.pci.size(); ++r) {
    RequestSpec one = Only(spec, r);
    uint32_t most = MostDevices(host, one, places);
    if (most >= spec.pci[r].count) continue;
    return TooFew("pci_numa", spec.pci[r], most,
                  std::string("that match and that policy ") + AffinityPolicyName(spec.pci[r].policy) +
                      " allows beside any cells that hold the guest");
  }
  return {"pci_numa", "", "", "devices",
          "no set of host cells that holds the guest is near enough to devices for all PCI requests at once"};
}

}  // namespace

Reason ExplainNoFit(const FitHost& host, const RequestSpec& spec) {
  if (!host.can_run_guests)
    return {"no_kvm", "0", "1", "host", "the host can not run guests: KVM is not usable"};
  if (spec.smt != SmtTrait::kAny) {
    bool smt = std::any_of(host.cells.begin(), host.cells.end(),
                           [](const FitCell& cell) { return cell.counts.smt; });
    if (smt != (spec.smt == SmtTrait::kRequired)) {
      return {
          "smt", smt ? "present" : "absent", smt ? "absent" : "present", "host",
          "trait:HW_CPU_HYPERTHREADING asks for a host " + std::string(smt ? "without" : "with") + " SMT"};
    }
  }
  if (auto reason = CheckTotals(host, spec)) return *reason;
  if (!spec.cells.empty()) {
    if (auto reason = ExplainCells(host, spec)) return *reason;
    StepBudget budget(kExplainBudget);
    std::vector<CellSet> sets = ListCellSets(host, spec, BuildMatrix(host, spec), budget);
    if (auto reason = CheckBaseMemoryOfSets(host, spec, sets); reason && !budget.exhausted()) return *reason;
  }
  return ExplainDevices(host, spec);
}

}  // namespace berth::scheduler
