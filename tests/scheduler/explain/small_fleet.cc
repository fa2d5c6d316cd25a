#include "tests/scheduler/explain/small_fleet.h"

#include <algorithm>
#include <utility>

#include <gtest/gtest.h>

#include "scheduler/fit/bind.h"
#include "scheduler/fit/fit.h"

namespace berth::scheduler {

void SmallFleet::AddHost(const std::string& name, uint32_t cells, uint32_t dedicated, uint64_t mib) {
  Host& host = hosts_.emplace_back();
  host.report.name = name;
  host.report.uuid = Uuid::FromName(Uuid{}, name);
  host.report.can_run_guests = true;
  for (uint32_t id = 0; id < cells; ++id) {
    placement::Cell cell;
    cell.id = id;
    cell.socket = id;
    uint32_t first = id * 100;
    cell.shared_cpus = CpuSet::Range(first, first + 3);
    if (dedicated > 0) cell.dedicated_cpus = CpuSet::Range(first + 4, first + 3 + dedicated);
    for (uint32_t cpu = first; cpu < first + 4 + dedicated; ++cpu) cell.siblings.push_back(CpuSet{cpu});
    uint64_t huge = mib / 2 / 2;
    cell.memory_bytes = (mib + huge * 2) << 20;
    cell.pages = {{4096, mib * 256, 0}, {2 << 20, huge, 0}};
    cell.distances.assign(cells, 20);
    cell.distances[id] = 10;
    host.report.cells.push_back(std::move(cell));
  }
  bus_ = 0x10;
}

void SmallFleet::AddDevices(uint32_t count, const std::string& product,
                            std::optional<placement::NumaNode> node) {
  for (uint32_t i = 0; i < count; ++i) {
    placement::Device device;
    device.address = {0, bus_++, 0, 0};
    device.vendor_id = "10de";
    device.product_id = product;
    device.numa_node = node;
    device.assignable = true;
    device.resource_class = "CUSTOM_PCI_10DE_" + product;
    hosts_.back().report.devices.push_back(std::move(device));
  }
}

void SmallFleet::AddVfs(uint32_t count, const std::string& product, placement::NumaNode node) {
  placement::Device pf;
  pf.address = {0, bus_++, 0, 0};
  pf.vendor_id = "8086";
  pf.product_id = "1572";
  pf.type = placement::DeviceType::kPf;
  pf.numa_node = node;
  hosts_.back().report.devices.push_back(pf);
  for (uint32_t i = 0; i < count; ++i) {
    placement::Device vf = pf;
    vf.type = placement::DeviceType::kVf;
    vf.parent = pf.address;
    vf.address.slot = 2;
    vf.address.function = static_cast<uint8_t>(i);
    vf.product_id = product;
    vf.assignable = true;
    vf.remote_managed = false;
    vf.resource_class = "CUSTOM_PCI_8086_" + product;
    hosts_.back().report.devices.push_back(std::move(vf));
  }
}

SmallFleet::Host& SmallFleet::Find(const std::string& name) {
  auto host =
      std::find_if(hosts_.begin(), hosts_.end(), [&](const Host& one) { return one.report.name == name; });
  EXPECT_NE(host, hosts_.end()) << name;
  return *host;
}

std::string SmallFleet::TryPlace(Host& host, const std::string& name, const std::string& flavor,
                                 const RequestSpec& spec) {
  FitResult fit = Fit(FromHost(host.report, host.usage), spec);
  if (fit.verdict != Verdict::kFits) return fit.reason.text;
  placement::Claim claim;
  claim.consumer = Uuid::FromName(Uuid{}, "instance " + std::to_string(++number_));
  claim.name = name;
  claim.host = host.report.uuid;
  claim.spec.flavor = flavor;
  BindAssignment(spec, fit.assignment, claim);
  Status checked = placement::CheckClaim(host.report, host.usage, claim);
  EXPECT_TRUE(checked.ok()) << checked.ToString();
  placement::AddClaim(claim, host.usage);
  host.claims.emplace(claim.consumer, std::make_shared<const placement::Claim>(claim));
  return "";
}

void SmallFleet::Place(const std::string& host, const std::string& name, const Wish& wish,
                       const AliasTable& aliases) {
  ASSERT_EQ(TryPlace(Find(host), name, wish.flavor.name, Resolve(wish, aliases)), "");
}

uint64_t SmallFleet::PlaceAll(const std::string& host, const RequestSpec& spec) {
  uint64_t count = 0;
  while (TryPlace(Find(host), "vm" + std::to_string(count), "f", spec).empty()) ++count;
  return count;
}

void SmallFleet::Join(const std::string& name, const placement::ServerGroup& group) {
  for (Host& host : hosts_) {
    for (auto& [consumer, claim] : host.claims) {
      if (claim->name != name) continue;
      placement::Claim joined = *claim;
      joined.group = group;
      claim = std::make_shared<const placement::Claim>(std::move(joined));
      return;
    }
  }
  ADD_FAILURE() << "no instance " << name;
}

void SmallFleet::TakeOut(const std::string& host) {
  Find(host).report.can_run_guests = false;
}

KnownHosts SmallFleet::Known() {
  KnownHosts out;
  for (Host& host : hosts_) {
    host.fit = FromHost(host.report, host.usage);
    host.state = FitStates::OfProcess().Of(host.fit);
    out.push_back({&host.report, &host.usage, &host.fit, &host.claims, host.state.get()});
  }
  return out;
}

const placement::Claim& SmallFleet::claim(const std::string& name) const {
  for (const Host& host : hosts_) {
    for (const auto& [consumer, claim] : host.claims) {
      if (claim->name == name) return *claim;
    }
  }
  ADD_FAILURE() << "no instance " << name;
  static const placement::Claim none;
  return none;
}

Wish MakeWish(uint32_t vcpus, uint64_t memory_mib, Properties specs, const std::string& flavor) {
  Wish wish;
  wish.flavor.name = flavor;
  wish.flavor.vcpus = vcpus;
  wish.flavor.memory_mib = memory_mib;
  wish.flavor.extra_specs = std::move(specs);
  return wish;
}

RequestSpec Resolve(const Wish& wish, const AliasTable& aliases) {
  auto spec = ResolveRequest(wish.flavor, wish.image, wish.ports, aliases);
  EXPECT_TRUE(spec.has_value()) << spec.error().ToString();
  return spec.value_or(RequestSpec{});
}

AliasTable MakeAliases(const std::string& numa_policy) {
  AliasTable table;
  for (auto [name, vendor, product] : {std::tuple("gpu", "10de", "2330"), std::tuple("vf", "8086", "154c")}) {
    std::vector<AliasField> fields = {{"name", name}, {"vendor_id", vendor}, {"product_id", product}};
    if (!numa_policy.empty()) fields.emplace_back("numa_policy", numa_policy);
    EXPECT_TRUE(AddAliasEntry(MakeAliasEntry(fields).value(), table).ok());
  }
  return table;
}

}  // namespace berth::scheduler
