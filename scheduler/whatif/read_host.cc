#include <algorithm>
#include <utility>

#include "scheduler/whatif/scenario.h"

namespace berth::scheduler::whatif {
namespace {

constexpr uint64_t kBasePage = 4096;

uint64_t Left(uint64_t total, uint64_t used) {
  return total - std::min(total, used);
}

void ReadPages(const Json& json, JsonFields& fields, FitCell& cell) {
  const Json* pools = fields.Array(json, "mempages");
  if (pools != nullptr) {
    for (const Json& pool : pools->GetArray()) {
      if (!pool.IsObject()) return fields.Fail("mempages", "must be objects");
      uint64_t size_kb = fields.WholeRequired(pool, "size_kb");
      if (size_kb == 0 || size_kb > uint64_t{1} << 40) return fields.Fail("size_kb", "must be 1 to 2^40");
      // More pages than 2^63 bytes hold are as good as that many.
      uint64_t total = std::min(fields.Whole(pool, "total", 0), (uint64_t{1} << 63) / (size_kb << 10));
      uint64_t gone = fields.Whole(pool, "used", 0) + fields.Whole(pool, "reserved", 0);
      cell.pages.push_back({size_kb << 10, total, Left(total, gone)});
    }
  }
}

void ReadNetworks(const Json& json, JsonFields& fields, FitCell& cell) {
  const Json* network = Find(json, "network");
  if (network == nullptr) return;
  if (!network->IsObject()) return fields.Fail("network", "must be an object");
  cell.tunneled = fields.Bool(*network, "tunneled", false);
  const Json* names = fields.Array(*network, "physnets");
  if (names == nullptr) return;
  for (const Json& name : names->GetArray()) cell.physical_networks.push_back(ToText(name));
  std::sort(cell.physical_networks.begin(), cell.physical_networks.end());
}

FitCell ReadCell(const Json& json, JsonFields& fields) {
  FitCell cell;
  auto id = fields.Number(json, "id");
  if (!id) fields.Fail("numa_cells.id", "must be a number");
  cell.id = id.value_or(0);
  cell.socket = fields.Number(json, "socket");
  cell.shared_cpus = fields.Cpus(json, "cpuset");
  CpuSet dedicated = fields.Cpus(json, "pcpuset");
  cell.single_pool = cell.shared_cpus == dedicated;
  cell.free_dedicated = std::move(dedicated);
  cell.free_dedicated -= fields.Cpus(json, "pinned_cpus");
  if (const Json* cores = fields.Array(json, "siblings")) {
    for (const Json& core : cores->GetArray()) {
      CpuSet threads = fields.CpusOf(core, "siblings");
      if (!threads.empty()) cell.siblings.push_back(std::move(threads));
    }
  }
  cell.shared_vcpus =
      static_cast<uint32_t>(std::min<uint64_t>(fields.Whole(json, "cpu_usage", 0), UINT32_MAX));
  auto bytes = [&](const char* key, uint64_t fallback_mb) {
    uint64_t mb = fields.Whole(json, key, fallback_mb);
    if (mb > uint64_t{1} << 43) fields.Fail(key, "must be at most 2^43");
    return std::min(mb, uint64_t{1} << 43) << 20;
  };
  cell.memory_bytes = bytes("memory_mb", 0);
  cell.memory_used_bytes = bytes("memory_used_mb", 0);
  ReadPages(json, fields, cell);
  if (cell.pages.empty()) {
    // Base pages exist wherever there is memory, also when nobody counted them. Sizes can then not be asked
    // for, see FitCell::pages_known.
    cell.pages_known = false;
    uint64_t total = cell.memory_bytes / kBasePage;
    cell.pages.push_back({kBasePage, total, Left(total, cell.memory_used_bytes / kBasePage)});
  }
  cell.secure_room_bytes = Left(bytes("secure_memory_mb", 0), bytes("secure_memory_used_mb", 0));
  cell.nonsecure_room_bytes = Left(bytes("nonsecure_memory_mb", cell.memory_bytes >> 20),
                                   bytes("nonsecure_memory_used_mb", cell.memory_used_bytes >> 20));
  ReadNetworks(json, fields, cell);
  return cell;
}

// A node that stands in two cells would be given twice.
void CheckDistinct(const FitHost& host, JsonFields& fields) {
  for (size_t i = 1; i < host.cells.size(); ++i) {
    if (host.cells[i].id == host.cells[i - 1].id) {
      fields.Fail("numa_cells.id", std::to_string(host.cells[i].id) + " stands twice");
    }
  }
}

}  // namespace

ScenarioHost ReadHost(const Json& json, bool refuse_pf_and_vf, DeviceTypes& types, JsonFields& fields) {
  ScenarioHost out;
  out.name = fields.Text(json, "name");
  out.host.cpu_ratio = fields.Ratio(json, "cpu_allocation_ratio");
  out.host.ram_ratio = fields.Ratio(json, "ram_allocation_ratio");
  if (const Json* cells = fields.Array(json, "numa_cells")) {
    for (const Json& cell : cells->GetArray()) {
      if (!cell.IsObject()) {
        fields.Fail("numa_cells", "must be objects");
        return out;
      }
      out.host.cells.push_back(ReadCell(cell, fields));
    }
  }
  ReadDevices(json, refuse_pf_and_vf, fields, out);
  Prepare(out.host, types);
  CheckDistinct(out.host, fields);
  return out;
}

}  // namespace berth::scheduler::whatif
