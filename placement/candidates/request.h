#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "common/uuid.h"

// What GET /allocation_candidates and GET /resource_providers ask, as values. Whoever fills them has checked
// the form (amounts >= 1, names not empty, suffixes unique, rules of the microversion); whether a named class
// or trait exists is decided by the search.
namespace berth::placement {

struct ResourceAmount {
  std::string resource_class;
  uint64_t amount = 0;

  friend bool operator==(const ResourceAmount&, const ResourceAmount&) = default;
};

// What a provider must have and must not have. An outer list is ANDed, an inner one ORed.
struct ProviderFilter {
  std::vector<std::vector<std::string>> required_traits;
  std::vector<std::string> forbidden_traits;
  std::vector<std::vector<Uuid>> member_of;
  std::vector<Uuid> forbidden_aggregates;
  // Any provider of the tree that is meant; a uuid that nobody has matches nothing.
  std::optional<Uuid> in_tree;

  friend bool operator==(const ProviderFilter&, const ProviderFilter&) = default;
};

// One group of a candidates request. The suffix is what stands behind "resources", "required" and so on; the
// group with the empty suffix may be served by several providers, every other by exactly one.
struct RequestGroup {
  std::string suffix;
  std::vector<ResourceAmount> resources;  // each class once; empty: a group without resources
  ProviderFilter filter;

  friend bool operator==(const RequestGroup&, const RequestGroup&) = default;
};

enum class GroupPolicy { kNone, kIsolate };

struct CandidatesRequest {
  std::vector<RequestGroup> groups;  // at least one with resources
  GroupPolicy group_policy = GroupPolicy::kNone;
  // The root of the tree that the candidate is for, which is not the sharing provider's.
  std::vector<std::string> root_required;
  std::vector<std::string> root_forbidden;
  // Each a set of suffixes of groups above.
  std::vector<std::vector<std::string>> same_subtrees;
  // At most so many candidates; absent: all.
  std::optional<uint32_t> limit;
  // Below microversion 1.29: no two providers of one tree in a candidate.
  bool nested_aware = true;
  // Which tree comes first (modulo their number); lets a caller spread load without losing determinism.
  uint64_t first_tree = 0;
  // Steps that may lead nowhere before the search gives up: what protects the service from contrived
  // requests.
  uint64_t max_steps = 100'000'000;
  // Allocations and mappings that an answer may hold before the search gives up: without a limit, or with a
  // large one, a few devices in many hosts would fill the memory.
  size_t max_entries = size_t{1} << 20;

  friend bool operator==(const CandidatesRequest&, const CandidatesRequest&) = default;
};

// GET /resource_providers: all conditions hold for the provider itself.
struct ProviderQuery {
  std::optional<std::string> name;
  std::optional<Uuid> uuid;
  std::vector<ResourceAmount> resources;
  ProviderFilter filter;

  friend bool operator==(const ProviderQuery&, const ProviderQuery&) = default;
};

}  // namespace berth::placement
