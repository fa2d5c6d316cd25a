#include "scheduler/fit/device_pool.h"

#include <algorithm>
#include <map>
#include <tuple>
#include <utility>

#include "scheduler/fit/device_match.h"
#include "scheduler/fit/domain_choice.h"

namespace berth::scheduler {
namespace {

using ClassKey = std::pair<uint64_t, std::optional<NumaNode>>;

// The devices below one parent (or one device that has none).
struct Family {
  std::optional<uint32_t> own;  // the PF itself, when it can serve something
  uint64_t own_serves = 0;
  std::map<ClassKey, std::vector<uint32_t>> children;
};

uint32_t AliasUnits(bool isolate, const DeviceClass& devices) {
  return isolate ? 1 : static_cast<uint32_t>(devices.devices.size());
}

// The children as classes. Under isolate at most one of them serves an alias: of class number `chosen`.
std::vector<DeviceClass> ChildClasses(const Family& family, uint64_t aliases, bool isolate, size_t chosen) {
  std::vector<DeviceClass> out;
  out.reserve(family.children.size());
  size_t number = 0;
  for (const auto& [key, devices] : family.children) {
    DeviceClass one{key.first, key.second, devices, 0};
    bool for_alias = (key.first & aliases) != 0;
    bool here = !isolate || (for_alias && number == chosen);
    if (for_alias) ++number;
    one.first = here ? AliasUnits(isolate, one) : 0;
    if (!here) one.serves &= ~aliases;
    if (one.serves != 0) out.push_back(std::move(one));
  }
  return out;
}

size_t AliasClasses(const Family& family, uint64_t aliases) {
  return static_cast<size_t>(
      std::count_if(family.children.begin(), family.children.end(),
                    [&](const auto& one) { return (one.first.first & aliases) != 0; }));
}

ParentOptions OptionsOf(const Family& family, const FitHost& host, uint64_t aliases, bool isolate) {
  ParentOptions out;
  if (!family.children.empty()) {
    size_t ways = isolate ? std::max<size_t>(1, AliasClasses(family, aliases)) : 1;
    out.options.reserve(ways + 1);
    for (size_t i = 0; i < ways; ++i) out.options.push_back(ChildClasses(family, aliases, isolate, i));
  }
  if (family.own) {
    DeviceClass pf{family.own_serves, host.devices[*family.own].numa_node, {*family.own}, 1};
    out.options.push_back({std::move(pf)});
  }
  return out;
}

// Equal for parents that could be swapped without any difference: same options but for the device numbers.
using Shape = std::vector<std::vector<std::tuple<uint64_t, std::optional<NumaNode>, size_t, uint32_t>>>;

Shape ShapeOf(const ParentOptions& parent) {
  Shape shape;
  for (const auto& option : parent.options) {
    auto& classes = shape.emplace_back();
    for (const DeviceClass& one : option)
      classes.emplace_back(one.serves, one.node, one.devices.size(), one.first);
  }
  return shape;
}

// Devices without family (no parent, no children) of one kind form one class together.
void AddSingles(const std::map<ClassKey, std::vector<uint32_t>>& singles, DevicePool& pool) {
  for (const auto& [key, devices] : singles) {
    // Each is its own parent, so isolate asks nothing of them.
    DeviceClass one{key.first, key.second, devices, static_cast<uint32_t>(devices.size())};
    pool.parents.push_back({{{std::move(one)}}, 0});
  }
}

}  // namespace

DevicePool BuildDevicePool(const FitHost& host, const RequestSpec& spec,
                           const std::vector<std::string>& domains) {
  DevicePool pool;
  for (size_t r = 0; r < spec.pci.size(); ++r) {
    if (!spec.pci[r].from_port) pool.alias_requests |= uint64_t{1} << r;
  }
  std::map<PciAddress, Family> families;
  std::map<ClassKey, std::vector<uint32_t>> singles;
  std::vector<std::pair<uint32_t, uint64_t>> roots;
  const FitDevice* last = nullptr;  // devices of a type mostly follow each other
  uint64_t last_serves = 0;
  Family* siblings = nullptr;  // of the last that had a parent
  std::optional<PciAddress> theirs;
  for (uint32_t i = 0; i < host.devices.size(); ++i) {
    const FitDevice& device = host.devices[i];
    if (last == nullptr || last->type != device.type) last_serves = ServableRequests(device, spec);
    last = &device;
    uint64_t serves = WithinDomains(device, spec, domains, last_serves);
    if (serves == 0) continue;
    if (device.parent) {
      // VFs mostly follow each other.
      if (siblings == nullptr || theirs != device.parent) siblings = &families[*device.parent];
      theirs = device.parent;
      std::vector<uint32_t>& alike = siblings->children[{serves, device.numa_node}];
      if (alike.empty()) alike.reserve(16);
      alike.push_back(i);
    } else {
      roots.emplace_back(i, serves);
    }
  }
  for (auto [i, serves] : roots) {
    auto family = families.find(host.devices[i].address);
    if (family == families.end()) {
      singles[{serves, host.devices[i].numa_node}].push_back(i);
    } else {
      family->second.own = i;
      family->second.own_serves = serves;
    }
  }
  std::map<Shape, uint32_t> shapes;
  for (const auto& [address, family] : families) {
    ParentOptions parent = OptionsOf(family, host, pool.alias_requests, spec.isolate_groups);
    // Only those that leave a choice are ever compared.
    if (parent.options.size() > 1)
      parent.signature = shapes.emplace(ShapeOf(parent), shapes.size()).first->second;
    pool.parents.push_back(std::move(parent));
  }
  AddSingles(singles, pool);
  return pool;
}

}  // namespace berth::scheduler
