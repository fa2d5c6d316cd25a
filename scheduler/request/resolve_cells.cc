#include <algorithm>
#include <set>
#include <utility>

#include "scheduler/request/resolve.h"

namespace berth::scheduler {
namespace {

constexpr uint64_t kSecureStep = uint64_t{2} << 20;
constexpr uint64_t kMaxMemoryMib = uint64_t{1} << 30;

Status Bad(const std::string& error, const std::string& message, const std::string& name) {
  return InvalidArgument(error + ": " + message, "extra_specs." + name);
}

// Which numbers N the flavor has "hw:numa_cpus.N" (or mem) for.
std::set<uint64_t> Numbers(const Properties& specs, std::string_view stem) {
  std::set<uint64_t> out;
  for (const auto& [name, value] : specs) {
    if (!name.starts_with(stem)) continue;
    if (auto number = ParseWhole(std::string_view(name).substr(stem.size()), 0, 127)) out.insert(*number);
  }
  return out;
}

Result<std::vector<GuestCell>> EvenCells(const Flavor& flavor, uint32_t nodes) {
  if (flavor.vcpus % nodes != 0 || flavor.memory_mib % nodes != 0) {
    return Bad("ImageNUMATopologyAsymmetric",
               std::to_string(flavor.vcpus) + " vCPUs and " + std::to_string(flavor.memory_mib) +
                   " MiB can not be divided evenly over " + std::to_string(nodes) + " cells",
               "hw:numa_nodes");
  }
  std::vector<GuestCell> cells(nodes);
  uint32_t each = flavor.vcpus / nodes;
  for (uint32_t i = 0; i < nodes; ++i) {
    cells[i].vcpus = CpuSet::Range(i * each, i * each + each - 1);
    cells[i].memory_bytes = (flavor.memory_mib / nodes) << 20;
  }
  return cells;
}

Status CheckComplete(const std::set<uint64_t>& cpus, const std::set<uint64_t>& memory, uint32_t nodes) {
  for (uint64_t i = 0; i < nodes; ++i) {
    for (auto [set, stem] : {std::pair(&cpus, "hw:numa_cpus."), std::pair(&memory, "hw:numa_mem.")}) {
      if (set->contains(i)) continue;
      std::string name = stem + std::to_string(i);
      return Bad("ImageNUMATopologyIncomplete",
                 name + " is missing: cells 0 to " + std::to_string(nodes - 1) +
                     " need hw:numa_cpus and hw:numa_mem each",
                 name);
    }
  }
  for (auto [set, stem] : {std::pair(&cpus, "hw:numa_cpus."), std::pair(&memory, "hw:numa_mem.")}) {
    if (set->empty() || *set->rbegin() < nodes) continue;
    std::string name = stem + std::to_string(*set->rbegin());
    return Bad("ImageNUMATopologyIncomplete",
               name + " names a cell beyond hw:numa_nodes=" + std::to_string(nodes), name);
  }
  return OkStatus();
}

Status ReadCell(const Flavor& flavor, uint32_t number, CpuSet& taken, GuestCell& cell) {
  std::string cpus_name = "hw:numa_cpus." + std::to_string(number);
  const std::string& cpus = flavor.extra_specs.at(cpus_name);
  auto parsed = ParseCpuSpec(cpus);
  if (!parsed.has_value()) return Bad("InvalidNUMACPUs", parsed.error().message(), cpus_name);
  if (!CpuSet::Range(0, flavor.vcpus - 1).Contains(*parsed)) {
    return Bad("ImageNUMATopologyCPUOutOfRange",
               cpus_name + " is \"" + cpus + "\", vCPUs are 0-" + std::to_string(flavor.vcpus - 1),
               cpus_name);
  }
  if (parsed->empty()) return Bad("InvalidNUMACPUs", cpus_name + " names no vCPU", cpus_name);
  if (parsed->Intersects(taken)) {
    return Bad("ImageNUMATopologyCPUDuplicates",
               "vCPU " + (*parsed & taken).ToString() + " stands in " + cpus_name + " and in a cell before",
               cpus_name);
  }
  taken |= *parsed;
  cell.vcpus = std::move(*parsed);
  std::string memory_name = "hw:numa_mem." + std::to_string(number);
  auto memory = ParseWhole(flavor.extra_specs.at(memory_name), 1, kMaxMemoryMib);
  if (!memory.has_value()) return Bad("InvalidNUMAMemory", memory.error().message(), memory_name);
  cell.memory_bytes = *memory << 20;
  return OkStatus();
}

Result<std::vector<GuestCell>> WrittenCells(const Flavor& flavor, uint32_t nodes) {
  std::vector<GuestCell> cells(nodes);
  CpuSet taken;
  uint64_t memory = 0;
  for (uint32_t i = 0; i < nodes; ++i) {
    TRY(ReadCell(flavor, i, taken, cells[i]));
    memory += cells[i].memory_bytes;
  }
  if (CpuSet left = CpuSet::Range(0, flavor.vcpus - 1) - taken; !left.empty()) {
    return Bad("ImageNUMATopologyCPUsUnassigned", "vCPUs " + left.ToString() + " are in no cell",
               "hw:numa_cpus.0");
  }
  if (memory != flavor.memory_mib << 20) {
    return Bad("ImageNUMATopologyMemoryOutOfRange",
               "the cells have " + std::to_string(memory >> 20) + " MiB in all, the flavor has " +
                   std::to_string(flavor.memory_mib),
               "hw:numa_mem.0");
  }
  return cells;
}

// Seed 000, "Secure Memory Granularity".
Status CheckSecureCells(const std::vector<GuestCell>& cells) {
  for (size_t i = 0; i < cells.size(); ++i) {
    if (cells[i].memory_bytes % kSecureStep == 0) continue;
    return Bad("InvalidSecureMemory",
               "guest cell " + std::to_string(i) + " has " + std::to_string(cells[i].memory_bytes >> 20) +
                   " MiB, must be a multiple of 2 MiB",
               "hw:mem_encryption");
  }
  return OkStatus();
}

}  // namespace

namespace {

// "hw_numa_cpus.0" for "hw:numa_cpus.0".
std::string PropertyOf(std::string name) {
  name[2] = '_';
  return name;
}

// The flavor with the cells that the image writes, as if they stood in it. Either writes CPUs (memory), not
// both.
Result<Flavor> MergeCells(const Flavor& flavor, const Properties& image) {
  Flavor out = flavor;
  for (std::string_view stem : {"hw:numa_cpus.", "hw:numa_mem."}) {
    bool own = !Numbers(flavor.extra_specs, stem).empty();
    for (const auto& [name, value] : image) {
      if (!name.starts_with(PropertyOf(std::string(stem)))) continue;
      if (own) {
        return InvalidArgument("ImageNUMATopologyForbidden: " + name + " is \"" + value +
                                   "\" although the flavor sets " + std::string(stem) + "N",
                               "image_properties." + name);
      }
      std::string spec = name;
      spec[2] = ':';
      out.extra_specs.emplace(std::move(spec), value);
    }
  }
  return out;
}

// Errors of what the image wrote name the image.
Status NameImage(Status status, const Properties& image) {
  constexpr std::string_view kScope = "extra_specs.";
  if (!status.field().starts_with(kScope)) return status;
  std::string property = status.field().substr(kScope.size());
  if (property.size() < 3 || !image.contains(PropertyOf(property))) return status;
  return std::move(status).WithField("image_properties." + PropertyOf(property));
}

Result<std::vector<GuestCell>> CellsOf(const Flavor& flavor, const CpuChoice& choice,
                                       const RequestSpec& spec) {
  bool asked = choice.numa_nodes.has_value() || spec.pages.kind != PageRequest::Kind::kNotAsked;
  // Secure memory lies on the nodes of the guest's CPUs (seed 000), so an encrypted guest has cells.
  if (!asked && spec.cpu_policy == CpuPolicy::kShared && !spec.encrypted()) return std::vector<GuestCell>();
  uint32_t nodes = choice.numa_nodes.value_or(1);
  std::set<uint64_t> cpus = Numbers(flavor.extra_specs, "hw:numa_cpus.");
  std::set<uint64_t> memory = Numbers(flavor.extra_specs, "hw:numa_mem.");
  std::vector<GuestCell> cells;
  // Pinning alone makes one cell of everything; as in Nova, only hw:numa_nodes or a page size make the
  // numbered keys count.
  if (!asked || (cpus.empty() && memory.empty())) {
    TRY_ASSIGN(cells, EvenCells(flavor, nodes));
  } else {
    TRY(CheckComplete(cpus, memory, nodes));
    TRY_ASSIGN(cells, WrittenCells(flavor, nodes));
  }
  for (GuestCell& cell : cells) {
    if (spec.cpu_policy == CpuPolicy::kDedicated) cell.pinned = cell.vcpus;
    if (spec.cpu_policy == CpuPolicy::kMixed) cell.pinned = cell.vcpus & choice.dedicated_mask;
  }
  if (spec.encrypted()) TRY(CheckSecureCells(cells));
  return cells;
}

}  // namespace

Result<std::vector<GuestCell>> ResolveCells(const Flavor& flavor, const Properties& image,
                                            const CpuChoice& choice, const RequestSpec& spec) {
  TRY_ASSIGN(Flavor merged, MergeCells(flavor, image));
  auto cells = CellsOf(merged, choice, spec);
  if (!cells.has_value()) return NameImage(std::move(cells.error()), image);
  return cells;
}

}  // namespace berth::scheduler
