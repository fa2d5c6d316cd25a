#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

#include "placement/model/capacity.h"
#include "placement/model/usage.h"

namespace berth::placement {
namespace {

constexpr size_t kMaxName = 255;
constexpr double kMaxRatio = 10000;

std::string Text(uint64_t value) {
  return std::to_string(value);
}

Status CheckRatio(double ratio, const char* field) {
  if (std::isfinite(ratio) && ratio > 0 && ratio <= kMaxRatio) return OkStatus();
  return InvalidArgument("ratio " + std::to_string(ratio) + " is not usable", field,
                         "allowed: above 0, up to 10000");
}

Status CheckPages(const Cell& cell, const std::string& at) {
  for (size_t i = 0; i < cell.pages.size(); ++i) {
    const PagePool& pool = cell.pages[i];
    std::string here = at + ".pages[" + Text(i) + "]";
    if (pool.size_bytes == 0) return InvalidArgument("page size 0", here + ".size_bytes");
    if (i > 0 && cell.pages[i - 1].size_bytes >= pool.size_bytes) {
      return InvalidArgument(
          "page size " + Text(pool.size_bytes) + " follows " + Text(cell.pages[i - 1].size_bytes),
          here + ".size_bytes", "each size once, ascending");
    }
    if (pool.total > std::numeric_limits<uint64_t>::max() / pool.size_bytes) {
      return InvalidArgument(
          Text(pool.total) + " pages of " + Text(pool.size_bytes) + " bytes exceed 64 bits", here + ".total");
    }
    if (pool.reserved > pool.total) {
      return InvalidArgument(Text(pool.reserved) + " pages reserved of " + Text(pool.total),
                             here + ".reserved");
    }
  }
  return OkStatus();
}

// Cores are disjoint and cover the CPUs that may be given out.
Status CheckSiblings(const Cell& cell, const std::string& at, CpuSet& online) {
  for (size_t i = 0; i < cell.siblings.size(); ++i) {
    std::string here = at + ".siblings[" + Text(i) + "]";
    if (cell.siblings[i].empty()) return InvalidArgument("a core without CPUs", here);
    if (online.Intersects(cell.siblings[i])) {
      return InvalidArgument("CPUs " + (online & cell.siblings[i]).ToString() + " are in two cores", here);
    }
    online |= cell.siblings[i];
  }
  CpuSet missing = (cell.shared_cpus | cell.dedicated_cpus) - online;
  if (!missing.empty()) {
    return InvalidArgument("CPUs " + missing.ToString() + " are in no core", at + ".siblings",
                           "siblings name the threads of each core of the cell");
  }
  return OkStatus();
}

Status CheckCells(const HostReport& report) {
  std::map<NumaNode, CpuSet> seen;
  for (size_t i = 0; i < report.cells.size(); ++i) {
    const Cell& cell = report.cells[i];
    std::string at = "cells[" + Text(i) + "]";
    if (i > 0 && report.cells[i - 1].id >= cell.id) {
      return InvalidArgument("cell " + Text(cell.id) + " follows cell " + Text(report.cells[i - 1].id),
                             at + ".id", "each cell once, ascending");
    }
    CpuSet online;
    TRY(CheckSiblings(cell, at, online));
    for (const auto& [id, cpus] : seen) {
      if (!cpus.Intersects(online)) continue;
      return InvalidArgument("CPUs " + (cpus & online).ToString() + " are in cell " + Text(id) + " too",
                             at + ".siblings", "a CPU is in one cell only");
    }
    seen[cell.id] = online;
    TRY(CheckPages(cell, at));
    if (!cell.distances.empty() && cell.distances.size() != report.cells.size()) {
      return InvalidArgument(
          Text(cell.distances.size()) + " distances for " + Text(report.cells.size()) + " cells",
          at + ".distances", "one for each cell, or none");
    }
  }
  return OkStatus();
}

bool IsHexId(const std::string& id) {
  return id.size() == 4 && id.find_first_not_of("0123456789abcdef") == std::string::npos;
}

Status CheckDevice(const HostReport& report, const Device& device, const std::string& at) {
  std::string name = "device " + device.address.ToString();
  for (const auto& [id, field] :
       {std::pair{&device.vendor_id, ".vendor_id"}, {&device.product_id, ".product_id"}}) {
    if (!IsHexId(*id)) {
      return InvalidArgument("\"" + id->substr(0, 16) + "\" of " + name, at + field,
                             "expected four lower-case hexadecimal digits");
    }
  }
  if (device.class_code > 0xFFFFFF) {
    return InvalidArgument("class " + Text(device.class_code) + " of " + name, at + ".class_code", "24 bits");
  }
  if (device.type != DeviceType::kVf) {
    if (!device.parent) return OkStatus();
    return InvalidArgument(name + " of " + DeviceTypeName(device.type) + " names a parent", at + ".parent",
                           "only a VF has one");
  }
  if (!device.parent) return InvalidArgument(name + " is a VF without a parent", at + ".parent");
  const Device* parent = FindDevice(report, *device.parent);
  if (parent == nullptr || parent->type != DeviceType::kPf) {
    return InvalidArgument(
        "parent " + device.parent->ToString() + " of " + name + " is not a PF of this report", at + ".parent",
        "report the PF too, assignable or not");
  }
  return OkStatus();
}

Status CheckDeviceList(const HostReport& report) {
  for (size_t i = 1; i < report.devices.size(); ++i) {
    if (report.devices[i - 1].address < report.devices[i].address) continue;
    return InvalidArgument("device " + report.devices[i].address.ToString() + " follows " +
                               report.devices[i - 1].address.ToString(),
                           "devices[" + Text(i) + "].address", "each device once, ascending");
  }
  for (size_t i = 0; i < report.devices.size(); ++i) {
    TRY(CheckDevice(report, report.devices[i], "devices[" + Text(i) + "]"));
  }
  return OkStatus();
}

}  // namespace

Status ValidateReport(const HostReport& report) {
  if (report.uuid.is_nil()) return InvalidArgument("the host has no UUID", "uuid");
  if (report.name.empty() || report.name.size() > kMaxName) {
    return InvalidArgument("host name of " + Text(report.name.size()) + " bytes", "name",
                           "allowed: 1..255 bytes");
  }
  TRY(CheckRatio(report.cpu_allocation_ratio, "cpu_allocation_ratio"));
  TRY(CheckRatio(report.ram_allocation_ratio, "ram_allocation_ratio"));
  TRY(CheckCells(report));
  return CheckDeviceList(report);
}

}  // namespace berth::placement
