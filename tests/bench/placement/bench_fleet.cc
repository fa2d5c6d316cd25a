#include "tests/bench/placement/bench_fleet.h"

#include <algorithm>
#include <string_view>
#include <utility>

namespace berth::placement::bench {
namespace {

constexpr uint32_t kCells = 4;
constexpr uint32_t kPfsPerCell = 2;
constexpr uint32_t kGpus = 8;
constexpr uint32_t kAggregates = 16;
constexpr const char* kFast = "CUSTOM_BENCH_FAST";
constexpr const char* kNetA = "CUSTOM_BENCH_PHYSNET_A";
constexpr const char* kNetB = "CUSTOM_BENCH_PHYSNET_B";

Uuid Named(const std::string& name) {
  return Uuid::FromName({}, name);
}

std::string HostName(uint32_t number) {
  std::string digits = std::to_string(number);
  return "bench-" + std::string(5 - std::min<size_t>(5, digits.size()), '0') + digits;
}

Uuid Aggregate(uint32_t number) {
  return Named("aggregate-" + std::to_string(number % kAggregates));
}

struct Stock {
  const char* name;
  int32_t total;
  int32_t reserved = 0;
  double ratio = 1;
  int64_t used = 0;
};

Provider Make(ResourceDraft& draft, const std::string& name, const Uuid& parent, std::vector<Stock> stocks,
              const std::vector<std::string>& traits) {
  Provider provider;
  provider.uuid = Named(name);
  provider.name = name;
  provider.parent = parent;
  const auto id_of = [&](const Stock& stock) {
    return *draft.view().resource_classes().Find(std::string_view(stock.name));
  };
  std::ranges::sort(stocks, {}, id_of);
  for (const Stock& stock : stocks) {
    Inventory inventory;
    inventory.resource_class = id_of(stock);
    inventory.total = inventory.max_unit = stock.total;
    inventory.reserved = stock.reserved;
    inventory.allocation_ratio = stock.ratio;
    provider.inventories.push_back(inventory);
    provider.used.push_back(stock.used);
  }
  for (const std::string& trait : traits) {
    const auto id = draft.view().traits().Find(std::string_view(trait));
    provider.traits.push_back(id ? *id : draft.AddTrait(trait, 1));
  }
  std::ranges::sort(provider.traits);
  return provider;
}

void AddHost(ResourceDraft& draft, uint32_t number) {
  const std::string name = HostName(number);
  std::vector<std::string> traits{"COMPUTE_NODE"};
  if (number % 6 == 0) traits.emplace_back(kFast);
  std::vector<Provider> providers{Make(draft, name, {}, {{"DISK_GB", 2000, 0, 1, 40}}, traits)};
  providers[0].aggregates = {draft.EnsureAggregate(Aggregate(number), 1)};
  for (uint32_t cell = 0; cell < kCells; ++cell) {
    const bool has_instance = cell < 2;
    const std::string cell_name = name + "_numa_" + std::to_string(cell);
    providers.push_back(Make(
        draft, cell_name, providers[0].uuid,
        {{"VCPU", 32, 0, 2.0, has_instance ? 4 : 0}, {"MEMORY_MB", 131072, 1024, 1, has_instance ? 8192 : 0}},
        {"HW_NUMA_ROOT"}));
    for (uint32_t pf = 0; pf < kPfsPerCell; ++pf) {
      const std::string pf_name = name + "_0000:" + std::to_string(cell) + std::to_string(pf + 1) + ":00.0";
      providers.push_back(Make(draft, pf_name, Named(cell_name),
                               {{"SRIOV_NET_VF", 8, 0, 1, has_instance && pf == 0 ? 1 : 0}},
                               {pf == 0 ? kNetA : kNetB}));
    }
  }
  draft.AddTree(ProviderTree::Make(std::move(providers), TreeOwner::kClients));
}

RequestGroup Numa(const std::string& suffix) {
  RequestGroup group{suffix, {{"VCPU", 4}, {"MEMORY_MB", 8192}}, {}};
  group.filter.required_traits = {{"HW_NUMA_ROOT"}};
  return group;
}

RequestGroup Port(const std::string& suffix, const char* net) {
  RequestGroup group{suffix, {{"SRIOV_NET_VF", 1}}, {}};
  group.filter.required_traits = {{net}};
  return group;
}

CandidatesRequest Of(std::vector<RequestGroup> groups, std::vector<std::vector<std::string>> subtrees = {},
                     GroupPolicy policy = GroupPolicy::kNone) {
  CandidatesRequest request;
  request.groups = std::move(groups);
  request.same_subtrees = std::move(subtrees);
  request.group_policy = policy;
  return request;
}

}  // namespace

std::unique_ptr<ResourceDraft> MakeFleet(uint32_t hosts) {
  auto draft = std::make_unique<ResourceDraft>();
  for (uint32_t i = 0; i < hosts; ++i) AddHost(*draft, i);
  return draft;
}

std::unique_ptr<ResourceDraft> MakeGpuFleet(uint32_t hosts) {
  auto draft = std::make_unique<ResourceDraft>();
  for (uint32_t i = 0; i < hosts; ++i) {
    const std::string name = "gpu-" + HostName(i);
    std::vector<Provider> providers{Make(*draft, name, {}, {{"DISK_GB", 2000}}, {"COMPUTE_NODE"})};
    for (uint32_t gpu = 0; gpu < kGpus; ++gpu) {
      providers.push_back(
          Make(*draft, name + "_gpu_" + std::to_string(gpu), providers[0].uuid, {{"PGPU", 1}}, {}));
    }
    draft->AddTree(ProviderTree::Make(std::move(providers), TreeOwner::kClients));
  }
  return draft;
}

std::vector<NamedRequest> FleetRequests(uint32_t hosts) {
  const RequestGroup plain{"", {{"VCPU", 2}, {"MEMORY_MB", 4096}, {"DISK_GB", 20}}, {}};
  RequestGroup fast = plain;
  fast.filter.required_traits = {{kFast}};
  RequestGroup slow = plain;
  slow.filter.forbidden_traits = {kFast};
  RequestGroup member = plain;
  member.filter.member_of = {{Aggregate(3)}};
  RequestGroup tree = plain;
  tree.filter.in_tree = Named(HostName(hosts / 2) + "_numa_1");
  RequestGroup disk{"", {{"DISK_GB", 20}}, {}};
  disk.filter.member_of = {{Aggregate(1), Aggregate(2)}};
  CandidatesRequest nova =
      Of({disk, Numa("_N0"), Port("_PA", kNetA)}, {{"_N0", "_PA"}}, GroupPolicy::kIsolate);
  nova.root_required = {"COMPUTE_NODE"};
  nova.root_forbidden = {"COMPUTE_STATUS_DISABLED"};
  RequestGroup cell = Numa("_N0");
  cell.resources.clear();
  std::vector<RequestGroup> four;
  for (int i = 0; i < 4; ++i) four.push_back({"_P" + std::to_string(i), {{"SRIOV_NET_VF", 1}}, {}});
  return {
      {"simple_root", Of({{"", {{"DISK_GB", 20}}, {}}})},
      {"simple", Of({plain})},
      {"simple_traits", Of({fast})},
      {"forbidden", Of({slow})},
      {"member_of", Of({member})},
      {"in_tree", Of({tree})},
      {"one_numa", Of({Numa("_N0")})},
      {"two_numa", Of({Numa("_N0"), Numa("_N1")}, {}, GroupPolicy::kIsolate)},
      {"numa_pci", Of({Numa("_N0"), Port("_PA", kNetA)}, {{"_N0", "_PA"}})},
      {"numa_2pci", Of({Numa("_N0"), Port("_PA", kNetA), Port("_PB", kNetB)}, {{"_N0", "_PA", "_PB"}})},
      {"nova_full", nova},
      {"resourceless", Of({cell, Port("_PA", kNetA), Port("_PB", kNetB)}, {{"_N0", "_PA", "_PB"}})},
      {"none_fit", Of({{"", {{"VCPU", 100000}}, {}}})},
      {"pci4_isolate", Of(four, {}, GroupPolicy::kIsolate)},
  };
}

CandidatesRequest GpuRequest(uint32_t groups) {
  std::vector<RequestGroup> all;
  for (uint32_t i = 0; i < groups; ++i) all.push_back({"_G" + std::to_string(i), {{"PGPU", 1}}, {}});
  return Of(std::move(all), {}, GroupPolicy::kIsolate);
}

}  // namespace berth::placement::bench
