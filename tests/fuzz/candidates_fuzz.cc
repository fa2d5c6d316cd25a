// Bytes as a fleet and a request for allocation candidates: any request is answered or refused, and what is
// answered keeps to the promises that can be checked without knowing the set.
#include <cstdint>
#include <map>
#include <random>
#include <string>

#include "tests/fuzz/fuzz_input.h"
#include "tests/placement/candidates/fleet_view.h"
#include "tests/placement/candidates/random_fleets.h"

namespace {

using namespace berth::placement;           // NOLINT(google-build-using-namespace)
using namespace berth::placement::testing;  // NOLINT(google-build-using-namespace)
using berth::FuzzInput;
using berth::Result;

std::string TakeName(FuzzInput& input) {
  static const char* const kNames[] = {
      "VCPU",         "MEMORY_MB",       "DISK_GB",      "SRIOV_NET_VF",     "PGPU",
      "HW_NUMA_ROOT", "HW_CPU_X86_AVX2", "HW_NIC_SRIOV", "STORAGE_DISK_SSD", "CUSTOM_NOBODY"};
  return kNames[input.Take<uint8_t>() % std::size(kNames)];
}

// A class or a trait, mostly known ones.
std::string TakeClass(FuzzInput& input) {
  const std::string name = TakeName(input);
  return input.Take<uint8_t>() < 250 && name.find('_') == 2 ? "VCPU" : name;
}

std::vector<std::string> TakeTraits(FuzzInput& input) {
  std::vector<std::string> names;
  for (int count = input.Take<uint8_t>() % 3; count > 0; --count) {
    static const char* const kTraits[] = {"HW_NUMA_ROOT", "HW_CPU_X86_AVX2", "HW_NIC_SRIOV",
                                          "STORAGE_DISK_SSD"};
    names.push_back(input.Take<uint8_t>() == 255 ? TakeName(input) : kTraits[input.Take<uint8_t>() % 4]);
  }
  return names;
}

std::vector<berth::Uuid> TakeAggregates(FuzzInput& input) {
  std::vector<berth::Uuid> uuids;
  for (int count = input.Take<uint8_t>() % 3; count > 0; --count) {
    uuids.push_back(AggregateUuid(input.Take<uint8_t>() % 6));
  }
  return uuids;
}

ProviderFilter TakeFilter(FuzzInput& input) {
  ProviderFilter filter;
  const auto which = input.Take<uint8_t>();
  if ((which & 1) != 0) filter.required_traits.push_back(TakeTraits(input));
  if ((which & 2) != 0) filter.required_traits.push_back(TakeTraits(input));
  if ((which & 4) != 0) filter.forbidden_traits = TakeTraits(input);
  if ((which & 8) != 0) filter.member_of.push_back(TakeAggregates(input));
  if ((which & 16) != 0) filter.forbidden_aggregates = TakeAggregates(input);
  if ((which & 32) != 0) filter.in_tree = ProviderUuid(input.Take<uint8_t>() % 16);
  return filter;
}

std::vector<ResourceAmount> TakeResources(FuzzInput& input) {
  std::vector<ResourceAmount> resources;
  for (int count = input.Take<uint8_t>() % 5; count > 0; --count) {
    const auto small = input.Take<uint8_t>();
    resources.push_back({TakeClass(input), small == 255 ? input.Take<uint64_t>() : uint64_t{1} + small % 4});
  }
  return resources;
}

CandidatesRequest TakeRequest(FuzzInput& input) {
  CandidatesRequest request;
  const auto flags = input.Take<uint8_t>();
  if ((flags & 1) != 0) request.group_policy = GroupPolicy::kIsolate;
  request.nested_aware = (flags & 2) == 0;
  if ((flags & 4) != 0) request.root_required = TakeTraits(input);
  if ((flags & 8) != 0) request.root_forbidden = TakeTraits(input);
  request.limit = uint32_t{1} + input.Take<uint8_t>();
  request.first_tree = input.Take<uint64_t>();
  request.max_steps = 20'000;
  const int groups = input.Take<uint8_t>() % 14;
  std::vector<std::string> suffixes;
  for (int i = 0; i < groups; ++i) {
    suffixes.push_back(i == 0 && (flags & 16) != 0 ? "" : "_" + std::to_string(i));
    request.groups.push_back({suffixes.back(), TakeResources(input), TakeFilter(input)});
  }
  for (int count = input.Take<uint8_t>() % 4; count > 0 && groups > 0; --count) {
    request.same_subtrees.emplace_back();
    for (int members = input.Take<uint8_t>() % 6; members > 0; --members) {
      request.same_subtrees.back().push_back(suffixes[input.Take<uint8_t>() % suffixes.size()]);
    }
  }
  return request;
}

// 256 fleets, made when first asked for.
const FleetView& FleetOf(uint8_t number) {
  static std::map<uint8_t, FleetView> fleets;
  const auto found = fleets.find(number);
  if (found != fleets.end()) return found->second;
  std::mt19937 random(number);
  return fleets.emplace(number, RandomFleet(random)).first->second;
}

void CheckAnswer(const FleetView& fleet, const CandidatesRequest& request, const CandidatesAnswer& answer) {
  std::map<std::string, uint64_t> wanted;
  for (const RequestGroup& group : request.groups) {
    for (const ResourceAmount& resource : group.resources) wanted[resource.resource_class] += resource.amount;
  }
  CHECK(answer.candidates.size() <= *request.limit);
  for (size_t i = 0; i < answer.candidates.size(); ++i) {
    const NaiveCandidate candidate = fleet.Translate(request, answer, i);
    std::map<std::string, uint64_t> given;
    for (const auto& [where, amount] : candidate.amounts) given[where.second] += amount;
    CHECK(given == wanted);
    CHECK(candidate.mappings.size() == request.groups.size());
    for (const auto& [suffix, providers] : candidate.mappings) CHECK(suffix.empty() || providers.size() == 1);
    for (const auto& allocation : answer.AllocationsOf(i)) {
      const ProviderTree& tree = *fleet.view().tree(allocation.provider.tree);
      const auto stock = tree.Find(allocation.provider.provider, allocation.resource_class);
      CHECK(stock.inventory->HasRoom(stock.used, allocation.amount));
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  FuzzInput input(data, size);
  const FleetView& fleet = FleetOf(input.Take<uint8_t>());
  const CandidatesRequest request = TakeRequest(input);
  const Result<CandidatesAnswer> answer = FindCandidates(fleet.view(), request);
  if (!answer) {
    CHECK(!answer.error().field().empty());
    return 0;
  }
  CheckAnswer(fleet, request, *answer);
  if (!request.groups.empty()) {
    ProviderQuery query{{}, {}, request.groups.back().resources, request.groups.back().filter};
    const auto providers = FindProviders(fleet.view(), query);
    CHECK(providers.has_value());
  }
  return 0;
}
